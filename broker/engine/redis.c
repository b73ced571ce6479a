/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis.c - the engine's requests, and what Redis says, taken to mirrors and asks.
 */
#include "broker/engine/redis.h"

#include "broker/engine/asks.h"
#include "broker/engine/replica.h"
#include "protocol/base/mem.h"

enum {
    PAGE_OCTETS = 256 * 1024, /* of a stream, read at once */
    PATIENCE_MS = 1000,       /* for links that are away: Redis was silent before, too */
};

static const struct ff_slice no_name = {NULL, 0};

static struct redis_engine *redis_of(struct engine *engine)
{
    return FF_CONTAINER(engine, struct redis_engine, engine);
}

static bool on_subscribe(void *arg, const struct ff_slice *names, uint32_t count)
{
    return shard_join(&((struct redis_engine *)arg)->shard, CHANNEL_TOPIC, names, count);
}

static bool on_unsubscribe(void *arg, const struct mirror *mirror)
{
    return shard_leave(&((struct redis_engine *)arg)->shard, CHANNEL_TOPIC, mirror_name(mirror));
}

static void on_refused(void *arg, struct ff_slice error)
{
    (void)shard_judge(&((struct redis_engine *)arg)->shard, error);
}

static void on_looked(void *context, const struct redis_reply *reply, bool was_sent)
{
    struct mirror *mirror = context;
    struct redis_engine *redis = mirror->mirrors->arg;

    (void)was_sent;
    if (reply && redis_is(reply, 0, REDIS_ERROR) &&
        shard_judge(&redis->shard, redis_text(reply, 0)))
        reply = NULL; /* it is asked again, by the link that is made anew */
    mirror_looked(mirror, reply);
}

static bool on_look(void *arg, struct mirror *mirror, struct ff_position after)
{
    struct redis_engine *redis = arg;
    struct history_limits window =
        history_limits_for(&redis->env.router->registry, mirror_name(mirror));
    struct ff_slice words[SHARD_WORDS + 6];
    char epoch[SHARD_NUMBER];
    struct shard_call call;
    char seconds[SHARD_NUMBER];
    char behind[SHARD_NUMBER];
    char octets[SHARD_NUMBER];

    shard_begin_call(&redis->shard, &call, "look");
    memcpy(words, call.words, sizeof(call.words));
    words[SHARD_WORDS] = mirror_name(mirror);
    words[SHARD_WORDS + 1] = shard_number(seconds, batch_position_seconds(&window));
    words[SHARD_WORDS + 2] = shard_number(behind, after.offset);
    words[SHARD_WORDS + 3] = shard_number(octets, PAGE_OCTETS);
    words[SHARD_WORDS + 4] = mirror->at.epoch || window.messages ? FF_SLICE("1") : FF_SLICE("0");
    words[SHARD_WORDS + 5] = shard_number(epoch, after.epoch);
    return shard_call(&redis->shard, words, SHARD_WORDS + 6, on_looked, mirror);
}

/* What Redis says. */

static void want_filters(struct redis_engine *redis)
{
    if (redis->filters != FILTERS_OFF)
        return;
    if (shard_is_open(&redis->shard) && shard_join(&redis->shard, CHANNEL_ALL, &no_name, 1))
        redis->filters = FILTERS_ASKED;
    else if (!redis->mirrors.is_patient)
        asks_answer_filters(redis, FF_EAWAY);
}

static void tell_lost_filters(struct redis_engine *redis)
{
    struct registry *registry = &redis->env.router->registry;
    struct ff_map_node *node = NULL;

    while ((node = ff_map_next(&registry->topics, node))) {
        const struct topic *topic = FF_CONTAINER(node, struct topic, node);

        if (topic->is_filter)
            replica_tell_lost(redis->env.router, topic_name(topic));
    }
}

static bool has_links(const struct redis_engine *redis)
{
    return redis->shard.is_ready && shard_is_open(&redis->shard);
}

/* Who asks waits a while for links that are lost: most are back at once. */
static void note_links(struct redis_engine *redis)
{
    redis->had_links = false;
    if (!has_links(redis) && !redis->away_since)
        redis->away_since = router_now_ms(redis->env.router);
}

/* Once a second. Links that come and go are away. */
static void look_at_links(struct redis_engine *redis)
{
    if (has_links(redis) && redis->had_links) {
        redis->away_since = 0;
        redis->mirrors.is_patient = true;
    }
    redis->had_links = has_links(redis);
    if (!redis->away_since || router_now_ms(redis->env.router) - redis->away_since < PATIENCE_MS)
        return;
    mirrors_lose_patience(&redis->mirrors);
    if (!redis->shard.is_ready)
        batch_refuse(&redis->batch);
    if (redis->filters == FILTERS_OFF)
        asks_answer_filters(redis, FF_EAWAY);
}

static void on_ready(void *arg, bool is_ready)
{
    struct redis_engine *redis = arg;

    note_links(redis);
    mirrors_can_look(&redis->mirrors, is_ready);
    asks_send(redis);
}

static void on_open(void *arg, bool is_open)
{
    struct redis_engine *redis = arg;

    note_links(redis);
    if (!is_open) {
        redis->has_lost_filters |= redis->filters == FILTERS_ON;
        redis->filters = FILTERS_OFF;
    } else if (redis->env.router->registry.filters.count ||
               !ff_list_is_empty(&redis->filter_asks)) {
        want_filters(redis);
    }
    mirrors_can_subscribe(&redis->mirrors, is_open);
}

static void on_joined(void *arg, enum channel channel, struct ff_slice name)
{
    struct redis_engine *redis = arg;

    if (channel == CHANNEL_TOPIC) {
        mirrors_confirmed(&redis->mirrors, name);
        return;
    }
    redis->filters = FILTERS_ON;
    if (redis->has_lost_filters)
        tell_lost_filters(redis);
    redis->has_lost_filters = false;
    asks_answer_filters(redis, FF_OK);
    asks_send(redis);
}

static void on_message(void *arg, enum channel channel, struct ff_slice name, struct ff_slice text)
{
    struct redis_engine *redis = arg;

    if (channel == CHANNEL_TOPIC)
        mirrors_deliver(&redis->mirrors, name, text);
    else
        mirrors_deliver_to_filters(&redis->mirrors, text, redis->env.index, redis->env.workers);
}

static void on_left(void *arg, enum channel channel, struct ff_slice name)
{
    if (channel == CHANNEL_TOPIC)
        mirrors_left(&((struct redis_engine *)arg)->mirrors, name);
}

static uint64_t on_top(void *arg)
{
    return mirrors_top(&((struct redis_engine *)arg)->mirrors);
}

static uint64_t on_random(void *arg)
{
    return history_new_epoch(&((struct redis_engine *)arg)->env.router->registry.history);
}

static void on_second(struct wheel_timer *timer)
{
    struct redis_engine *redis = FF_CONTAINER(timer, struct redis_engine, second);

    look_at_links(redis);
    mirrors_sweep(&redis->mirrors);
    shard_probe(&redis->shard);
    if (redis->env.router->registry.filters.count || !ff_list_is_empty(&redis->filter_asks))
        want_filters(redis); /* there may have been no room for it before */
    if (redis->filters == FILTERS_ON && !redis->env.router->registry.filters.count &&
        shard_leave(&redis->shard, CHANNEL_ALL, no_name))
        redis->filters = FILTERS_OFF;
    wheel_set(redis->env.router->wheel, timer, 1000);
}

/* Asked. */

/* Behind all that is asked about its name, whose mirror it needs. */
static void ask_mirror(struct redis_engine *redis, struct question *question)
{
    bool is_new = !mirrors_find(&redis->mirrors, question->what.name);
    struct mirror *mirror = mirrors_get(&redis->mirrors, question->what.name);

    if (!mirror) {
        asks_answer(question, FF_ENOMEM);
        return;
    }
    if (is_new)
        asks_add_barrier(redis, mirror);
    question->ask.mirror = mirror;
    if (question->what.has_since && question->what.since.is_position)
        mirror_note(mirror, question->what.since.position);
    mirror->questions++;
    ff_list_append(&mirror->asks, &question->ask.node);
    if (mirror_is_live(mirror))
        asks_answer_due(redis, mirror, FF_OK);
    else
        mirror_want(mirror);
}

static void ask_filter(struct redis_engine *redis, struct question *question)
{
    ff_list_append(&redis->filter_asks, &question->ask.node);
    if (redis->filters == FILTERS_ON)
        asks_answer_filters(redis, FF_OK);
    else
        want_filters(redis);
}

/* FF_OK: it may be published. */
static enum ff_err judge(const struct redis_engine *redis, const struct publication *p)
{
    if (redis->is_stopped || (!redis->shard.is_ready && !redis->mirrors.is_patient) ||
        batch_is_full(&redis->batch))
        return FF_EAWAY;
    return publication_is_too_big(redis->env.router, p) ? FF_ETOOBIG : FF_OK;
}

/* Behind what is asked about its name; not sent before questions of before are answered. */
static void publish_behind(struct redis_engine *redis, struct errand *errand,
                           const struct publication *p)
{
    struct mirror *mirror = errand->ask.mirror;
    size_t size = p->payload.bytes.len;
    bool waits = mirror->questions > 0;

    if (waits && !errand->receipt.err)
        errand->receipt.err =
            redis->held_bytes + size <= MIRRORS_HELD_MAX ? errand_hold(errand, p) : FF_EAWAY;
    ff_list_append(&mirror->asks, &errand->ask.node);
    if (waits && !errand->receipt.err)
        redis->held_bytes += size;
    else if (errand->receipt.err || !asks_dispatch(redis, errand, p))
        asks_done(redis, &errand->ask);
}

static void redis_publish(struct engine *engine, const struct publication *p, struct ticket ticket)
{
    struct redis_engine *redis = redis_of(engine);
    struct engine_receipt refused = {.err = FF_ENOMEM};
    struct errand *errand = errand_new(p, ticket);

    if (!errand) {
        engine->events->published(engine->arg, ticket, &refused);
        return;
    }
    errand->receipt.err = judge(redis, p);
    errand->ask.mirror = mirrors_find(&redis->mirrors, p->topic);
    if (errand->ask.mirror)
        publish_behind(redis, errand, p);
    else if (!asks_dispatch(redis, errand, p))
        asks_done(redis, &errand->ask);
}

static void redis_subscribe(struct engine *engine, const struct engine_subscription *what,
                            struct engine_caller caller)
{
    struct redis_engine *redis = redis_of(engine);
    struct engine_start start = {.err = redis->is_stopped ? FF_EAWAY : FF_ENOMEM};
    struct question *question =
        redis->is_stopped ? NULL : asks_make(redis, ASK_SUBSCRIBE, what->name, caller);

    if (!question) {
        engine->events->started(engine->arg, caller, &start);
        return;
    }
    question->what.is_filter = what->is_filter;
    question->what.kind = what->kind;
    question->what.has_since = what->has_since;
    question->what.since = what->since;
    if (ff_topic_is_reserved(what->name)) /* those are each node's own */
        asks_answer(question, FF_OK);
    else if (what->is_filter)
        ask_filter(redis, question);
    else
        ask_mirror(redis, question);
}

static void redis_leave(struct engine *engine, struct ff_slice name, uint64_t serial)
{
    (void)engine;
    (void)name;
    (void)serial; /* nobody is a member of anything */
}

static void redis_list(struct engine *engine, struct ff_slice name, struct engine_listing listing,
                       struct engine_caller caller)
{
    struct redis_engine *redis = redis_of(engine);
    struct engine_roll roll = {.err = redis->is_stopped ? FF_EAWAY : FF_ENOMEM};
    struct question *question = NULL;

    if (!listing.of_messages ||
        (!redis->is_stopped && !history_is_on(&redis->env.router->registry, name)))
        roll.err = FF_ENONE;
    else if (!redis->is_stopped)
        question = asks_make(redis, ASK_LIST, name, caller);
    if (!question) {
        engine->events->listed(engine->arg, caller, &roll);
        return;
    }
    question->listing = listing;
    question->what.has_since = listing.recall.has_since;
    question->what.since = listing.recall.since;
    ask_mirror(redis, question);
}

/* What is to be waited for, before an answer about a name may go. False: the batch, if anything. */
static bool find_asks(struct redis_engine *redis, struct ff_slice name, struct ff_list **asks)
{
    struct mirror *mirror;

    *asks = &redis->filter_asks;
    if (ff_topic_kind(name) == FF_TOPIC_FILTER)
        return true;
    mirror = mirrors_find(&redis->mirrors, name);
    if (mirror)
        *asks = &mirror->asks;
    return mirror;
}

static void redis_pass(struct engine *engine, struct ff_slice name, struct engine_caller caller)
{
    struct redis_engine *redis = redis_of(engine);
    struct ff_list *asks;
    bool has_asks = find_asks(redis, name, &asks);
    bool waits = has_asks ? !ff_list_is_empty(asks)
                          : !ff_topic_is_reserved(name) && batch_is_busy(&redis->batch);
    struct question *question = waits ? asks_make(redis, ASK_PASS, name, caller) : NULL;

    if (question && has_asks)
        ff_list_append(asks, &question->ask.node);
    else if (!question || !batch_follow(&redis->batch, &question->ask)) {
        ff_mem_free(question); /* where memory is short, out of order is better than not at all */
        redis->engine.events->passed(redis->engine.arg, caller);
    }
}

static void redis_flush(struct engine *engine)
{
    struct redis_engine *redis = redis_of(engine);

    asks_flush(redis);
    mirrors_flush(&redis->mirrors);
    shard_flush(&redis->shard);
}

static struct engine_figures redis_figures(const struct engine *engine)
{
    (void)engine;
    return (struct engine_figures){.keys = 0};
}

/* Life. */

static void redis_stop(struct engine *engine)
{
    struct redis_engine *redis = redis_of(engine);

    if (redis->is_stopped)
        return;
    redis->is_stopped = true;
    redis->mirrors.is_patient = false;
    wheel_stop(redis->env.router->wheel, &redis->second);
    shard_close(&redis->shard);
    asks_answer_filters(redis, FF_EAWAY);
    mirrors_can_look(&redis->mirrors, false);
    mirrors_can_subscribe(&redis->mirrors, false);
    mirrors_lose_patience(&redis->mirrors);
    batch_refuse(&redis->batch);
}

static void redis_free(struct engine *engine)
{
    struct redis_engine *redis = redis_of(engine);

    redis_stop(engine);
    batch_deinit(&redis->batch);
    mirrors_deinit(&redis->mirrors);
    ff_mem_free(redis);
}

static enum ff_err set_up(struct redis_engine *redis)
{
    static const struct mirrors_ops ops = {.subscribe = on_subscribe,
                                           .unsubscribe = on_unsubscribe,
                                           .look = on_look,
                                           .settled = asks_answer_due};
    static const struct shard_events events = {.ready = on_ready,
                                               .open = on_open,
                                               .joined = on_joined,
                                               .left = on_left,
                                               .message = on_message,
                                               .top = on_top};
    const struct shard_env env = {.net = redis->env.net,
                                  .box = redis->env.box,
                                  .url = redis->env.url,
                                  .prefix = redis->env.prefix,
                                  .node = redis->env.node,
                                  .index = redis->env.index,
                                  .advises = redis->env.index == 0,
                                  .random = on_random,
                                  .events = &events,
                                  .arg = redis};
    enum ff_err err =
        mirrors_init(&redis->mirrors, redis->env.router, redis->env.node, &ops, redis);

    if (err)
        return err;
    batch_init(&redis->batch, &(struct batch_env){asks_done, on_refused, redis, redis->env.node});
    ff_list_init(&redis->filter_asks);
    wheel_timer_init(&redis->second, on_second);
    redis->mirrors.is_patient = true;
    redis->away_since = router_now_ms(redis->env.router) + 1; /* 0 would be: they are there */
    err = shard_init(&redis->shard, &env);
    if (err)
        mirrors_deinit(&redis->mirrors);
    else
        wheel_set(redis->env.router->wheel, &redis->second, 1000);
    return err;
}

struct engine *redis_engine_new(const struct redis_engine_env *env)
{
    static const struct engine_ops ops = {
        .publish = redis_publish,
        .subscribe = redis_subscribe,
        .leave = redis_leave,
        .list = redis_list,
        .pass = redis_pass,
        .flush = redis_flush,
        .figures = redis_figures,
        .stop = redis_stop,
        .free = redis_free,
    };
    struct redis_engine *redis = ff_mem_zalloc(sizeof(*redis));

    if (!redis)
        return NULL;
    redis->engine.ops = &ops;
    redis->env = *env;
    if (set_up(redis) == FF_OK)
        return &redis->engine;
    ff_mem_free(redis);
    return NULL;
}
