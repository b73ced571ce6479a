/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/asks.h"

#include "broker/engine/listing.h"
#include "broker/engine/replica.h"
#include "protocol/base/mem.h"

/* NULL: out of memory. The name is copied. */
struct question *asks_make(struct redis_engine *redis, int kind, struct ff_slice name,
                           struct engine_caller caller)
{
    struct question *question = ff_mem_zalloc(sizeof(*question) + name.len);

    if (!question)
        return NULL;
    if (name.len)
        memcpy(question->name, name.at, name.len);
    question->ask.kind = kind;
    question->engine = redis;
    question->caller = caller;
    question->what.name = (struct ff_slice){question->name, name.len};
    return question;
}

/* Answering. */

static void answer_publish(struct redis_engine *redis, struct errand *errand)
{
    struct engine_receipt *receipt = &errand->receipt;

    if (!receipt->err && errand->ask.mirror)
        mirror_note(errand->ask.mirror, receipt->receipt.position);
    redis->env.router->published += !receipt->err && !receipt->is_duplicate;
    if (!receipt->err)
        receipt->receipt.receivers =
            router_receivers(redis->env.router, (struct ff_slice){errand->name, errand->name_len},
                             &receipt->receipt.buffered);
    receipt->stored = STORED_REDIS;
    redis->engine.events->published(redis->engine.arg, errand->ticket, receipt);
    errand_free(errand);
}

/* Where it begins in the log, which is now what Redis has. */
static enum ff_err find_start(const struct question *question, struct history_start *from)
{
    const struct engine_subscription *what = &question->what;
    struct router *router = question->engine->env.router;
    struct mirror *mirror = question->ask.mirror;
    struct ff_since since = what->since;

    if (!mirror->at.epoch)
        return history_find_start(router, what->name, what->kind, what->has_since ? &since : NULL,
                                  from);
    if (!what->has_since && !registry_has(&router->registry, what->name)) {
        *from = (struct history_start){.at = mirror->at, .head = mirror->at.offset};
        return FF_OK;
    }
    if (since.is_position)
        since.position = mirror_translate(mirror, since.position);
    if (!replica_topic(mirror))
        return FF_ENOMEM;
    return history_find_start(router, what->name, what->kind, what->has_since ? &since : NULL,
                              from);
}

static void answer_subscribe(struct question *question, enum ff_err err)
{
    struct redis_engine *redis = question->engine;
    struct engine_start start = {
        .err = err, .has_recovery = question->what.has_since && question->what.since.is_position};

    if (!err && question->ask.mirror)
        start.err = find_start(question, &start.from);
    redis->engine.events->started(redis->engine.arg, question->caller, &start);
}

static void answer_list(struct question *question, enum ff_err err)
{
    struct redis_engine *redis = question->engine;
    struct router *router = redis->env.router;
    struct engine_roll roll = {.err = err};
    struct ff_buf out = {.max = 0};
    struct topic *topic =
        err || !question->ask.mirror->at.epoch ? NULL : replica_topic(question->ask.mirror);

    if (!err && question->ask.mirror->at.epoch && !topic)
        roll.err = FF_ENOMEM;
    else if (!err)
        listing_recall(router, question->what.name, &question->listing, &out, &roll);
    if (!question->ask.mirror->at.offset && !replica_is_needed(question->ask.mirror))
        roll.epoch = 0; /* nobody ever spoke of it */
    redis->engine.events->listed(redis->engine.arg, question->caller, &roll);
    ff_buf_deinit(&out);
    if (topic)
        router_drop_unused(router, topic);
}

static bool needs_mirror(const struct ask *ask)
{
    return ask->kind == ASK_SUBSCRIBE || ask->kind == ASK_LIST;
}

void asks_answer(struct question *question, enum ff_err err)
{
    struct redis_engine *redis = question->engine;

    if (question->ask.kind == ASK_SUBSCRIBE)
        answer_subscribe(question, err);
    else if (question->ask.kind == ASK_LIST)
        answer_list(question, err);
    else if (question->ask.kind == ASK_PASS)
        redis->engine.events->passed(redis->engine.arg, question->caller);
    ff_mem_free(question);
}

/* It is done, and its turn has come. */
static void answer_ask(struct redis_engine *redis, struct ask *ask, enum ff_err err)
{
    if (ask->kind == ASK_PUBLISH)
        answer_publish(redis, FF_CONTAINER(ask, struct errand, ask));
    else
        asks_answer(FF_CONTAINER(ask, struct question, ask), err);
}

bool asks_dispatch(struct redis_engine *redis, struct errand *errand, const struct publication *p)
{
    bool is_taken;

    struct registry *registry = &redis->env.router->registry;
    struct batch_terms terms = {history_limits_for(registry, p->topic),
                                registry_dedup_seconds(registry, p->topic),
                                registry->limits.max_retained};

    if (redis->is_stopped)
        errand->receipt.err = FF_EAWAY;
    if (!errand->receipt.err)
        errand->receipt.err = batch_add(&redis->batch, errand, p, &terms);
    is_taken =
        !errand->receipt.err || (!redis->is_stopped && batch_follow(&redis->batch, &errand->ask));
    if (batch_is_full(&redis->batch))
        asks_send(redis);
    return is_taken;
}

/* Publishes that were held for questions that are answered now. */
static void dispatch_held(struct redis_engine *redis, struct mirror *mirror)
{
    struct ff_list *next;

    for (struct ff_list *node = mirror->asks.next; node != &mirror->asks; node = next) {
        struct ask *ask = FF_CONTAINER(node, struct ask, node);
        struct errand *errand = FF_CONTAINER(ask, struct errand, ask);
        struct publication *held;

        next = node->next;
        if (needs_mirror(ask))
            return;
        if (ask->kind != ASK_PUBLISH || !errand->held)
            continue;
        held = errand->held;
        errand->held = NULL;
        redis->held_bytes -= held->payload.bytes.len;
        if (batch_is_full(&redis->batch)) /* Redis is away, or it would have been sent */
            errand->receipt.err = FF_EAWAY;
        if (!asks_dispatch(redis, errand, held))
            errand->ask.is_done = mirror->is_due = true;
        ff_mem_free(held);
    }
}

/* Can the first ask about a name be answered? `err`: what needs the mirror cannot be done. */
static bool is_due(const struct mirror *mirror, const struct ask *ask, enum ff_err err)
{
    if (needs_mirror(ask))
        return err || mirror_is_live(mirror);
    return ask->kind == ASK_PASS || ask->is_done;
}

/* All that can be, in order. */
static void answer_some(struct redis_engine *redis, struct mirror *mirror, enum ff_err err)
{
    while (!ff_list_is_empty(&mirror->asks)) {
        struct ask *ask = FF_CONTAINER(mirror->asks.next, struct ask, node);

        if (!is_due(mirror, ask, err)) {
            if (needs_mirror(ask))
                mirror_want(mirror);
            break;
        }
        ff_list_remove(&ask->node);
        mirror->questions -= needs_mirror(ask);
        answer_ask(redis, ask, err);
    }
    dispatch_held(redis, mirror);
}

/* Whoever is answered may ask, or what is asked be answered at once: then it begins anew. */
static void answer_due(struct redis_engine *redis, struct mirror *mirror)
{
    mirror->is_due = true;
    if (mirror->is_answering)
        return;
    mirror->is_answering = true;
    while (mirror->is_due) {
        mirror->is_due = false;
        answer_some(redis, mirror, (enum ff_err)mirror->due_err);
    }
    mirror->is_answering = false;
}

void asks_answer_due(void *arg, struct mirror *mirror, enum ff_err err)
{
    mirror->due_err = (int8_t)err;
    answer_due(arg, mirror);
}

void asks_done(void *arg, struct ask *ask)
{
    ask->is_done = true;
    if (ask->mirror)
        answer_due(arg, ask->mirror);
    else
        answer_ask(arg, ask, FF_OK);
}

void asks_answer_filters(struct redis_engine *redis, enum ff_err err)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&redis->filter_asks)))
        asks_answer(FF_CONTAINER(FF_CONTAINER(node, struct ask, node), struct question, ask), err);
}

void asks_flush(struct redis_engine *redis)
{
    if (ff_list_is_empty(&redis->filter_asks)) /* who subscribes and then publishes hears himself */
        asks_send(redis);
}

void asks_send(struct redis_engine *redis)
{
    struct shard_call call;

    if (!redis->batch.count || (!redis->shard.is_ready && redis->mirrors.is_patient))
        return;
    shard_begin_call(&redis->shard, &call, "publish");
    batch_send(&redis->batch, &redis->shard, &call);
}

/* A name's first question is not answered before publishes to it that are on their way. */
void asks_add_barrier(struct redis_engine *redis, struct mirror *mirror)
{
    struct question *barrier = batch_is_busy(&redis->batch) && !batch_is_full(&redis->batch)
                                   ? asks_make(redis, ASK_BARRIER, (struct ff_slice){NULL, 0},
                                               (struct engine_caller){NULL, 0})
                                   : NULL;

    if (!barrier || !batch_follow(&redis->batch, &barrier->ask)) {
        ff_mem_free(barrier);
        return; /* where memory is short, out of order is better than not at all */
    }
    barrier->ask.mirror = mirror;
    ff_list_append(&mirror->asks, &barrier->ask.node);
}
