/* SPDX-License-Identifier: Apache-2.0 */
/* Memory is judged where it is taken: levels, logs that are cut, publishes that are refused. */
#include "broker/topic/rate.h"
#include "broker/topic/router.h"
#include "protocol/base/budget.h"
#include "tests/support/subscriber.h"

enum { TOPICS = 100, PAYLOAD = 60000, LIMIT = 2 * 1024 * 1024 };

static struct router router;
static struct pool pool;
static struct wheel wheel;
static struct ff_budget budget;
static uint64_t now_ms;
static struct subscriber reader;
static unsigned messages;
static uint64_t skipped;

static void on_received(struct subscriber *who, const struct ff_message *m)
{
    (void)who;
    if (m->type == FF_TYPE_GAP)
        skipped += m->values[FF_FIELD_SKIPPED].integer;
    else
        messages++;
}

static void on_overrun(void *arg, struct subscription *s)
{
    (void)arg;
    router_unsubscribe(&router, s);
}

static void on_skipped(void *arg, struct subscription *s, uint64_t count)
{
    (void)arg;
    (void)s;
    skipped += count;
}

static int set_up(void **state)
{
    static const struct router_ops ops = {
        .ready = subscriber_ready, .overrun = on_overrun, .skipped = on_skipped};
    struct router_env env = {.pool = &pool,
                             .wheel = &wheel,
                             .budget = &budget,
                             .now_ms = &now_ms,
                             .key = {{3, 4}},
                             .ops = &ops};
    struct router_limits limits = {
        .max_message = 65536, .max_buffered = 1 << 20, .max_topics = 1000, .max_filters = 1000};

    (void)state;
    now_ms = 1000;
    messages = 0;
    skipped = 0;
    pool_init(&pool, 0);
    wheel_init(&wheel, &now_ms);
    subscriber_init(&reader, 7, FF_JSON);
    reader.received = on_received;
    ff_budget_init(&budget, UINT64_MAX);
    return router_init(&router, &env, &limits) == FF_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    subscriber_deinit(&reader);
    router_deinit(&router);
    pool_deinit(&pool);
    return ff_mem_live_blocks() == 0 ? 0 : -1;
}

/* So much may be taken from here on. */
static void limit_memory(uint64_t more)
{
    ff_budget_init(&budget, ff_mem_live_bytes() + 8 * ff_mem_live_blocks() + more);
}

static struct ff_slice name_of(int i)
{
    static char name[16];

    return (struct ff_slice){name, (size_t)snprintf(name, sizeof(name), "t/%d", i)};
}

static enum ff_err publish(int topic, size_t size)
{
    static char payload[PAYLOAD];
    struct receipt receipt;
    struct publication p = {
        .topic = name_of(topic), .payload = {FF_PAYLOAD_JSON, {payload, size}}, .publisher = 1};

    memset(payload, 'x', size);
    payload[0] = payload[size - 1] = '"';
    return router_publish(&router, &p, &receipt);
}

static void end_turn(uint64_t ms)
{
    router_mark_ready(&router);
    subscriber_flush(&reader, &router);
    (void)router_trim(&router);
    now_ms += ms;
    wheel_advance(&wheel);
    ff_budget_look(&budget);
}

static void subscribe(struct subscription *s, int topic, double rate)
{
    *s = (struct subscription){.owner = &reader};
    assert_int_equal(rate_set(&router, s, rate), FF_OK);
    assert_int_equal(router_subscribe(&router, s, name_of(topic), KIND_JSON), FF_OK);
}

static void levels_follow_from_what_is_in_use(void **state)
{
    static const struct {
        const char *why;
        uint64_t tenths; /* of the limit, in use */
        enum ff_memory_level level;
        bool has_room_for_little;
        bool has_room_for_much;
    } cases[] = {
        {"half", 5, FF_MEMORY_FREE, true, true},
        {"from nine tenths on", 9, FF_MEMORY_TIGHT, true, true},
        {"a little past it: what is small may still come", 10, FF_MEMORY_FULL, true, false},
        {"a 16th past it: nothing", 11, FF_MEMORY_OVER, false, false},
    };
    uint64_t unit;
    void *block = ff_mem_alloc(1 << 20);

    (void)state;
    assert_non_null(block);
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_budget b;

        ff_budget_init(&b, UINT64_MAX);
        unit = b.used / cases[i].tenths;
        ff_budget_init(&b, unit * 10 - 1);
        if (ff_budget_level(&b) != cases[i].level ||
            ff_budget_has_room(&b, 4096) != cases[i].has_room_for_little ||
            ff_budget_has_room(&b, 4097) != cases[i].has_room_for_much)
            fail_msg("%s", cases[i].why);
    }
    ff_mem_free(block);
}

static void what_a_thread_takes_between_looks_is_seen(void **state)
{
    struct ff_budget b;
    void *block;

    (void)state;
    ff_budget_init(&b, UINT64_MAX);
    ff_budget_init(&b, b.used + (1 << 20));
    assert_int_equal(ff_budget_level(&b), FF_MEMORY_FREE + (b.used >= b.max / 10 * 9));
    block = ff_mem_alloc(3 << 20);
    assert_int_equal(ff_budget_level(&b), FF_MEMORY_OVER);
    ff_mem_free(block);
    assert_true(ff_budget_level(&b) < FF_MEMORY_FULL);
}

static void newest_messages_that_paused_readers_need_are_cut_too(void **state)
{
    static struct subscription subs[TOPICS];
    uint64_t told = 0;

    (void)state;
    for (int i = 0; i < TOPICS; i++)
        subscribe(&subs[i], i, 0);
    limit_memory(LIMIT);
    for (int i = 0; i < TOPICS; i++) { /* three times as much as there may be */
        assert_int_equal(publish(i, PAYLOAD), FF_OK);
        end_turn(20);
        assert_true(ff_budget_used(&budget) <= budget.max);
    }
    for (int i = 0; i < TOPICS; i++) {
        struct log_view view = log_look(subs[i].link->log);
        uint64_t count = rate_take_skipped(&subs[i], 0, false);

        assert_int_equal(count, 1); /* whether it is still there or not */
        told += view.first == NULL;
        router_unsubscribe(&router, &subs[i]);
    }
    assert_true(told > TOPICS / 2 && told < TOPICS); /* the oldest went, the newest are there */
}

static void who_waits_before_an_empty_log_is_told_by_a_gap_alone(void **state)
{
    struct subscription waits;
    struct subscription others[TOPICS];

    (void)state;
    subscribe(&waits, 0, -1);
    for (int i = 1; i < TOPICS; i++)
        subscribe(&others[i], i, 0);
    limit_memory(LIMIT);
    reader.room = 0; /* its socket is full */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(publish(0, 100), FF_OK);
        end_turn(20);
    }
    for (int i = 1; i < TOPICS; i++) {
        assert_int_equal(publish(i, PAYLOAD), FF_OK);
        end_turn(20);
    }
    assert_null(log_look(waits.link->log).first);
    reader.room = 1 << 16;
    reader.is_blocked = false;
    end_turn(0);
    assert_int_equal(skipped, 3);
    assert_int_equal(messages, 0);
    assert_int_equal(publish(0, 100), FF_OK);
    end_turn(0);
    assert_int_equal(messages, 1);
    router_unsubscribe(&router, &waits);
    for (int i = 1; i < TOPICS; i++)
        router_unsubscribe(&router, &others[i]);
}

static void a_rated_reader_is_told_within_a_second(void **state)
{
    struct subscription rated;
    struct subscription others[TOPICS];

    (void)state;
    reader.room = 1 << 16;
    subscribe(&rated, 0, 0.2);
    for (int i = 1; i < TOPICS; i++)
        subscribe(&others[i], i, 0);
    limit_memory(LIMIT);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(publish(0, 100), FF_OK);
        end_turn(20);
    }
    assert_int_equal(messages, 1); /* the others wait for the end of its five seconds */
    for (int i = 1; i < TOPICS; i++) {
        assert_int_equal(publish(i, PAYLOAD), FF_OK);
        end_turn(20);
    }
    assert_null(log_look(rated.link->log).first);
    for (int i = 0; i < 500 && skipped == 0; i++)
        end_turn(10);
    for (int i = 0; i < 100 && skipped == 0; i++)
        end_turn(10);
    assert_int_equal(skipped, 3);
    router_unsubscribe(&router, &rated);
    for (int i = 1; i < TOPICS; i++)
        router_unsubscribe(&router, &others[i]);
}

static void what_was_just_published_is_not_cut_for_what_comes(void **state)
{
    struct subscription s[TOPICS];
    int taken = 0;

    (void)state;
    for (int i = 0; i < TOPICS; i++)
        subscribe(&s[i], i, 0);
    limit_memory(LIMIT);
    while (taken < TOPICS && publish(taken, PAYLOAD) == FF_OK) /* all in one moment */
        taken++;
    assert_true(taken > 20 && taken < 40);
    assert_true(ff_budget_used(&budget) <= budget.max);
    for (int i = 0; i < taken; i++) /* refused as a whole, and nobody lost what he had */
        assert_int_equal(rate_take_skipped(&s[i], 0, true), 0);
    assert_int_equal(publish(taken, PAYLOAD), FF_ENOMEM);
    end_turn(20);
    assert_int_equal(publish(taken, PAYLOAD), FF_OK); /* a moment later there is room */
    for (int i = 0; i < TOPICS; i++)
        router_unsubscribe(&router, &s[i]);
}

static void cutting_costs_by_what_is_cut(void **state)
{
    static struct subscription subs[900];
    struct subscription *s = subs;

    (void)state;
    for (int i = 0; i < 900; i++)
        subscribe(&subs[i], i, 0);
    assert_int_equal(publish(899, PAYLOAD), FF_OK);
    end_turn(200);
    limit_memory(0);
    s = &subs[899];
    end_turn(20); /* no names are walked: the one segment there is, is found at once */
    assert_null(log_look(s->link->log).first);
    assert_true(ff_list_is_empty(&router.registry.limbo.live));
    for (int i = 0; i < 900; i++)
        router_unsubscribe(&router, &subs[i]);
}

/* A message that there is no room to keep leaves no topic behind that nothing ends. */
static void what_cannot_be_kept_leaves_nothing(void **state)
{
    struct router_limits limits = router.registry.limits;
    struct subscription s;
    void *block = ff_mem_alloc(1 << 20);

    (void)state;
    limits.history = (struct history_limits){.messages = 100,
                                             .octets = 65536,
                                             .seconds = 300,
                                             .position_seconds = 300,
                                             .memory = 1 << 30};
    limits.max_topics = 10 * TOPICS;
    router_configure(&router, &limits, NULL, 0);
    assert_non_null(block);
    subscribe(&s, 0, -1);
    assert_int_equal(publish(0, 100), FF_OK); /* read once: its position is remembered */
    reader.room = 1000;
    end_turn(20);
    router_unsubscribe(&router, &s);
    limit_memory(0);
    ff_mem_free(block);
    block = ff_mem_alloc(2 << 20);
    assert_non_null(block);
    assert_int_equal(ff_budget_level(&budget), FF_MEMORY_OVER);
    end_turn(1000); /* all logs are cut */
    end_turn(1000);
    for (int i = 0; i < TOPICS; i++)
        assert_int_equal(publish(i, 5000), FF_OK);
    end_turn(20);
    assert_int_equal(router.registry.topics.count, 0);
    assert_int_equal(router.registry.history.unread, 0);
    assert_int_equal(router.registry.history.positions.count, 1);
    assert_int_equal(registry_position(&router.registry, name_of(0)).offset, 2);
    ff_mem_free(block);
}

#define WITH_ROUTER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(levels_follow_from_what_is_in_use, nothing_leaked),
        cmocka_unit_test_teardown(what_a_thread_takes_between_looks_is_seen, nothing_leaked),
        WITH_ROUTER(newest_messages_that_paused_readers_need_are_cut_too),
        WITH_ROUTER(who_waits_before_an_empty_log_is_told_by_a_gap_alone),
        WITH_ROUTER(a_rated_reader_is_told_within_a_second),
        WITH_ROUTER(what_was_just_published_is_not_cut_for_what_comes),
        WITH_ROUTER(cutting_costs_by_what_is_cut),
        WITH_ROUTER(what_cannot_be_kept_leaves_nothing),
    };

    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
