/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/memory.h"

#include "broker/engine/dedup.h"
#include "broker/topic/history.h"
#include "broker/topic/router.h"
#include "protocol/base/mem.h"

struct memory_engine {
    struct engine engine;
    struct router *router;
    struct dedup *dedup;
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
    struct history_start found = {.missing = 0};
    struct engine_start start = {.err = FF_OK};

    if (!what->is_filter)
        start.err = history_find_start(memory->router, what->name, what->kind,
                                       what->has_since ? &what->since : NULL, &found);
    start.at = found.at;
    start.has_recovery = what->has_since && what->since.is_position;
    start.is_recovered = found.is_recovered;
    start.is_lost = found.is_lost;
    start.missing = found.missing;
    engine->events->started(engine->arg, caller, &start);
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
                                   .keys_forgotten = dedup_forgotten(memory->dedup)};
}

static void memory_stop(struct engine *engine)
{
    (void)engine; /* it keeps nobody waiting */
}

static void memory_free(struct engine *engine)
{
    struct memory_engine *memory = FF_CONTAINER(engine, struct memory_engine, engine);

    dedup_free(memory->dedup);
    ff_mem_free(memory);
}

struct engine *memory_engine_new(struct router *router)
{
    static const struct engine_ops ops = {
        .publish = memory_publish,
        .subscribe = memory_subscribe,
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
    if (!memory->dedup) {
        ff_mem_free(memory);
        return NULL;
    }
    return &memory->engine;
}
