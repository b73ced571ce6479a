/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis.h - the engine that makes many nodes one: Redis has the order of all messages.
 *
 * A publish is a request to Redis (batch.h) and answered when Redis has stored it. Every node,
 * that of the publisher too, delivers what comes back by Redis' channels: so all see one order.
 * Names that somebody subscribes to here are followed (mirror.h); so are all messages, while
 * somebody subscribes to a filter. Names beginning with $ belong to each node alone.
 *
 * Each worker has two links of its own, one for requests and one that subscribes, for the topics
 * it owns. While one of them is lost, subscribers stay, publishes are answered FF_EAWAY (or
 * FF_ETIMEDOUT, where Redis may have done them), and so is who subscribes to what is not followed.
 * When it is back all topics go on where their logs end.
 *
 * Who is there (presence) is not kept by Redis yet: nobody joins.
 */
#ifndef ENGINE_REDIS_H
#define ENGINE_REDIS_H

#include "broker/engine/engine.h"
#include "broker/redis/url.h"
#include "broker/topic/router.h"

struct mailbox;
struct net;

enum {
    REDIS_PREFIX_MAX = 64,
    REDIS_MESSAGE_MAX = 2 * 1024 * 1024, /* of a client's frame: half of what a link has room for */
};

struct redis_engine_env {
    struct router *router;
    struct net *net; /* of the same worker */
    struct mailbox *box;
    const struct redis_url *url; /* copied */
    const char *prefix;          /* of all keys and channels; borrowed */
    uint64_t node;               /* of this process, and of no other one ever */
    uint32_t index;              /* of the worker, */
    uint32_t workers;            /* among so many */
};

/* NULL: out of memory. Begins to connect. */
FF_MUST_CHECK struct engine *redis_engine_new(const struct redis_engine_env *env);

#endif
