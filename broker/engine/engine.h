/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - where a topic's order comes from.
 *
 * An engine is asked and answers later, by a callback given at its creation: a
 * session may be gone by then, so every request carries a ticket, and the
 * session is looked up again by its tag. `memory` answers at once, before the
 * request returns.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "broker/topic/router.h"

/* Who asked, and what the answer is to be labelled with. */
struct ticket {
    uint64_t id;
    uint32_t session_tag;
    bool has_id;
    bool is_filter; /* of a subscription */
};

struct engine_receipt {
    enum ff_err err; /* FF_OK: it has its place in the topic's order */
    struct receipt receipt;
};

struct engine_events {
    void (*published)(void *arg, struct ticket ticket, const struct engine_receipt *receipt);
    /* FF_OK: `s` is tied to its topic. Else it is the session's to free again. */
    void (*subscribed)(void *arg, struct ticket ticket, struct subscription *s, enum ff_err err);
};

struct engine;

struct engine_ops {
    void (*publish)(struct engine *engine, const struct publication *p, struct ticket ticket);
    void (*subscribe)(struct engine *engine, struct subscription *s, struct ff_slice name,
                      enum ff_encoding encoding, struct ticket ticket);
    /* At once; of a subscription whose answer is not there yet, too. */
    void (*unsubscribe)(struct engine *engine, struct subscription *s);
    void (*free)(struct engine *engine);
};

struct engine {
    const struct engine_ops *ops;
    const struct engine_events *events;
    void *arg;
    struct router *router;
};

static inline void engine_publish(struct engine *engine, const struct publication *p,
                                  struct ticket ticket)
{
    engine->ops->publish(engine, p, ticket);
}

static inline void engine_subscribe(struct engine *engine, struct subscription *s,
                                    struct ff_slice name, enum ff_encoding encoding,
                                    struct ticket ticket)
{
    engine->ops->subscribe(engine, s, name, encoding, ticket);
}

static inline void engine_unsubscribe(struct engine *engine, struct subscription *s)
{
    engine->ops->unsubscribe(engine, s);
}

/* NULL is allowed. */
static inline void engine_free(struct engine *engine)
{
    if (engine)
        engine->ops->free(engine);
}

/* The embedded engine: the router's own order, nothing stored. NULL: out of memory. */
FF_MUST_CHECK struct engine *engine_memory_new(struct router *router,
                                               const struct engine_events *events, void *arg);

#endif
