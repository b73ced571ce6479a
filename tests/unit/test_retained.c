/* SPDX-License-Identifier: Apache-2.0 */
/* Retained messages: where they come, what is told around them, in every kind, and what they cost.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "broker/topic/history.h"
#include "broker/topic/rate.h"
#include "broker/topic/recall.h"
#include "protocol/message/transcode.h"
#include "tests/support/lone_router.h"

enum { MESSAGES = 100, MEMORY = 1 << 20, MOST = 4, READERS = 300, LARGE = 20000 };

static struct subscriber reader;
static char story[4096]; /* what a reader was sent, as text */
static uint64_t first_of_run;
static uint64_t last_of_run;

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
    size_t len = strlen(story);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(story + len, sizeof(story) - len, format, args);
    va_end(args);
}

/* Messages in a row are told as one. */
static void end_run(void)
{
    if (first_of_run && first_of_run == last_of_run)
        tell(" %u", (unsigned)first_of_run);
    else if (first_of_run)
        tell(" %u-%u", (unsigned)first_of_run, (unsigned)last_of_run);
    first_of_run = 0;
}

static void on_received(struct subscriber *who, const struct ff_message *m)
{
    uint64_t number;

    (void)who;
    if (m->type == FF_TYPE_GAP) {
        end_run();
        tell(" %.*s:%u", (int)m->values[FF_FIELD_CAUSE].text.len, m->values[FF_FIELD_CAUSE].text.at,
             (unsigned)m->values[FF_FIELD_SKIPPED].integer);
        return;
    }
    number = subscriber_number(&m->payload);
    if (ff_message_has(m, FF_FIELD_OFFSET))
        assert_int_equal(m->values[FF_FIELD_OFFSET].integer, number);
    if (first_of_run && number == last_of_run + 1) {
        last_of_run = number;
        return;
    }
    end_run();
    first_of_run = last_of_run = number;
}

static void on_overrun(struct subscription *s)
{
    end_run();
    tell(" closed");
    link_set_pending(s, NULL);
}

static const struct topic_rule rules[] = {
    {.filter = "off/#", .history = 0, .history_bytes = 1024, .history_seconds = 1},
    {.filter = "few/#", .history = 3, .history_bytes = RULE_DEFAULT, .history_seconds = 300},
};

static void configure(uint32_t max_retained, uint64_t memory)
{
    struct router_limits limits = {
        .max_message = 65536,
        .max_buffered = 1 << 20,
        .max_topics = 1000,
        .max_filters = 1000,
        .max_retained = max_retained,
        .packing = {.level = 1, .window_bits = 15, .min_octets = 1, .min_readers = 1},
        .history = {.messages = MESSAGES,
                    .octets = 65536,
                    .seconds = 300,
                    .position_seconds = 3600,
                    .memory = memory}};

    router_configure(&router, &limits, rules, FF_COUNT(rules));
}

static int set_up(void **state)
{
    if (lone_router_set_up(state))
        return -1;
    configure(MOST, MEMORY);
    return 0;
}

#define WITH_RETAINED(test) cmocka_unit_test_setup_teardown(test, set_up, lone_router_tear_down)

static void end_turn(void)
{
    router_mark_ready(&router);
    (void)router_trim(&router);
}

static enum ff_err publish_as(const char *topic, uint64_t number, bool retain,
                              enum ff_payload_kind kind, size_t padding)
{
    static char text[LARGE + 100];
    int len = number
                  ? snprintf(text, sizeof(text), "[%u,\"%0*d\"]", (unsigned)number, (int)padding, 0)
                  : snprintf(text, sizeof(text), "null");
    struct publication p = {.topic = ff_slice_of(topic),
                            .payload = {FF_PAYLOAD_JSON, {text, (size_t)len}},
                            .publisher = 1,
                            .retain = retain};
    struct ff_buf packed = {.max = 2 * LARGE};
    struct receipt receipt;
    enum ff_err err = FF_OK;

    if (kind == FF_PAYLOAD_MSGPACK)
        err = ff_transcode(&p.payload, FF_MSGPACK, &packed);
    if (!err)
        err = router_publish(&router, &p, &receipt);
    ff_buf_deinit(&packed);
    return err;
}

static void publish(const char *topic, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        assert_int_equal(publish_as(topic, i, false, FF_PAYLOAD_JSON, 20), FF_OK);
        end_turn();
    }
}

static void retain(const char *topic, uint64_t number)
{
    assert_int_equal(publish_as(topic, number, true, FF_PAYLOAD_JSON, 20), FF_OK);
    end_turn();
}

static void forget(const char *topic)
{
    assert_int_equal(publish_as(topic, 0, true, FF_PAYLOAD_JSON, 0), FF_OK);
    end_turn();
}

static struct ff_since last(uint32_t count)
{
    return (struct ff_since){.count = count};
}

static struct ff_since after(const char *topic, uint64_t offset)
{
    struct ff_position at = registry_position(&router.registry, ff_slice_of(topic));

    return (struct ff_since){.is_position = true, .position = {at.epoch, offset}};
}

static void begin(struct subscription *s, const char *topic, enum log_kind kind,
                  struct ff_since since)
{
    struct history_start start;

    subscriber_init(&reader, 7, log_kinds[kind].encoding);
    reader.received = on_received;
    reader.overrun = on_overrun;
    s->owner = &reader;
    story[0] = 0;
    first_of_run = 0;
    assert_int_equal(history_find_start(&router, ff_slice_of(topic), kind, &since, &start), FF_OK);
    assert_int_equal(router_subscribe_at(&router, s, ff_slice_of(topic), kind, &start), FF_OK);
    if (start.is_recovered)
        tell(" recovered");
    if (start.is_lost)
        tell(" lost");
    if (start.missing)
        tell(" missing:%u", (unsigned)start.missing);
    tell(" @%u", (unsigned)history_first(&start).offset);
    router_hold(s);
    router_release(&router, s);
}

static void read_on(size_t room)
{
    reader.room = room;
    reader.is_blocked = false;
    subscriber_flush(&reader, &router);
    end_turn();
}

static const char *end(struct subscription *s)
{
    for (int i = 0; i < 100; i++)
        read_on(1 << 16);
    end_run();
    if (s->state != SUBSCRIPTION_DETACHED)
        router_unsubscribe(&router, s);
    subscriber_deinit(&reader);
    return story;
}

static const char *hear(const char *topic, enum log_kind kind, struct ff_since since)
{
    struct subscription s = {.owner = NULL};

    begin(&s, topic, kind, since);
    return end(&s);
}

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
        assert_int_equal(publish_as("off/a", i, false, FF_PAYLOAD_JSON, LARGE), FF_OK);
    router_release(&router, &s);
    router_unsubscribe(&router, &s);
    assert_int_equal(router.registry.topics.count, 1);
    forget("off/a");
    subscriber_deinit(&reader);
    assert_int_equal(router.registry.topics.count, 0);
    assert_int_equal(router.registry.retained_count, 0);
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
        assert_int_equal(publish_as("off/a", i, false, FF_PAYLOAD_JSON, LARGE), FF_OK);
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
    assert_int_equal(router.registry.retained_count, 0);
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

static void there_are_so_many_and_no_more(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < MOST; i++) {
        (void)snprintf(name, sizeof(name), i % 2 ? "off/%d" : "%d", i);
        retain(name, 1);
    }
    assert_int_equal(publish_as("more", 1, true, FF_PAYLOAD_JSON, 9), FF_ELIMIT);
    assert_int_equal(publish_as("off/more", 1, true, FF_PAYLOAD_JSON, 9), FF_ELIMIT);
    assert_int_equal(router.registry.topics.count, MOST);
    retain("0", 2); /* in the place of what was there */
    forget("off/1");
    retain("off/more", 1);
    assert_int_equal(router.registry.retained_count, MOST);
    configure(1000, MEMORY);
    for (int i = 0;; i++) {
        enum ff_err err;

        (void)snprintf(name, sizeof(name), "off/large/%d", i);
        err = publish_as(name, 1, true, FF_PAYLOAD_JSON, LARGE);
        end_turn();
        if (!err)
            continue;
        assert_int_equal(err, FF_ELIMIT);
        assert_in_range(i, MEMORY / 2 / LARGE - 4, MEMORY / 2 / LARGE + 1);
        break;
    }
    assert_true(router.registry.limbo.retained_bytes < MEMORY / 2 + 2 * LARGE);
}

/* Nor are windows kept on where the budget is short; what is retained stays. */
static void the_budget_takes_windows_only(void **state)
{
    (void)state;
    retain("a", 1);
    publish("a", 2, 20);
    configure(MOST, 2048);
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
    configure(MOST, 64 << 20);
    assert_int_equal(publish_as("off/a", 1, true, FF_PAYLOAD_JSON, LARGE), FF_OK);
    end_turn();
    story[0] = 0;
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
        first_of_run = 0;
        story[0] = 0;
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
    story[0] = 0;
    first_of_run = 0;
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

static void lists_have_it(void **state)
{
    struct ff_since four = last(4);
    struct ff_since three = last(3);
    struct ff_since zero;
    struct ff_since one;
    struct ff_since head;

    (void)state;
    retain("few/a", 1);
    publish("few/a", 2, 4);
    zero = after("few/a", 0);
    one = after("few/a", 1);
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
    assert_string_equal(list("few/a", false, 10, &one, FF_JSON), "gone");
    assert_string_equal(list("few/a", false, 10, NULL, FF_MSGPACK), "4");
    configure(MOST, 1);
    end_turn();
    assert_string_equal(list("few/a", false, 10, NULL, FF_JSON), " 1"); /* it alone is left */
    configure(MOST, MEMORY);
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
    assert_int_equal(router.registry.retained_count, count);
}

static void play_short_of_memory(void)
{
    struct subscription s = {.owner = NULL};
    struct ff_since since = last(10);
    struct history_start start;
    void *state = NULL;

    if (set_up(&state))
        return;
    for (int i = 1; i <= 3; i++) {
        enum ff_err err = publish_as(i % 2 ? "a" : "off/a", (uint64_t)i, true, FF_PAYLOAD_JSON, 20);

        assert_true(err == FF_OK || err == FF_ENOMEM);
        assert_true(err || router.registry.retained_count > 0);
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
        WITH_RETAINED(it_stands_in_its_place),
        WITH_RETAINED(a_window_of_three_binds_exactly),
        WITH_RETAINED(without_history_it_comes_first),
        WITH_RETAINED(without_history_a_slow_reader_is_told),
        WITH_RETAINED(in_every_kind),
        WITH_RETAINED(raw_readers_are_not_ended_by_it),
        WITH_RETAINED(it_is_cut_anywhere),
        WITH_RETAINED(another_takes_its_place),
        WITH_RETAINED(rules_pass_over_nothing_that_was_asked_for),
        WITH_RETAINED(there_are_so_many_and_no_more),
        WITH_RETAINED(the_budget_takes_windows_only),
        WITH_RETAINED(readers_share_one_copy),
        WITH_RETAINED(lists_have_it),
        WITH_RETAINED(it_stays_while_it_is_quiet),
        cmocka_unit_test(it_is_retained_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
