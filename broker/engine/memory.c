/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/engine.h"
#include "protocol/base/mem.h"

void engine_publish_own(struct engine *engine, const struct publication *p, struct ticket ticket)
{
    struct engine_receipt receipt = {.count = 1};

    receipt.err = router_publish(engine->router, p, &receipt.receipt);
    engine->events->published(engine->arg, ticket, &receipt);
}

static bool memory_publish(struct engine *engine, const struct publication *p, struct ticket ticket)
{
    engine_publish_own(engine, p, ticket);
    return true;
}

static bool memory_subscribe(struct engine *engine, struct subscription *s, struct ff_slice name,
                             enum ff_encoding encoding, struct ticket ticket)
{
    enum ff_err err = router_subscribe(engine->router, s, name, encoding);

    engine->events->subscribed(engine->arg, ticket, s, name, err);
    return true;
}

static void memory_unsubscribe(struct engine *engine, struct subscription *s)
{
    router_unsubscribe(engine->router, s);
}

static bool memory_has_room(struct engine *engine, struct ff_slice name, bool is_filter)
{
    (void)engine;
    (void)name;
    (void)is_filter;
    return true;
}

/* Whatever was asked before is answered. */
static void memory_await_turn(struct engine *engine, const struct engine_turn *turn,
                              struct ticket ticket)
{
    engine->events->turn_came(engine->arg, ticket, turn->frame, FF_OK);
}

static void memory_notify(struct engine *engine)
{
    (void)engine;
}

static void memory_release_idle(struct engine *engine)
{
    (void)engine;
}

static void memory_free(struct engine *engine)
{
    ff_mem_free(engine);
}

struct engine *engine_memory_new(struct router *router, const struct engine_events *events,
                                 void *arg)
{
    static const struct engine_ops ops = {
        .publish = memory_publish,
        .subscribe = memory_subscribe,
        .unsubscribe = memory_unsubscribe,
        .has_room = memory_has_room,
        .await_turn = memory_await_turn,
        .notify = memory_notify,
        .release_idle = memory_release_idle,
        .free = memory_free,
    };
    struct engine *engine = ff_mem_alloc(sizeof(*engine));

    if (engine)
        *engine = (struct engine){
            .ops = &ops, .events = events, .arg = arg, .router = router, .owners = 1};
    return engine;
}
