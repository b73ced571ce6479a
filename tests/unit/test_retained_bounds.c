/* SPDX-License-Identifier: Apache-2.0 */
/* How many retained messages there may be, what they cost, and how they are listed. */
#include <stdlib.h>

#include "broker/topic/recall.h"
#include "tests/support/retained.h"

enum { READERS = 300 };

static void there_are_so_many_and_no_more(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < RETAINED_MOST; i++) {
        (void)snprintf(name, sizeof(name), i % 2 ? "off/%d" : "%d", i);
        retain(name, 1);
    }
    assert_int_equal(publish_as("more", 1, true, FF_PAYLOAD_JSON, 9), FF_ELIMIT);
    assert_int_equal(publish_as("off/more", 1, true, FF_PAYLOAD_JSON, 9), FF_ELIMIT);
    assert_int_equal(router.registry.topics.count, RETAINED_MOST);
    retain("0", 2); /* in the place of what was there */
    forget("off/1");
    retain("off/more", 1);
    assert_int_equal(router.registry.retained_tally.own, RETAINED_MOST);
    configure(1000, RETAINED_MEMORY);
    for (int i = 0;; i++) {
        enum ff_err err;

        (void)snprintf(name, sizeof(name), "off/large/%d", i);
        err = publish_as(name, 1, true, FF_PAYLOAD_JSON, RETAINED_LARGE);
        end_turn();
        if (!err)
            continue;
        assert_int_equal(err, FF_ELIMIT);
        assert_in_range(i, RETAINED_MEMORY / 2 / RETAINED_LARGE - 4,
                        RETAINED_MEMORY / 2 / RETAINED_LARGE + 1);
        break;
    }
    assert_true(router.registry.limbo.retained_bytes < RETAINED_MEMORY / 2 + 2 * RETAINED_LARGE);
}

static const char *list(const char *topic, bool is_reverse, uint32_t limit,
                        const struct ff_since *since, enum ff_encoding encoding)
{
    struct recall what = {.is_reverse = is_reverse,
                          .limit = limit,
                          .encoding = encoding,
                          .max_octets = 1 << 18,
                          .has_since = since != NULL};
    struct recalled recalled;
    struct ff_buf out = {.max = 0};
    enum ff_err err;
    const char *at;

    if (since)
        what.since = *since;
    err = recall_messages(&router, ff_slice_of(topic), &what, &out, &recalled);
    begin_story();
    if (err) {
        tell(err == FF_EGONE ? "gone" : "error");
    } else if (encoding == FF_JSON) {
        assert_int_equal(ff_buf_append(&out, "", 1), FF_OK);
        for (at = out.data; (at = strstr(at, "\"message\":[")); at++)
            tell(" %u", (unsigned)strtoul(at + 11, NULL, 10));
        tell(recalled.has_more ? "+" : "");
    } else {
        tell("%u%s", out.data[4], recalled.has_more ? "+" : "");
    }
    ff_buf_deinit(&out);
    return story;
}

static enum ff_err retain_large(const char *topic, size_t octets)
{
    enum ff_err err = publish_as(topic, 1, true, FF_PAYLOAD_JSON, octets);

    end_turn();
    return err;
}

/* What is there may be replaced, and read in every kind; readers' copies have a bound of their own,
 * and take nothing from the windows of others. */
static void at_the_bound_values_change_and_are_read(void **state)
{
    static const enum log_kind kinds[] = {KIND_MSGPACK, KIND_TEXT, KIND_JSON_DEFLATED, KIND_RAW};

    struct subscription s[FF_COUNT(kinds)];
    struct history_start start;
    struct ff_since since = last(1);
    uint32_t refused = 0;

    (void)state;
    configure(RETAINED_MOST, 2UL * (RETAINED_LARGE + RETAINED_LARGE / 2));
    publish("a", 1, 3);
    assert_int_equal(retain_large("off/a", RETAINED_LARGE), FF_OK);
    assert_int_equal(retain_large("off/a", RETAINED_LARGE), FF_OK);
    assert_int_equal(retain_large("off/b", RETAINED_LARGE), FF_ELIMIT);
    assert_int_equal(retain_large("off/b", 100), FF_OK);
    subscriber_init(&reader, 7, FF_JSON);
    for (size_t i = 0; i < FF_COUNT(kinds); i++) {
        enum ff_err err;

        s[i] = (struct subscription){.owner = &reader};
        err = history_find_start(&router, FF_SLICE("off/a"), kinds[i], &since, &start);
        assert_true(err == FF_OK || err == FF_ENOMEM);
        refused += err != FF_OK;
        if (err) /* who does not ask for it is not refused */
            start = (struct history_start){.head = 0};
        assert_int_equal(router_subscribe_at(&router, &s[i], FF_SLICE("off/a"), kinds[i], &start),
                         FF_OK);
    }
    assert_true(refused > 0 && refused < FF_COUNT(kinds));
    assert_true(router.registry.limbo.retained_bytes <= router.registry.limits.history.memory);
    end_turn();
    assert_string_equal(list("a", false, 10, NULL, FF_JSON), " 1 2 3");
    assert_int_equal(retain_large("off/a", RETAINED_LARGE),
                     FF_OK); /* in all the kinds that are read */
    assert_int_equal(retain_large("off/a", 10), FF_OK);
    for (size_t i = 0; i < FF_COUNT(kinds); i++)
        router_unsubscribe(&router, &s[i]);
    subscriber_deinit(&reader);
}

/* Nor are windows kept on where the budget is short; what is retained stays. */
static void the_budget_takes_windows_only(void **state)
{
    (void)state;
    retain("a", 1);
    publish("a", 2, 20);
    configure(RETAINED_MOST, 2048);
    end_turn();
    assert_string_equal(hear("a", KIND_JSON, after("a", 0)), " @0 1 expired:19");
    assert_string_equal(hear("a", KIND_JSON, last(3)), " @0 1 expired:19");
}

/* Three hundred sockets full in the midst of it: one copy, and nobody has to go. */
static void readers_share_one_copy(void **state)
{
    static struct subscriber readers[READERS];
    static struct subscription s[READERS];
    struct ff_since since = last(1);
    struct history_start start;
    size_t before;

    (void)state;
    configure(RETAINED_MOST, 64 << 20);
    assert_int_equal(publish_as("off/a", 1, true, FF_PAYLOAD_JSON, RETAINED_LARGE), FF_OK);
    end_turn();
    begin_story();
    before = router.registry.limbo.retained_bytes;
    for (int i = 0; i < READERS; i++) {
        subscriber_init(&readers[i], 7, FF_JSON);
        readers[i].received = on_received;
        readers[i].overrun = on_overrun;
        s[i] = (struct subscription){.owner = &readers[i]};
        assert_int_equal(history_find_start(&router, FF_SLICE("off/a"), KIND_JSON, &since, &start),
                         FF_OK);
        assert_int_equal(router_subscribe_at(&router, &s[i], FF_SLICE("off/a"), KIND_JSON, &start),
                         FF_OK);
        router_hold(&s[i]);
        router_release(&router, &s[i]);
        readers[i].room = 1000;
        subscriber_flush(&readers[i], &router);
        link_move(&s[i], ZONE_WAITING);
        end_turn();
    }
    assert_int_equal(router.registry.limbo.retained_bytes, before);
    assert_int_equal(pins_bytes(s[0].link->pins), 0); /* none counts against their budget */
    retain("off/a", 2);
    assert_int_equal(pins_bytes(s[0].link->pins), before); /* now it does, once */
    for (int i = 0; i < READERS; i++) {
        begin_story();
        readers[i].room = 1 << 16;
        readers[i].is_blocked = false;
        subscriber_flush(&readers[i], &router);
        end_run();
        assert_string_equal(story, " 1-2");
        router_unsubscribe(&router, &s[i]);
        subscriber_deinit(&readers[i]);
    }
    forget("off/a");
    assert_true(limbo_is_empty(&router.registry.limbo));
}

static void lists_have_it(void **state)
{
    struct ff_since four = last(4);
    struct ff_since three = last(3);
    struct ff_since zero;
    struct ff_since one;
    struct ff_since two;
    struct ff_since five;
    struct ff_since head;

    (void)state;
    retain("few/a", 1);
    publish("few/a", 2, 4);
    zero = after("few/a", 0);
    one = after("few/a", 1);
    two = after("few/a", 2);
    five = after("few/a", 5);
    assert_string_equal(list("few/a", false, 10, &zero, FF_JSON), " 1 2 3 4"); /* nothing is gone */
    publish("few/a", 5, 9);
    head = after("few/a", 9);
    assert_string_equal(list("few/a", false, 10, NULL, FF_JSON), " 1 7 8 9");
    assert_string_equal(list("few/a", false, 4, NULL, FF_JSON), " 1 7 8 9");
    assert_string_equal(list("few/a", false, 3, NULL, FF_JSON), " 1 7 8+");
    assert_string_equal(list("few/a", true, 10, NULL, FF_JSON), " 9 8 7 1");
    assert_string_equal(list("few/a", true, 3, NULL, FF_JSON), " 9 8 7+");
    assert_string_equal(list("few/a", true, 10, &head, FF_JSON), " 8 7 1");
    assert_string_equal(list("few/a", false, 10, &four, FF_JSON), " 1 7 8 9");
    assert_string_equal(list("few/a", false, 10, &three, FF_JSON), " 7 8 9");
    assert_string_equal(list("few/a", false, 10, &zero, FF_JSON), "gone");
    assert_string_equal(list("few/a", false, 1, NULL, FF_JSON), " 1+"); /* and the next page: */
    assert_string_equal(list("few/a", false, 10, &one, FF_JSON), " 7 8 9");
    assert_string_equal(list("few/a", false, 10, &two, FF_JSON), "gone");
    assert_string_equal(list("few/a", true, 10, &five, FF_JSON), " 1");
    assert_string_equal(list("few/a", true, 10, &two, FF_JSON), " 1");
    assert_string_equal(list("few/a", true, 10, &one, FF_JSON), "");
    assert_string_equal(list("few/a", false, 10, NULL, FF_MSGPACK), "4");
    configure(RETAINED_MOST, 1);
    end_turn();
    assert_string_equal(list("few/a", false, 10, NULL, FF_JSON), " 1"); /* it alone is left */
    configure(RETAINED_MOST, RETAINED_MEMORY);
}

/* Whoever has one, has it. */
static void check_all(void)
{
    struct ff_map_node *node = NULL;
    uint32_t count = 0;

    while ((node = ff_map_next(&router.registry.topics, node))) {
        const struct topic *topic = FF_CONTAINER(node, struct topic, node);

        count += topic->has_retained;
        assert_true(!topic->has_retained || topic_retained(topic));
    }
    assert_int_equal(router.registry.retained_tally.own, count);
}

static void play_short_of_memory(void)
{
    struct subscription s = {.owner = NULL};
    struct ff_since since = last(10);
    struct history_start start;
    void *state = NULL;

    if (retained_set_up(&state))
        return;
    for (int i = 1; i <= 3; i++) {
        enum ff_err err = publish_as(i % 2 ? "a" : "off/a", (uint64_t)i, true, FF_PAYLOAD_JSON, 20);

        assert_true(err == FF_OK || err == FF_ENOMEM);
        assert_true(err || router.registry.retained_tally.own > 0);
        check_all();
    }
    if (history_find_start(&router, FF_SLICE("off/a"), KIND_MSGPACK, &since, &start) == FF_OK &&
        router_subscribe_at(&router, &s, FF_SLICE("off/a"), KIND_MSGPACK, &start) == FF_OK) {
        (void)!publish_as("off/a", 5, true, FF_PAYLOAD_MSGPACK, 20);
        check_all();
        router_unsubscribe(&router, &s);
    }
    (void)!publish_as("off/a", 0, true, FF_PAYLOAD_JSON, 0);
    end_turn();
    (void)lone_router_tear_down(&state);
}

static void it_is_retained_or_refused(void **state)
{
    (void)state;
    for_each_failing_allocation(play_short_of_memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RETAINED(there_are_so_many_and_no_more),
        WITH_RETAINED(at_the_bound_values_change_and_are_read),
        WITH_RETAINED(the_budget_takes_windows_only),
        WITH_RETAINED(readers_share_one_copy),
        WITH_RETAINED(lists_have_it),
        cmocka_unit_test(it_is_retained_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
