/* SPDX-License-Identifier: Apache-2.0 */
/* Messages whose place an engine gives, holes as wide as it says, and epochs that end. */
#include "tests/support/lone_router.h"

enum { HEARD_MAX = 64, FIRST = 7, OLD = 5, NEW = 6 };

static const struct ff_slice name = {"a/b", 3};

/* What a reader was told, one after another. */
static struct {
    bool is_gap;
    uint64_t number; /* of a message; of a GAP what was skipped */
    uint64_t offset;
    uint64_t from;
    uint64_t to;
    char cause[12];
    bool has_epoch;
    bool has_skipped;
} heard[HEARD_MAX];
static uint32_t heard_count;

static void on_received(struct subscriber *who, const struct ff_message *m)
{
    struct ff_slice cause = ff_message_text(m, FF_FIELD_CAUSE);

    (void)who;
    assert_true(heard_count < HEARD_MAX);
    heard[heard_count].is_gap = m->type == FF_TYPE_GAP;
    heard[heard_count].offset = m->values[FF_FIELD_OFFSET].integer;
    heard[heard_count].has_epoch = ff_message_has(m, FF_FIELD_EPOCH);
    heard[heard_count].has_skipped = ff_message_has(m, FF_FIELD_SKIPPED);
    heard[heard_count].from =
        ff_message_has(m, FF_FIELD_FROM) ? m->values[FF_FIELD_FROM].integer : 0;
    heard[heard_count].to = ff_message_has(m, FF_FIELD_TO) ? m->values[FF_FIELD_TO].integer : 0;
    if (m->type == FF_TYPE_GAP)
        memcpy(heard[heard_count].cause, cause.at, cause.len);
    else
        heard[heard_count].number = subscriber_number(&m->payload);
    heard_count++;
}

static void begin(struct subscriber *reader)
{
    struct router_limits limits = router.registry.limits;

    limits.history =
        (struct history_limits){.messages = 50, .octets = 65536, .seconds = 300, .memory = 1 << 20};
    router_configure(&router, &limits, NULL, 0);
    memset(heard, 0, sizeof(heard));
    heard_count = 0;
    subscriber_init(reader, 7, FF_JSON);
    reader->received = on_received;
}

static enum ff_err place(uint64_t epoch, uint64_t offset, struct placement placement)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "[%llu,\"\"]", (unsigned long long)offset);
    struct publication p = {
        .topic = name, .payload = {FF_PAYLOAD_JSON, {text, (size_t)len}}, .placement = &placement};
    struct receipt receipt;

    placement.at = (struct ff_position){epoch, offset};
    return router_publish(&router, &p, &receipt);
}

/* The topic is there, and its log ends before FIRST. */
static void make_topic(void)
{
    const struct ff_position life = {OLD, FIRST - 1};
    struct topic *topic;

    assert_int_equal(registry_get(&router.registry, name, TOPIC_KEEP, &life, &topic), FF_OK);
}

static void end_turn(struct subscriber *reader)
{
    router_mark_ready(&router);
    reader->room = 1 << 20;
    reader->is_blocked = false;
    subscriber_flush(reader, &router);
    (void)router_trim(&router);
}

static void subscribe(struct subscription *s, struct ff_slice to)
{
    assert_int_equal(router_subscribe(&router, s, to, KIND_JSON), FF_OK);
}

static void a_message_is_taken_at_its_place_only(void **state)
{
    struct subscriber reader;
    struct subscription s = {.owner = &reader};

    (void)state;
    begin(&reader);
    make_topic();
    subscribe(&s, name);
    assert_int_equal(place(OLD, FIRST + 1, (struct placement){.wall_ms = 0}), FF_EOTHER);
    assert_int_equal(place(NEW, FIRST, (struct placement){.wall_ms = 0}), FF_EOTHER);
    assert_int_equal(place(OLD, FIRST, (struct placement){.wall_ms = 0}), FF_OK);
    assert_int_equal(place(OLD, FIRST, (struct placement){.wall_ms = 0}), FF_EOTHER);
    end_turn(&reader);
    assert_int_equal(heard_count, 1);
    assert_int_equal(heard[0].offset, FIRST);
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
}

static void topic_and_filters_are_told_apart(void **state)
{
    struct subscriber reader;
    struct subscription s = {.owner = &reader};
    struct subscription filter = {.owner = &reader};

    (void)state;
    begin(&reader);
    make_topic();
    subscribe(&s, name);
    subscribe(&filter, FF_SLICE("a/+"));
    assert_int_equal(place(OLD, FIRST, (struct placement){.skips_filters = true}), FF_OK);
    end_turn(&reader);
    assert_int_equal(heard_count, 1);
    assert_false(heard[0].has_epoch); /* that is a filter's */
    assert_int_equal(place(OLD, FIRST, (struct placement){.skips_topic = true}), FF_OK);
    end_turn(&reader);
    assert_int_equal(heard_count, 2);
    assert_true(heard[1].has_epoch);
    assert_int_equal(heard[1].offset, FIRST);
    router_unsubscribe(&router, &s);
    router_unsubscribe(&router, &filter);
    subscriber_deinit(&reader);
}

static void lose(const struct hole *hole)
{
    assert_int_equal(router_publish_hole(&router, hole), FF_OK);
}

/* However far away it begins. */
static void an_epoch_begins_where_it_is_said_to(void **state)
{
    const uint64_t far = UINT64_C(1) << 41;
    struct subscriber reader;
    struct subscription s = {.owner = &reader};
    struct history_start start;
    struct ff_since since = {.is_position = true, .position = {NEW, far}};

    (void)state;
    begin(&reader);
    make_topic();
    subscribe(&s, name);
    assert_int_equal(place(OLD, FIRST, (struct placement){.wall_ms = 0}), FF_OK);
    lose(&(struct hole){.topic = name,
                        .cause = "rollback",
                        .count = far - FIRST,
                        .epoch = NEW,
                        .from = FIRST,
                        .to = FIRST});
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(place(NEW, far + i, (struct placement){.wall_ms = 0}), FF_OK);
    end_turn(&reader);
    assert_int_equal(heard_count, 5);
    assert_true(heard[1].is_gap && heard[1].has_epoch && heard[1].has_skipped);
    assert_string_equal(heard[1].cause, "rollback");
    assert_int_equal(heard[1].from, FIRST);
    assert_int_equal(heard[1].to, FIRST);
    assert_int_equal(heard[1].offset, far + 1);
    assert_int_equal(heard[4].offset, far + 3);
    /* Who comes back in the new epoch, and in the old one. */
    assert_int_equal(history_find_start(&router, name, KIND_JSON, &since, &start), FF_OK);
    assert_true(start.is_recovered && start.head == far + 3);
    since.position = (struct ff_position){OLD, FIRST};
    assert_int_equal(history_find_start(&router, name, KIND_JSON, &since, &start), FF_OK);
    assert_true(start.is_lost);
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
}

/* Who was too slow to hear that an epoch began is told of it, and of no numbers. */
static void a_slow_reader_is_told_of_the_epoch_that_it_missed(void **state)
{
    struct subscriber reader;
    struct subscription s = {.owner = &reader};

    (void)state;
    begin(&reader);
    make_topic();
    subscribe(&s, name);
    assert_int_equal(place(OLD, FIRST, (struct placement){.wall_ms = 0}), FF_OK);
    lose(&(struct hole){.topic = name, .cause = "lost", .count = 1000, .epoch = NEW});
    log_empty(s.link->log, &router.registry.limbo); /* memory was short */
    assert_int_equal(place(NEW, FIRST + 1001, (struct placement){.wall_ms = 0}), FF_OK);
    end_turn(&reader);
    assert_int_equal(heard_count, 2);
    assert_true(heard[0].is_gap && heard[0].has_epoch && !heard[0].has_skipped && !heard[0].from);
    assert_string_equal(heard[0].cause, "lost");
    assert_int_equal(heard[0].offset, FIRST + 1001);
    assert_int_equal(heard[1].number, FIRST + 1001);
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
}

/* Who comes back to the midst of a hole was told a part of it elsewhere: only the rest is missing.
 */
static void a_hole_counts_from_where_one_stood(void **state)
{
    struct subscriber reader;
    struct subscription s = {.owner = &reader};
    struct history_start start;

    (void)state;
    begin(&reader);
    make_topic();
    subscribe(&s, name);
    assert_int_equal(place(OLD, FIRST, (struct placement){.wall_ms = 0}), FF_OK);
    lose(&(struct hole){.topic = name, .cause = "expired", .count = 10});
    assert_int_equal(place(OLD, FIRST + 11, (struct placement){.wall_ms = 0}), FF_OK);
    for (uint64_t offset = FIRST; offset <= FIRST + 11; offset++) {
        const struct ff_since since = {.is_position = true, .position = {OLD, offset}};

        assert_int_equal(history_find_start(&router, name, KIND_JSON, &since, &start), FF_OK);
        /* Right before it all of it is told, by the log; within it what is left, by who asks. */
        assert_int_equal(start.missing,
                         offset > FIRST && offset < FIRST + 10 ? FIRST + 10 - offset : 0);
        assert_int_equal(start.at.offset,
                         offset > FIRST && offset < FIRST + 10 ? FIRST + 10 : offset);
    }
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
}

static void what_nobody_counted_is_told_without_numbers(void **state)
{
    struct subscriber reader;
    struct subscription filter = {.owner = &reader};

    (void)state;
    begin(&reader);
    subscribe(&filter, FF_SLICE("a/+"));
    lose(&(struct hole){.topic = FF_SLICE("a/+"),
                        .cause = "lost",
                        .count = 1,
                        .skips_filters = true,
                        .is_uncounted = true});
    end_turn(&reader);
    assert_int_equal(heard_count, 1);
    assert_true(heard[0].is_gap && !heard[0].has_skipped && !heard[0].has_epoch);
    router_unsubscribe(&router, &filter);
    subscriber_deinit(&reader);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_ROUTER(a_message_is_taken_at_its_place_only),
        WITH_ROUTER(topic_and_filters_are_told_apart),
        WITH_ROUTER(an_epoch_begins_where_it_is_said_to),
        WITH_ROUTER(a_slow_reader_is_told_of_the_epoch_that_it_missed),
        WITH_ROUTER(a_hole_counts_from_where_one_stood),
        WITH_ROUTER(what_nobody_counted_is_told_without_numbers),
    };

    (void)argc;
    (void)argv;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
