/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - where a topic's order comes from.
 *
 * An engine is asked and answers later, by a callback given at its creation: a
 * session may be gone by then, so every request carries a ticket, and the
 * session is looked up again by its tag. `memory` answers at once, before the
 * request returns; `crossing` does so for the names that its own worker owns,
 * and asks the owners of all others.
 *
 * Answers to requests of one session about one name or filter come in the order
 * of the requests. A session that can answer by itself (an UNSUBSCRIBE) has its
 * answer wait for its turn there: engine_await_turn().
 *
 * A subscription to a name is one `struct subscription`, one to a filter is an
 * array of them: a cursor for each worker that owns topics (engine_cursor_count()).
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "broker/topic/router.h"
#include "broker/worker/qsbr.h"

/* Who asked, and what the answer is to be labelled with. */
struct ticket {
    uint64_t id;
    uint64_t session_tag;   /* names the session, now and for ever */
    uint32_t session_place; /* where it is found */
    bool has_id;
    bool is_filter; /* of a subscription */
};

struct engine_receipt {
    enum ff_err err; /* FF_OK: it has its place in the topic's order */
    struct receipt receipt;
    /*
     * Publishes of this session that this answers: the ticket's, and before it
     * others that were taken and have no id. Each is answered once.
     */
    uint32_t count;
};

struct engine_events {
    void (*published)(void *arg, struct ticket ticket, const struct engine_receipt *receipt);
    /*
     * FF_OK: `s` is tied to its topic; NULL: it was unsubscribed meanwhile. Not
     * FF_OK: `s` is tied to nothing and its owner's to free, if it is not NULL.
     * `name`: what was asked for, borrowed.
     */
    void (*subscribed)(void *arg, struct ticket ticket, struct subscription *s,
                       struct ff_slice name, enum ff_err err);
    /*
     * The answer `frame`, borrowed, has waited for its turn. Not FF_OK: what it
     * is about, a subscription that was asked for, was refused with this.
     */
    void (*turn_came)(void *arg, struct ticket ticket, struct ff_slice frame, enum ff_err err);
    /* What was not taken because this queue had no room may be tried again: engine->full. */
    void (*room)(void *arg, uint32_t queue);
};

/* Queues of those that wait for room: one for each owner, and behind them one for all owners. */
enum { ENGINE_QUEUES = WORKERS_MAX + 1 };

/* An answer that the session has ready. */
struct engine_turn {
    struct ff_slice name;
    bool is_filter;
    /* The subscription that it is about, if it is still asked for: NULL, or they share its fate. */
    struct subscription *subscription;
    struct ff_slice frame;
};

struct engine;

struct engine_ops {
    bool (*publish)(struct engine *engine, const struct publication *p, struct ticket ticket);
    bool (*subscribe)(struct engine *engine, struct subscription *s, struct ff_slice name,
                      enum ff_encoding encoding, struct ticket ticket);
    void (*unsubscribe)(struct engine *engine, struct subscription *s);
    bool (*has_room)(struct engine *engine, struct ff_slice name, bool is_filter);
    void (*await_turn)(struct engine *engine, const struct engine_turn *turn, struct ticket ticket);
    void (*notify)(struct engine *engine);
    void (*release_idle)(struct engine *engine);
    void (*free)(struct engine *engine);
};

struct engine {
    const struct engine_ops *ops;
    const struct engine_events *events;
    void *arg;
    struct router *router;
    uint32_t owners; /* workers that own topics */
    uint32_t full;   /* the queue in which to wait, when a request was not taken just now */
};

/*
 * False: there is no room for it now. Nothing was done; `events->room` tells
 * when to try again, with the queue that `engine->full` names.
 */
FF_MUST_CHECK static inline bool engine_publish(struct engine *engine, const struct publication *p,
                                                struct ticket ticket)
{
    return engine->ops->publish(engine, p, ticket);
}

/* How many subscriptions in a row one to a filter, or to a name, is made of. */
static inline uint32_t engine_cursor_count(const struct engine *engine, bool is_filter)
{
    return is_filter ? engine->owners : 1;
}

/*
 * `s`: engine_cursor_count() of them, with owner, rules and rate set. From here on
 * `s->link` is set, also while the answer is awaited. False: as for a publish.
 */
FF_MUST_CHECK static inline bool engine_subscribe(struct engine *engine, struct subscription *s,
                                                  struct ff_slice name, enum ff_encoding encoding,
                                                  struct ticket ticket)
{
    return engine->ops->subscribe(engine, s, name, encoding, ticket);
}

/* At once; of one whose answer is not there yet, too. All of its cursors. */
static inline void engine_unsubscribe(struct engine *engine, struct subscription *s)
{
    engine->ops->unsubscribe(engine, s);
}

/*
 * Is there room for one more request about a name or filter? False: as for a
 * publish. True: engine_await_turn() may follow, if nothing else was asked.
 */
FF_MUST_CHECK static inline bool engine_has_room(struct engine *engine, struct ff_slice name,
                                                 bool is_filter)
{
    return engine->ops->has_room(engine, name, is_filter);
}

/*
 * Has the session's own answer wait until all requests about the name that were
 * made before are answered; `turn_came` hands it back, perhaps at once. There
 * must be room: engine_has_room().
 */
static inline void engine_await_turn(struct engine *engine, const struct engine_turn *turn,
                                     struct ticket ticket)
{
    engine->ops->await_turn(engine, turn, ticket);
}

/* The end of a turn's input: other workers are told of what they were asked. */
static inline void engine_notify(struct engine *engine)
{
    engine->ops->notify(engine);
}

/* Once a second: memory that is not needed goes back. */
static inline void engine_release_idle(struct engine *engine)
{
    engine->ops->release_idle(engine);
}

/* NULL is allowed. */
static inline void engine_free(struct engine *engine)
{
    if (engine)
        engine->ops->free(engine);
}

/* For engines: a publish that this worker's own router orders, and its answer. */
void engine_publish_own(struct engine *engine, const struct publication *p, struct ticket ticket);

/* The embedded engine: the router's own order, nothing stored. NULL: out of memory. */
FF_MUST_CHECK struct engine *engine_memory_new(struct router *router,
                                               const struct engine_events *events, void *arg);

/* The same where several workers share the topics: see crossing.h. */

#endif
