/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/memory.h"

#include "broker/engine/dedup.h"
#include "broker/engine/listing.h"
#include "broker/engine/presence.h"
#include "broker/topic/bulletin.h"
#include "broker/topic/history.h"
#include "broker/topic/router.h"
#include "protocol/base/mem.h"

struct memory_engine {
    struct engine engine;
    struct router *router;
    struct dedup *dedup;
    struct presence *presence;
};

static void memory_publish(struct engine *engine, const struct publication *p, struct ticket ticket)
{
    struct memory_engine *memory = FF_CONTAINER(engine, struct memory_engine, engine);
    struct engine_receipt receipt = {.err = FF_OK};

    if (!dedup_answers(memory->dedup, p, &receipt)) {
        receipt.err = router_publish(memory->router, p, &receipt.receipt);
        dedup_note(memory->dedup, p, &receipt);
    }
    engine->events->published(engine->arg, ticket, &receipt);
}

/* A filter begins at the heads of its logs, a name where its history says. */
static void memory_subscribe(struct engine *engine, const struct engine_subscription *what,
                             struct engine_caller caller)
{
    struct memory_engine *memory = FF_CONTAINER(engine, struct memory_engine, engine);
    struct engine_start start = {.has_recovery = what->has_since && what->since.is_position};

    if (bulletin_is(what->name))
        presence_start(memory->presence, what, &start);
    else if (!what->is_filter)
        start.err = history_find_start(memory->router, what->name, what->kind,
                                       what->has_since ? &what->since : NULL, &start.from);
    if (!start.err && what->joins)
        start.err = presence_join(memory->presence, what->name, &what->member);
    engine->events->started(engine->arg, caller, &start);
}

static void memory_leave(struct engine *engine, struct ff_slice name, uint64_t serial)
{
    (void)name;
    presence_leave(FF_CONTAINER(engine, struct memory_engine, engine)->presence, serial);
}

static void memory_list(struct engine *engine, struct ff_slice name, struct engine_listing listing,
                        struct engine_caller caller)
{
    struct memory_engine *memory = FF_CONTAINER(engine, struct memory_engine, engine);
    struct engine_roll roll;
    struct ff_buf out = {.max = 0};

    if (listing.of_messages)
        listing_recall(memory->router, name, &listing, &out, &roll);
    else
        presence_list(memory->presence, name, 0, listing, &roll);
    engine->events->listed(engine->arg, caller, &roll);
    ff_buf_deinit(&out);
}

/* Whatever was asked before is answered. */
static void memory_pass(struct engine *engine, struct ff_slice name, struct engine_caller caller)
{
    (void)name;
    engine->events->passed(engine->arg, caller);
}

static struct engine_figures memory_figures(const struct engine *engine)
{
    const struct memory_engine *memory = FF_CONTAINER_CONST(engine, struct memory_engine, engine);

    return (struct engine_figures){.keys = dedup_count(memory->dedup),
                                   .keys_forgotten = dedup_forgotten(memory->dedup),
                                   .members = presence_count(memory->presence)};
}

static void memory_stop(struct engine *engine)
{
    (void)engine; /* it keeps nobody waiting */
}

static void memory_free(struct engine *engine)
{
    struct memory_engine *memory = FF_CONTAINER(engine, struct memory_engine, engine);

    dedup_free(memory->dedup);
    presence_free(memory->presence);
    ff_mem_free(memory);
}

struct engine *memory_engine_new(struct router *router)
{
    static const struct engine_ops ops = {
        .publish = memory_publish,
        .subscribe = memory_subscribe,
        .leave = memory_leave,
        .list = memory_list,
        .pass = memory_pass,
        .figures = memory_figures,
        .stop = memory_stop,
        .free = memory_free,
    };
    struct memory_engine *memory = ff_mem_zalloc(sizeof(*memory));

    if (!memory)
        return NULL;
    memory->engine.ops = &ops;
    memory->router = router;
    memory->dedup = dedup_new(router);
    memory->presence = presence_new(router);
    if (!memory->dedup || !memory->presence) {
        memory_free(&memory->engine);
        return NULL;
    }
    return &memory->engine;
}
