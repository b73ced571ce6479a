/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.h - the publishes of a turn, as one request to Redis.
 *
 * What is published in a turn goes out as one EVALSHA (redis.lua), BATCH_PUBLISHES at most in one,
 * and is answered together: none before Redis has done it. Where no answer comes nobody knows
 * whether it did; where the request was not even sent it did not, and never will.
 *
 * At most REDIS_OUT_MAX octets and REDIS_UNANSWERED_MAX requests are under way (link.h); what comes
 * beyond is refused at once.
 */
#ifndef ENGINE_BATCH_H
#define ENGINE_BATCH_H

#include "broker/engine/engine.h"
#include "broker/engine/shard.h"
#include "protocol/base/list.h"

enum {
    BATCH_PUBLISHES = 64,
    BATCH_OCTETS = 256 * 1024,
    BATCH_ARGUMENTS = 10,
    BATCH_POSITION_SECONDS = 3600,

};

/* What waits for its turn among all that is asked about a name. */
struct ask {
    struct ff_list node;
    enum { ASK_PUBLISH, ASK_SUBSCRIBE, ASK_LIST, ASK_PASS, ASK_BARRIER } kind;
    bool is_done;          /* Redis has answered it, or what it was to wait for */
    struct mirror *mirror; /* of its name; NULL: there was none */
};

/* A publish, for who answers it. */
struct errand {
    struct ask ask;
    struct ticket ticket;
    struct engine_receipt receipt; /* with an error from the beginning: it is only to be told */
    struct publication *held;      /* the whole of it, copied; NULL: it is on its way */
    uint8_t name_len;
    char name[];
};

/* What of a topic's rules Redis is told with each publish. */
struct batch_terms {
    struct history_limits window;
    uint32_t dedup_seconds;
    uint32_t max_retained;
};

/* How long Redis remembers where a topic stands: longer than it has its messages. */
static inline uint32_t batch_position_seconds(const struct history_limits *window)
{
    return window->seconds > BATCH_POSITION_SECONDS ? window->seconds : BATCH_POSITION_SECONDS;
}

struct batch_env {
    /* In the order in which they were added. */
    void (*done)(void *arg, struct ask *ask);
    /* Redis answered with an error: shard_judge(). */
    void (*refused)(void *arg, struct ff_slice error);
    void *arg;
    uint64_t node;
};

struct batch {
    struct batch_env env;
    struct ask *asks[BATCH_PUBLISHES];
    uint32_t count;
    uint32_t outstanding;                           /* requests that Redis has not answered */
    struct ff_buf texts;                            /* all arguments, one behind another, */
    size_t ends[BATCH_PUBLISHES * BATCH_ARGUMENTS]; /* and where each of them ends */
    uint32_t argument_count;
};

void batch_init(struct batch *batch, const struct batch_env *env);

/* It must be empty. */
void batch_deinit(struct batch *batch);

/* NULL: out of memory. */
FF_MUST_CHECK struct errand *errand_new(const struct publication *p, struct ticket ticket);
void errand_free(struct errand *errand);

/* Keeps a copy of what is to be published, until it may be. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err errand_hold(struct errand *errand, const struct publication *p);

/*
 * Adds a publish to one that is not full; it is sent with the next batch_send(). FF_OK, FF_ENOMEM:
 * then it was not added.
 */
FF_MUST_CHECK enum ff_err batch_add(struct batch *batch, struct errand *errand,
                                    const struct publication *p, const struct batch_terms *terms);

/* What is asked of nobody, but answered behind all publishes so far. False: it is full. */
FF_MUST_CHECK bool batch_follow(struct batch *batch, struct ask *ask);

/* Is anything under way that an answer could overtake? */
static inline bool batch_is_busy(const struct batch *batch)
{
    return batch->count || batch->outstanding;
}

static inline bool batch_is_full(const struct batch *batch)
{
    return batch->count == BATCH_PUBLISHES || batch->texts.len >= BATCH_OCTETS;
}

/* Appends it to what the link sends, behind these words; what cannot go is refused. */
void batch_send(struct batch *batch, struct shard *shard, const struct shard_call *call);

/* What is in it is answered: FF_EAWAY. */
void batch_refuse(struct batch *batch);

#endif
