/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.h - one Redis, as a worker's engine speaks with it.
 *
 * Two links: one for requests, which are calls of one script (redis.lua), and one that subscribes
 * to channels. The first is `ready` when Redis has the script and has told its generation; the
 * second is `open` when it is up. What is published by one of them has to come back by the other:
 * once a second that is tried by a message of our own, since a subscriber that gets nothing looks
 * like one that nobody speaks to (S42). Where it does not come back the link is made anew.
 */
#ifndef ENGINE_SHARD_H
#define ENGINE_SHARD_H

#include "broker/redis/link.h"
#include "protocol/message/topic.h"

enum {
    SHARD_PREFIX_MAX = 64,
    SHARD_NUMBER = 24,     /* octets of a number as text */
    SHARD_SHA = 40,        /* of a script's name */
    SHARD_GENERATION = 48, /* and of a generation's */
    SHARD_PROBES = 3,      /* seconds without one: the link is lost */
    SHARD_CHANNEL_MAX = SHARD_PREFIX_MAX + SHARD_NUMBER + FF_TOPIC_MAX + 8,
};

enum channel {
    CHANNEL_TOPIC, /* the messages of one name */
    CHANNEL_ALL,   /* all messages */
    CHANNEL_PROBE, /* the shard's own */
    CHANNEL_KINDS,
};

struct shard_events {
    void (*ready)(void *arg, bool is_ready);
    void (*open)(void *arg, bool is_open);
    void (*joined)(void *arg, enum channel channel, struct ff_slice name);
    void (*left)(void *arg, enum channel channel, struct ff_slice name);
    void (*message)(void *arg, enum channel channel, struct ff_slice name, struct ff_slice text);
    /* The highest offset that was told to anybody here. */
    uint64_t (*top)(void *arg);
};

struct shard_env {
    struct net *net;
    struct mailbox *box;
    const struct redis_url *url; /* copied */
    const char *prefix;          /* of all keys and channels; copied, at most SHARD_PREFIX_MAX */
    uint64_t node;               /* and the worker: who the shard belongs to */
    uint32_t index;
    bool advises;                  /* the operator, on how Redis is set up */
    uint64_t (*random)(void *arg); /* never 0 */
    const struct shard_events *events;
    void *arg;
};

struct shard {
    struct shard_env env;
    struct redis_url url;
    struct redis_link *commands; /* NULL: it is closed */
    struct redis_link *channels;
    bool is_ready;
    uint32_t probes; /* sent since one was heard */
    char sha[SHARD_SHA + 1];
    char generation[SHARD_GENERATION]; /* "": none was ever known */
    char keys[SHARD_PREFIX_MAX + 1];
    char names[SHARD_PREFIX_MAX + SHARD_NUMBER]; /* before channels */
    size_t names_len;
    char probe[SHARD_NUMBER + SHARD_NUMBER]; /* the channel for what is tried */
};

/* FF_OK: it connects; FF_ENOMEM. */
FF_MUST_CHECK enum ff_err shard_init(struct shard *shard, const struct shard_env *env);

/* All that is unanswered is, with NULL; no event comes any more. */
void shard_close(struct shard *shard);

/* The words before a call's own ones. They are good until the shard is called again. */
struct shard_call {
    struct ff_slice words[8];
    char fresh[SHARD_NUMBER];
};
enum { SHARD_WORDS = 8 };

void shard_begin_call(struct shard *shard, struct shard_call *call, const char *what);

/* Sends such a call with words behind it, all of them in `words`. False: not now (link.h). */
FF_MUST_CHECK bool shard_call(struct shard *shard, const struct ff_slice *words, uint32_t count,
                              redis_answer_fn *answer, void *context);

/* SUBSCRIBE to channels of one kind, or UNSUBSCRIBE. False: not now. */
FF_MUST_CHECK bool shard_join(struct shard *shard, enum channel channel,
                              const struct ff_slice *names, uint32_t count);
FF_MUST_CHECK bool shard_leave(struct shard *shard, enum channel channel, struct ff_slice name);

static inline bool shard_is_open(const struct shard *shard)
{
    return shard->channels && redis_link_is_up(shard->channels);
}

/* The end of a turn: what was gathered goes out. */
void shard_flush(struct shard *shard);

/* Once a second. */
void shard_probe(struct shard *shard);

/* Redis answered what one that is fit for it does not: the link for requests is made anew. */
void shard_distrust(struct shard *shard, const char *why);

/*
 * An error that Redis answered, of a whole request or of a part of one: it is logged; one that says
 * that this connection or this Redis is not fit for it makes the link anew: true.
 */
bool shard_judge(struct shard *shard, struct ff_slice error);

/* A number as text, in `out`. */
struct ff_slice shard_number(char out[SHARD_NUMBER], uint64_t number);

#endif
