/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - decides the order of a topic's messages, and where a subscription begins.
 *
 * An engine works for the worker that owns the topics it is asked about. It is
 * asked by the carrier (carrier/carrier.h) and answers each request once, by
 * `events`, in the midst of the request or in any later turn of its worker:
 * `memory` does so at once, one that keeps messages elsewhere when those are kept.
 *
 *   1. engine_publish: answered by `published`, when the message has its place;
 *   2. engine_subscribe: answered by `started`, when it is known where the
 *      subscription begins. Whoever asked ties it to the log in that step;
 *   3. engine_list: answered by `listed`, with who is there, or what was said;
 *   4. engine_pass: answered by `passed`, when all that the same session asked
 *      about the name before is answered.
 *
 * Requests of one session about one name are answered in the order in which they
 * were made. A publish with a key is done once: asked for again within the topic's
 * `dedup_seconds`, by whomever, also while the first is still under way, it is answered
 * behind the first, with its whole receipt and `is_duplicate`; if that was refused, it is
 * done as if it were the first. dedup.h has that for engines that have the order themselves.
 *
 * Who subscribes to a name may become a member of it (`joins`), until engine_leave(), which is
 * never answered. A name's bulletin (topic/bulletin.h) counts as the name itself: a
 * subscription to it is answered with the members, and begins behind all that is in them.
 *
 * What a request points to is borrowed until the call returns; what an
 * answer points to, until the event returns. Errors of answers:
 *
 *   FF_ENOMEM    memory is short
 *   FF_ELIMIT    max_topics or max_filters is reached; of a publish: what may be retained
 *   FF_ETOOBIG   the payload is over its topic's own limit
 *   FF_EINVAL    the payload cannot be rewritten for another encoding
 *   FF_EGONE     the messages that were asked for are not kept any more
 *   FF_ENONE     the topic keeps none
 *   FF_EOTHER    the key of a publish was used with another payload: nothing is done
 *   FF_ETIMEDOUT nobody knows whether the message was kept: 408, retry with the same key
 *   FF_EAWAY     what keeps the messages cannot be reached, or the worker ends: 503
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "broker/topic/history.h"
#include "broker/topic/kind.h"
#include "broker/topic/publication.h"
#include "broker/topic/recall.h"
#include "protocol/base/err.h"

/* Who publishes, and what the answer is to be labelled with. */
struct ticket {
    uint64_t id;
    uint64_t session_tag;   /* names the session, now and for ever */
    uint32_t session_place; /* where it is found */
    uint8_t worker;         /* the carrier's: number of the worker that asks */
    bool has_id;
    bool is_filter; /* of a subscription, */
    bool has_since; /* and it asks for the past, */
    bool is_listed; /* or its answer brings members with it */
    bool is_recall; /* of a list of messages */
};

/* Who asks for a start or a pass: handed back as it came. */
struct engine_caller {
    void *context;
    uint32_t worker;
};

/* What an acknowledged publish is worth. */
enum stored { STORED_MEMORY, STORED_REDIS };

struct engine_receipt {
    enum ff_err err; /* FF_OK: the message has its place in the topic's order */
    struct receipt receipt;
    bool is_duplicate; /* the key was seen before, and this is the first answer again */
    uint8_t stored;    /* enum stored */
};

/* Who subscribes, as others are told. */
struct engine_member {
    uint64_t serial;  /* of this one membership, in all workers; 0: none */
    uint64_t session; /* what its clients call it by */
    struct ff_slice user;
};

/* What a list is to be like. */
struct engine_listing {
    enum ff_encoding encoding;
    uint32_t max_octets;  /* of the array */
    bool of_messages;     /* that are kept, and not of members: */
    struct recall recall; /* which */
};

struct engine_roll {
    enum ff_err err;
    uint32_t count;        /* of all members */
    struct ff_slice items; /* an array, as large as it may be */
    uint64_t epoch;        /* of messages; 0: the name has none */
    bool has_more;         /* messages than these */
};

struct engine_subscription {
    struct ff_slice name; /* or a filter */
    bool is_filter;
    enum log_kind kind; /* in which it is to be read */
    bool joins;         /* `member` is one from here on, if it is not refused, */
    bool hears;         /* and subscribes to the bulletin with it: the carrier's */
    struct engine_member member;
    struct engine_listing listing; /* of a bulletin */
    bool has_since;                /* not from the head, but from here: */
    struct ff_since since;
};

struct engine_start {
    enum ff_err err;
    struct history_start from; /* all 0 but for a name that keeps history */
    bool has_recovery;         /* it was asked for what came after a position */
    struct ff_slice content;   /* what the answer brings with it: members, messages */
    uint32_t count;            /* of a bulletin: members in all */
};

struct engine_events {
    void (*published)(void *arg, struct ticket ticket, const struct engine_receipt *receipt);
    void (*started)(void *arg, struct engine_caller caller, const struct engine_start *start);
    void (*listed)(void *arg, struct engine_caller caller, const struct engine_roll *roll);
    void (*passed)(void *arg, struct engine_caller caller);
};

/* For $SYS. */
struct engine_figures {
    uint64_t keys;           /* that are remembered */
    uint64_t keys_forgotten; /* before their time, since the start */
    uint64_t members;        /* of all names, those whose leave waits too */
};

struct engine;

struct engine_ops {
    void (*publish)(struct engine *engine, const struct publication *p, struct ticket ticket);
    void (*subscribe)(struct engine *engine, const struct engine_subscription *what,
                      struct engine_caller caller);
    void (*leave)(struct engine *engine, struct ff_slice name, uint64_t serial);
    void (*list)(struct engine *engine, struct ff_slice name, struct engine_listing listing,
                 struct engine_caller caller);
    void (*pass)(struct engine *engine, struct ff_slice name, struct engine_caller caller);
    void (*flush)(struct engine *engine); /* NULL: nothing is ever gathered */
    struct engine_figures (*figures)(const struct engine *engine);
    /* All that is unanswered is answered in this step, and what is asked later at once: FF_EAWAY.
     */
    void (*stop)(struct engine *engine);
    void (*free)(struct engine *engine);
};

/* Each engine embeds this, and has its constructor in a header of its own. */
struct engine {
    const struct engine_ops *ops;
    const struct engine_events *events; /* the carrier's, set before the first request */
    void *arg;
};

static inline void engine_publish(struct engine *engine, const struct publication *p,
                                  struct ticket ticket)
{
    engine->ops->publish(engine, p, ticket);
}

static inline void engine_subscribe(struct engine *engine, const struct engine_subscription *what,
                                    struct engine_caller caller)
{
    engine->ops->subscribe(engine, what, caller);
}

/* Whose subscription was answered, and has ended. It needs no memory and cannot fail. */
static inline void engine_leave(struct engine *engine, struct ff_slice name, uint64_t serial)
{
    engine->ops->leave(engine, name, serial);
}

static inline void engine_list(struct engine *engine, struct ff_slice name,
                               struct engine_listing listing, struct engine_caller caller)
{
    engine->ops->list(engine, name, listing, caller);
}

static inline void engine_pass(struct engine *engine, struct ff_slice name,
                               struct engine_caller caller)
{
    engine->ops->pass(engine, name, caller);
}

/* The end of a turn's input: what was asked, and gathered, is on its way from here on. */
static inline void engine_flush(struct engine *engine)
{
    if (engine->ops->flush)
        engine->ops->flush(engine);
}

static inline struct engine_figures engine_figures(const struct engine *engine)
{
    return engine->ops->figures(engine);
}

/* Its worker ends: it is asked only what others have asked already, and keeps nobody waiting. */
static inline void engine_stop(struct engine *engine)
{
    engine->ops->stop(engine);
}

/* Its worker has ended, and nothing is unanswered. NULL is allowed. */
static inline void engine_free(struct engine *engine)
{
    if (engine)
        engine->ops->free(engine);
}

#endif
