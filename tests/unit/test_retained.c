/* SPDX-License-Identifier: Apache-2.0 */
/* Retained messages: where they come, what is told around them, in every kind. */
#include "tests/support/retained.h"

static void it_stands_in_its_place(void **state)
{
    (void)state;
    publish("a", 1, 5);
    retain("a", 6);
    publish("a", 7, 50);
    assert_string_equal(hear("a", KIND_JSON, after("a", 3)), " recovered @3 4-50"); /* as all */
    publish("a", 51, 300);
    assert_string_equal(hear("a", KIND_JSON, after("a", 3)), " missing:2 @5 6 expired:194 201-300");
    assert_string_equal(hear("a", KIND_JSON, after("a", 5)), " @5 6 expired:194 201-300");
    assert_string_equal(hear("a", KIND_JSON, after("a", 6)), " missing:194 @200 201-300");
    assert_string_equal(hear("a", KIND_JSON, after("a", 250)), " recovered @250 251-300");
    assert_string_equal(hear("a", KIND_JSON, last(100)), " @200 201-300");
    assert_string_equal(hear("a", KIND_JSON, last(101)), " @5 6 expired:194 201-300");
    assert_string_equal(hear("a", KIND_JSON, last(0)), " @300");
    retain("a", 301); /* there is one, the newest */
    assert_string_equal(hear("a", KIND_JSON, after("a", 3)), " missing:198 @201 202-301");
}

/* Segments are freed whole: what is still in memory is not more of the past than there is. */
static void a_window_of_three_binds_exactly(void **state)
{
    (void)state;
    retain("few/a", 1);
    publish("few/a", 2, 4);
    assert_string_equal(hear("few/a", KIND_JSON, after("few/a", 0)), " recovered @0 1-4");
    publish("few/a", 5, 5);
    assert_string_equal(hear("few/a", KIND_JSON, after("few/a", 0)), " @0 1 expired:1 3-5");
    publish("few/a", 6, 9);
    assert_string_equal(hear("few/a", KIND_JSON, last(4)), " @0 1 expired:5 7-9");
    assert_string_equal(hear("few/a", KIND_JSON, last(3)), " @6 7-9");
}

static void without_history_it_comes_first(void **state)
{
    struct subscription s = {.owner = NULL};
    struct ff_since position = {.is_position = true, .position = {5, 5}};

    (void)state;
    retain("off/a", 1);
    assert_int_equal(router.registry.topics.count, 1);
    publish("off/a", 2, 5); /* nobody reads */
    assert_string_equal(hear("off/a", KIND_JSON, last(1)), " @0 1");
    assert_string_equal(hear("off/a", KIND_JSON, position), " @0 1");
    assert_string_equal(hear("off/a", KIND_JSON, last(0)), " @0");
    begin(&s, "off/a", KIND_JSON, last(3));
    publish("off/a", 6, 8);
    assert_string_equal(end(&s), " @0 1 6-8"); /* no gap: nothing was promised */
    begin(&s, "off/a", KIND_JSON, last(3));
    router_hold(&s);
    for (uint64_t i = 1; i <= 40; i++)
        assert_int_equal(publish_as("off/a", i, false, FF_PAYLOAD_JSON, RETAINED_LARGE), FF_OK);
    router_release(&router, &s);
    router_unsubscribe(&router, &s);
    assert_int_equal(router.registry.topics.count, 1);
    forget("off/a");
    subscriber_deinit(&reader);
    assert_int_equal(router.registry.topics.count, 0);
    assert_int_equal(router.registry.retained_tally.own, 0);
    assert_int_equal(router.registry.limbo.retained_bytes, 0);
}

/* What was published while it read, and is gone, is told; not what came before it. */
static void without_history_a_slow_reader_is_told(void **state)
{
    struct subscription s = {.owner = NULL};

    (void)state;
    retain("off/a", 1);
    publish("off/a", 2, 5);
    begin(&s, "off/a", KIND_JSON, last(1));
    for (uint64_t i = 6; i <= 205; i++) {
        assert_int_equal(publish_as("off/a", i, false, FF_PAYLOAD_JSON, RETAINED_LARGE), FF_OK);
        link_move(&s, ZONE_WAITING);
        end_turn();
    }
    assert_true(strstr(end(&s), " @0 1 slow:"));
    assert_true(strstr(story, "-205"));
}

static void in_every_kind(void **state)
{
    static const enum log_kind kinds[] = {KIND_JSON, KIND_MSGPACK, KIND_JSON_DEFLATED};

    (void)state;
    for (size_t from = 0; from < 2; from++) {
        const char *topic = from ? "a" : "b";

        assert_int_equal(
            publish_as(topic, 1, true, from ? FF_PAYLOAD_MSGPACK : FF_PAYLOAD_JSON, 2000), FF_OK);
        publish(topic, 2, 200);
        for (size_t i = 0; i < FF_COUNT(kinds); i++)
            assert_string_equal(hear(topic, kinds[i], after(topic, 0)), " @0 1 expired:99 101-200");
        /* Retained while logs of other kinds are there. */
        assert_int_equal(
            publish_as(topic, 201, true, from ? FF_PAYLOAD_MSGPACK : FF_PAYLOAD_JSON, 2000), FF_OK);
        publish(topic, 202, 400);
        for (size_t i = 0; i < FF_COUNT(kinds); i++)
            assert_string_equal(hear(topic, kinds[i], last(1000)), " @200 201 expired:99 301-400");
    }
}

/* Raw readers have no GAPs: they have what is kept, and end only where they were slow. */
static void raw_readers_are_not_ended_by_it(void **state)
{
    struct subscription s = {.owner = &reader, .overflow = OVERFLOW_CLOSE};
    struct history_start start;
    struct ff_since since = last(1000);
    struct flush_range range;
    struct iovec iov[PLAN_IOVECS];
    struct plan plan = {.iov = iov, .max_bytes = 1 << 20};
    struct cut_unit unit;
    size_t len;
    char gap[GAP_MAX];

    (void)state;
    retain("a", 1);
    publish("a", 2, 200);
    subscriber_init(&reader, 7, FF_JSON);
    assert_int_equal(history_find_start(&router, FF_SLICE("a"), KIND_RAW, &since, &start), FF_OK);
    assert_int_equal(router_subscribe_at(&router, &s, FF_SLICE("a"), KIND_RAW, &start), FF_OK);
    range = (struct flush_range){.gap = gap, .view = log_look(s.link->log)};
    assert_false(subscription_is_too_slow(&s, &range.view, 100));
    assert_true(subscription_collect(&s, 7, &plan, 1 << 20, &range));
    len = plan.bytes;
    assert_memory_equal(iov[0].iov_base, "\x81", 1);
    assert_memory_equal((char *)iov[0].iov_base + 2, "[1,", 3);
    assert_false(subscription_taken(&range, 7, &len, &unit));
    plan.count = 0;
    range.view = log_look(s.link->log);
    assert_false(subscription_is_too_slow(&s, &range.view, 100));
    assert_true(subscription_collect(&s, 7, &plan, 1 << 20, &range));
    assert_int_equal(range.gap_len, 0);
    assert_memory_equal((char *)iov[0].iov_base + 2, "[101,", 5);
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
}

/* At each octet at which a socket can be full. */
static void it_is_cut_anywhere(void **state)
{
    (void)state;
    retain("a", 1);
    publish("a", 2, 110);
    for (size_t room = 1; room < 200; room++) {
        struct subscription s = {.owner = NULL};

        begin(&s, "a", KIND_JSON, after("a", 0));
        read_on(room);
        link_move(&s, ZONE_WAITING);
        assert_string_equal(end(&s), " @0 1 expired:9 11-110");
    }
}

/* Who stood before it when it went has missed it; not the one that came instead. */
static void another_takes_its_place(void **state)
{
    struct subscription s = {.owner = NULL};

    (void)state;
    retain("a", 1);
    publish("a", 2, 200);
    begin(&s, "a", KIND_JSON, after("a", 0));
    retain("a", 201);
    assert_string_equal(end(&s), " @0 slow:100 101-201");
    retain("a", 202);
    publish("a", 203, 400);
    begin(&s, "a", KIND_JSON, after("a", 201));
    read_on(1); /* it has begun */
    retain("a", 401);
    assert_string_equal(end(&s), " @201 202 expired:98 301-401");
    forget("a");
    assert_int_equal(router.registry.limbo.retained_bytes, 0);
    assert_int_equal(router.registry.retained_tally.own, 0);
}

static void rules_pass_over_nothing_that_was_asked_for(void **state)
{
    static const enum overflow_rule all[] = {OVERFLOW_SKIP, OVERFLOW_LATEST, OVERFLOW_CLOSE};

    (void)state;
    retain("a", 1);
    publish("a", 2, 110);
    for (size_t i = 0; i < FF_COUNT(all); i++) {
        struct subscription s = {.overflow = (uint8_t)all[i], .has_bound = true, .bound = 100};

        begin(&s, "a", KIND_JSON, after("a", 0));
        read_on(1);
        link_move(&s, ZONE_WAITING);
        assert_string_equal(end(&s), " @0 1 expired:9 11-110");
    }
    for (int own = 0; own < 2; own++) { /* its own it does not want */
        struct subscription s = {.no_echo = true};

        begin(&s, "a", KIND_JSON, after("a", 0));
        reader.tag = own ? 1 : 7;
        assert_string_equal(end(&s), own ? " @0 expired:9" : " @0 1 expired:9 11-110");
    }
}

/* While nobody reads it, and while the only one who does sleeps. */
static void it_stays_while_it_is_quiet(void **state)
{
    struct subscription s = {.owner = NULL};

    (void)state;
    retain("off/a", 1);
    for (int i = 0; i < 2; i++) {
        for (int seconds = 0; seconds < 400; seconds++) {
            now_ms += 1000;
            wheel_advance(&wheel);
            end_turn();
            (void)router_release_idle(&router);
        }
        assert_string_equal(hear("off/a", KIND_JSON, last(1)), " @0 1");
        if (i == 0)
            assert_int_equal(router_subscribe(&router, &s, FF_SLICE("off/a"), KIND_JSON), FF_OK);
    }
    router_unsubscribe(&router, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RETAINED(it_stands_in_its_place),
        WITH_RETAINED(a_window_of_three_binds_exactly),
        WITH_RETAINED(without_history_it_comes_first),
        WITH_RETAINED(without_history_a_slow_reader_is_told),
        WITH_RETAINED(in_every_kind),
        WITH_RETAINED(raw_readers_are_not_ended_by_it),
        WITH_RETAINED(it_is_cut_anywhere),
        WITH_RETAINED(another_takes_its_place),
        WITH_RETAINED(rules_pass_over_nothing_that_was_asked_for),
        WITH_RETAINED(it_stays_while_it_is_quiet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
