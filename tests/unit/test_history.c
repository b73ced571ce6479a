/* SPDX-License-Identifier: Apache-2.0 */
/* What topics keep, for how long, within which budget; and what is remembered of those that went.
 */
#include "broker/topic/history.h"
#include "broker/topic/past.h"
#include "protocol/message/transcode.h"
#include "tests/support/lone_router.h"

enum { MESSAGES = 100, SECONDS = 300 };

static struct subscriber reader;
static uint64_t seen; /* the newest offset that the reader was sent */
static uint64_t told; /* messages that it was told of as missing */

static void on_received(struct subscriber *who, const struct ff_message *m)
{
    (void)who;
    if (m->type == FF_TYPE_GAP) {
        told += m->values[FF_FIELD_SKIPPED].integer;
        assert_int_equal(m->values[FF_FIELD_FROM].integer, seen + 1);
        seen = m->values[FF_FIELD_TO].integer;
        return;
    }
    assert_int_equal(m->type, FF_TYPE_MESSAGE);
    assert_int_equal(m->values[FF_FIELD_OFFSET].integer, seen + 1);
    seen++;
    assert_int_equal(subscriber_number(&m->payload), seen);
}

static struct router_limits limits(void)
{
    return (struct router_limits){.max_message = 65536,
                                  .max_buffered = 1 << 20,
                                  .max_topics = 1000,
                                  .max_filters = 1000,
                                  .history = {.messages = MESSAGES,
                                              .octets = 65536,
                                              .seconds = SECONDS,
                                              .position_seconds = 3600,
                                              .memory = 64 << 20}};
}

static int set_up(void **state)
{
    struct router_limits wanted = limits();

    if (lone_router_set_up(state))
        return -1;
    router_configure(&router, &wanted, NULL, 0);
    return 0;
}

#define WITH_HISTORY(test) cmocka_unit_test_setup_teardown(test, set_up, lone_router_tear_down)

static void end_turn(void)
{
    router_mark_ready(&router);
    (void)router_trim(&router);
}

static void pass_ms(uint64_t ms)
{
    for (; ms >= 1000; ms -= 1000) {
        now_ms += 1000;
        wheel_advance(&wheel);
        end_turn();
        (void)router_release_idle(&router);
        (void)history_expire(&router);
    }
    now_ms += ms;
    wheel_advance(&wheel);
    end_turn();
}

static struct ff_position publish_as(const char *topic, uint64_t number, enum ff_payload_kind kind,
                                     size_t padding)
{
    char text[5000];
    int len = snprintf(text, sizeof(text), "[%u,\"%0*d\"]", (unsigned)number, (int)padding, 0);
    struct publication p = {.topic = ff_slice_of(topic),
                            .payload = {FF_PAYLOAD_JSON, {text, (size_t)len}},
                            .publisher = 1};
    struct ff_buf packed = {.max = 8192};
    struct receipt receipt;

    if (kind == FF_PAYLOAD_MSGPACK)
        assert_int_equal(ff_transcode(&p.payload, FF_MSGPACK, &packed), FF_OK);
    assert_int_equal(router_publish(&router, &p, &receipt), FF_OK);
    ff_buf_deinit(&packed);
    return receipt.position;
}

static struct ff_position publish(const char *topic, uint64_t number)
{
    return publish_as(topic, number, FF_PAYLOAD_JSON, 20);
}

static struct history_start find(const char *topic, enum log_kind kind, struct ff_position since)
{
    struct ff_since wanted = {.is_position = true, .position = since};
    struct history_start start;

    assert_int_equal(history_find_start(&router, ff_slice_of(topic), kind, &wanted, &start), FF_OK);
    return start;
}

/* Reads all there is behind a position, and answers how many came. */
static uint64_t read_from(const char *topic, enum ff_encoding encoding, struct ff_position since)
{
    struct subscription s = {.owner = &reader};
    struct history_start start = find(topic, kind_of(encoding), since);
    uint64_t before = seen = start.at.offset;

    subscriber_init(&reader, 7, encoding);
    reader.received = on_received;
    assert_int_equal(
        router_subscribe_at(&router, &s, ff_slice_of(topic), kind_of(encoding), &start), FF_OK);
    for (int i = 0; i < 100; i++) {
        router_hold(&s);
        router_release(&router, &s);
        reader.room = 1 << 16;
        subscriber_flush(&reader, &router);
        reader.is_blocked = false;
        end_turn();
    }
    assert_int_equal(seen, start.head);
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
    return seen - before;
}

static void a_window_binds_exactly(void **state)
{
    struct ff_position at = {0, 0};

    (void)state;
    for (uint64_t i = 1; i <= 3 * MESSAGES; i++) {
        at = publish("a", i);
        assert_int_equal(at.offset, i);
        if (i % 7 == 0)
            end_turn();
        assert_int_equal(find("a", KIND_JSON, (struct ff_position){at.epoch, 0}).at.offset,
                         i > MESSAGES ? i - MESSAGES : 0);
    }
    assert_int_equal(find("a", KIND_JSON, (struct ff_position){at.epoch, 150}).missing, 50);
    assert_true(find("a", KIND_JSON, (struct ff_position){at.epoch, 200}).is_recovered);
    assert_true(find("a", KIND_JSON, (struct ff_position){at.epoch, 301}).is_lost);
    assert_true(find("a", KIND_JSON, (struct ff_position){at.epoch + 1, 300}).is_lost);
    assert_int_equal(read_from("a", FF_JSON, (struct ff_position){at.epoch, 0}), MESSAGES);
}

/* Half of it 100 s before the other half, which then is what is left; and then nothing is. */
static void what_is_too_old_goes(void **state)
{
    struct ff_position at = {0, 0};

    (void)state;
    for (uint64_t i = 1; i <= 10; i++)
        at = publish("a", i);
    pass_ms(100 * 1000);
    for (uint64_t i = 11; i <= 20; i++)
        at = publish("a", i);
    pass_ms((SECONDS - 100) * 1000 - 100);
    assert_int_equal(find("a", KIND_JSON, (struct ff_position){at.epoch, 0}).missing, 0);
    pass_ms(200);
    assert_int_equal(find("a", KIND_JSON, (struct ff_position){at.epoch, 0}).missing, 10);
    pass_ms(100 * 1000);
    assert_int_equal(find("a", KIND_JSON, (struct ff_position){at.epoch, 0}).at.epoch != at.epoch,
                     true); /* nobody ever subscribed to it: it is gone, without a trace */
    assert_int_equal(router.registry.topics.count, 0);
    assert_int_equal(router.registry.limbo.kept_bytes, 0);
    assert_int_equal(router.registry.history.unread, 0);
}

static void octets_bind_too(void **state)
{
    uint64_t count;
    struct ff_position at = {0, 0};

    (void)state;
    for (uint64_t i = 1; i <= MESSAGES; i++) {
        at = publish_as("a", i, FF_PAYLOAD_JSON, 2000);
        end_turn();
    }
    count = read_from("a", FF_JSON, (struct ff_position){at.epoch, 0});
    assert_in_range(count, 65536 / 2080, 65536 / 2030);
    assert_true(router.registry.limbo.kept_bytes <= 65536 * 5 / 4 + 2 * 8192);
}

/* Who subscribed is told the truth long after the topic went, but not for ever. */
static void a_position_outlives_its_topic(void **state)
{
    struct ff_position begun;
    struct subscription s = {.owner = &reader};
    struct history_start start;

    (void)state;
    begun = publish("a", 1);
    assert_int_equal(read_from("a", FF_JSON, (struct ff_position){begun.epoch, 0}), 1);
    pass_ms((SECONDS + 1) * 1000);
    assert_int_equal(router.registry.topics.count, 0);
    start = find("a", KIND_JSON, begun);
    assert_true(start.is_recovered && start.at.epoch == begun.epoch && start.at.offset == 1);

    /* A topic that sleeps keeps it, and so does one that is awake. */
    assert_int_equal(router_subscribe_at(&router, &s, FF_SLICE("a"), KIND_JSON, &start), FF_OK);
    assert_int_equal(s.state, SUBSCRIPTION_IDLE);
    assert_int_equal(router.registry.history.positions.count, 0);
    assert_true(find("a", KIND_JSON, begun).is_recovered);
    s.owner = NULL;
    assert_int_equal(publish("a", 2).offset, 2);
    assert_true(find("a", KIND_JSON, begun).is_recovered);
    router_unsubscribe(&router, &s);

    pass_ms((SECONDS + 3590) * 1000);
    assert_true(find("a", KIND_JSON, (struct ff_position){begun.epoch, 2}).is_recovered);
    pass_ms(20 * 1000);
    assert_true(find("a", KIND_JSON, (struct ff_position){begun.epoch, 2}).is_lost);
    assert_int_equal(positions_size(&router.registry.history.positions), 0);
}

/* Ever new names of one publisher take nothing from topics that were subscribed to. */
static void strangers_go_first(void **state)
{
    enum { FRIENDS = 100, STRANGERS = 20000, MEMORY = 2 << 20 };

    struct router_limits wanted = limits();
    struct ff_position at[FRIENDS];
    char name[32];

    (void)state;
    wanted.history.memory = MEMORY;
    wanted.history.position_seconds = 1000000;
    router_configure(&router, &wanted, NULL, 0);
    for (int i = 0; i < FRIENDS; i++) {
        (void)snprintf(name, sizeof(name), "friend/%d", i);
        at[i] = publish(name, 1);
        (void)read_from(name, FF_JSON, at[i]);
        if (i % 2)
            continue;
        pass_ms((SECONDS + 1) * 1000); /* half of them are gone by then, but for their positions */
        at[i] = publish(name, 2);
    }
    for (int i = 0; i < STRANGERS; i++) {
        (void)snprintf(name, sizeof(name), "stranger/%d", i);
        (void)publish(name, 1);
        if (i % 100 == 0)
            end_turn();
    }
    end_turn();
    assert_true(router.registry.limbo.kept_bytes + router.registry.history.unread * 300 < MEMORY);
    assert_true(router.registry.history.unread > 500);
    for (int i = 0; i < FRIENDS; i++) {
        (void)snprintf(name, sizeof(name), "friend/%d", i);
        assert_true(find(name, KIND_JSON, at[i]).is_recovered);
    }
}

/* Nor does who subscribes to ever new names: their positions have a part of the memory. */
static void ever_new_readers_take_no_messages(void **state)
{
    enum { NAMES = 40000, MEMORY = 1 << 20, FEW = 1000 };

    struct router_limits wanted = limits();
    struct ff_position at = {0, 0};
    struct ff_position left[NAMES];
    char name[32];

    (void)state;
    wanted.history.memory = MEMORY;
    router_configure(&router, &wanted, NULL, 0);
    for (uint64_t i = 1; i <= 10; i++)
        at = publish("friend", i);
    for (int i = 0; i < NAMES; i++) {
        struct subscription s = {.owner = &reader};
        struct history_start start = {.head = 0};

        (void)snprintf(name, sizeof(name), "stranger/%d", i);
        start.at = left[i] = registry_begin_life(&router.registry, ff_slice_of(name));
        assert_int_equal(router_subscribe_at(&router, &s, ff_slice_of(name), KIND_JSON, &start),
                         FF_OK);
        router_unsubscribe(&router, &s);
        end_turn();
        assert_true(i < FEW || router.registry.history.positions.count >= FEW); /* one by one */
    }
    assert_true(positions_size(&router.registry.history.positions) <= MEMORY / 2);
    assert_true(find("friend", KIND_JSON, (struct ff_position){at.epoch, 0}).is_recovered);
    assert_int_equal(read_from("friend", FF_JSON, (struct ff_position){at.epoch, 0}), 10);
    for (int i = 0; i < NAMES; i++) { /* those that were left last are remembered */
        (void)snprintf(name, sizeof(name), "stranger/%d", i);
        assert_true(i < NAMES - FEW || find(name, KIND_JSON, left[i]).is_recovered);
    }
}

/* Past the budget those that were published to least recently lose their messages, and no place. */
static void the_least_recent_lose_their_messages(void **state)
{
    enum { TOPICS = 50 };

    struct router_limits wanted = limits();
    struct ff_position at[TOPICS];
    char name[32];
    int kept = 0;

    (void)state;
    wanted.history.memory = 256 << 10;
    router_configure(&router, &wanted, NULL, 0);
    for (int i = 0; i < TOPICS; i++) {
        (void)snprintf(name, sizeof(name), "topic/%d", i);
        for (uint64_t n = 1; n <= 10; n++)
            at[i] = publish_as(name, n, FF_PAYLOAD_JSON, 1000);
        (void)read_from(name, FF_JSON, (struct ff_position){at[i].epoch, 0});
        pass_ms(1500);
    }
    for (int i = 0; i < TOPICS; i++) {
        struct history_start start;

        (void)snprintf(name, sizeof(name), "topic/%d", i);
        start = find(name, KIND_JSON, (struct ff_position){at[i].epoch, 0});
        assert_true(start.at.epoch == at[i].epoch && start.head == 10);
        assert_true(start.missing == 0 || start.missing == 10);
        assert_true(start.missing == 10 || i > 0);
        assert_false(kept && start.missing); /* the older ones went before the younger ones */
        kept += start.missing == 0;
    }
    assert_in_range(kept, 10, 25);
}

/* What is there for a slow reader alone takes no place from what others keep. */
static void a_backlog_is_no_history(void **state)
{
    enum { TOPICS = 12 };

    struct router_limits wanted = limits();
    struct subscription s[TOPICS];
    struct ff_position at = {0, 0};
    char name[32];

    (void)state;
    wanted.history.memory = 3 << 20; /* the windows, with some to spare, but not all that waits */
    router_configure(&router, &wanted, NULL, 0);
    for (uint64_t i = 1; i <= 10; i++)
        at = publish("friend", i);
    subscriber_init(&reader, 7, FF_JSON);
    reader.room = 0;
    for (int i = 0; i < TOPICS; i++) {
        s[i] = (struct subscription){.owner = &reader};
        (void)snprintf(name, sizeof(name), "slow/%d", i);
        assert_int_equal(router_subscribe(&router, &s[i], ff_slice_of(name), KIND_JSON), FF_OK);
    }
    for (uint64_t n = 1; n <= 200; n++) {
        for (int i = 0; i < TOPICS; i++) {
            (void)snprintf(name, sizeof(name), "slow/%d", i);
            (void)publish_as(name, n, FF_PAYLOAD_JSON, 4000);
        }
        subscriber_flush(&reader, &router);
        end_turn();
    }
    assert_true(subscription_behind(&s[0]) > 200 * 4000); /* it is all there */
    assert_true(router.registry.limbo.kept_bytes < (3 << 20));
    assert_int_equal(find("friend", KIND_JSON, (struct ff_position){at.epoch, 0}).missing, 0);
    for (int i = 0; i < TOPICS; i++)
        router_unsubscribe(&router, &s[i]);
    subscriber_deinit(&reader);
    end_turn();
    assert_int_equal(read_from("friend", FF_JSON, (struct ff_position){at.epoch, 0}), 10);
    pass_ms((SECONDS + 1) * 1000);
    assert_int_equal(router.registry.limbo.kept_bytes, 0);
}

/* Whatever it was published in, and whatever is read first. */
static void each_encoding_has_the_past(void **state)
{
    struct ff_position at = {0, 0};

    (void)state;
    for (uint64_t i = 1; i <= 60; i++)
        at = publish_as("a", i, i > 20 && i < 40 ? FF_PAYLOAD_MSGPACK : FF_PAYLOAD_JSON, i * 20);
    assert_int_equal(read_from("a", FF_MSGPACK, (struct ff_position){at.epoch, 0}), 60);
    assert_int_equal(read_from("a", FF_JSON, (struct ff_position){at.epoch, 0}), 60);
    for (uint64_t i = 61; i <= 90; i++)
        at = publish("a", i);
    assert_int_equal(read_from("a", FF_MSGPACK, (struct ff_position){at.epoch, 30}), 60);
    assert_int_equal(read_from("a", FF_JSON, (struct ff_position){at.epoch, 85}), 5);
    for (int kind = 0; kind < KINDS; kind++)
        assert_int_equal(find("a", (enum log_kind)kind, (struct ff_position){at.epoch, 3}).missing,
                         0);
}

/* What stands for lost messages cannot be written again: the past of another kind begins behind it.
 */
static void the_past_begins_behind_a_hole(void **state)
{
    struct hole hole = {.topic = FF_SLICE("a"), .cause = "lost", .count = 5};
    struct ff_position at = {0, 0};

    (void)state;
    for (uint64_t i = 1; i <= 10; i++)
        at = publish("a", i);
    assert_int_equal(router_publish_hole(&router, &hole), FF_OK);
    for (uint64_t i = 16; i <= 20; i++)
        at = publish("a", i);
    assert_int_equal(at.offset, 20);
    assert_int_equal(find("a", KIND_JSON, (struct ff_position){at.epoch, 0}).missing, 0);
    assert_int_equal(find("a", KIND_MSGPACK, (struct ff_position){at.epoch, 0}).missing, 15);
    assert_int_equal(read_from("a", FF_MSGPACK, (struct ff_position){at.epoch, 15}), 5);
}

static void wall_time_never_goes_back(void **state)
{
    const struct segment *segment;
    uint64_t ahead;
    struct topic *topic;

    (void)state;
    (void)publish("a", 1);
    topic = router_find(&router, FF_SLICE("a"));
    ahead = topic->wall_ms += 3600 * 1000; /* as if the clock had leapt ahead, and back */
    (void)publish("a", 2);
    (void)publish("a", 3);
    segment = atomic_load(&topic->logs[KIND_JSON]->log.first);
    for (uint64_t i = 0; segment; segment = atomic_load(&segment->next))
        for (uint32_t k = 0; k < atomic_load(&segment->count); k++, i++)
            assert_true(i == 0 ? entry_wall_ms(segment, k) < ahead
                               : entry_wall_ms(segment, k) == ahead);
}

/* A rule that turns history off or on acts on topics that are neither subscribed to nor kept. */
static void a_change_from_or_to_none_waits_for_a_new_life(void **state)
{
    struct topic_rule off = {
        .filter = "a", .history = 0, .history_bytes = 1024, .history_seconds = 1};
    struct router_limits wanted = limits();
    struct subscription s = {.owner = NULL};
    struct ff_position before;

    (void)state;
    before = publish("a", 1);
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON), FF_OK);
    router_configure(&router, &wanted, &off, 1);
    assert_int_equal(publish("a", 2).offset, 2);
    assert_int_equal(find("a", KIND_JSON, (struct ff_position){before.epoch, 0}).missing, 2);
    router_unsubscribe(&router, &s);
    end_turn();
    assert_int_equal(router.registry.topics.count, 0);
    assert_int_equal(publish("a", 1).epoch, 0);
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON), FF_OK);
    router_configure(&router, &wanted, NULL, 0);
    assert_int_equal(publish("a", 2).epoch, 0);
    router_unsubscribe(&router, &s);
    assert_true(publish("a", 1).epoch && publish("a", 2).epoch != before.epoch);
}

/* Nobody counts what is said meanwhile: a position from before is no place to go on from. */
static void a_position_ends_where_nothing_is_counted(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    struct topic_rule off = {
        .filter = "#", .history = 0, .history_bytes = 1024, .history_seconds = 1};
    struct router_limits wanted = limits();
    struct hole hole = {.topic = FF_SLICE("d"), .cause = "lost", .count = 5};
    struct subscription s = {.owner = NULL};
    struct ff_position at[FF_COUNT(names)];
    struct history_start start;

    (void)state;
    for (size_t i = 0; i < FF_COUNT(names); i++) {
        at[i] = publish(names[i], 1);
        (void)read_from(names[i], FF_JSON, at[i]);
    }
    pass_ms((SECONDS + 1) * 1000);
    assert_int_equal(router.registry.topics.count, 0);
    router_configure(&router, &wanted, &off, 1);

    start = find("a", KIND_JSON, at[0]); /* with a reader meanwhile */
    assert_true(!start.at.epoch && !start.is_recovered && !start.is_lost);
    assert_int_equal(router_subscribe_at(&router, &s, FF_SLICE("a"), KIND_JSON, &start), FF_OK);
    assert_int_equal(publish("a", 2).epoch, 0);
    router_unsubscribe(&router, &s);
    end_turn();
    assert_int_equal(publish("b", 2).epoch, 0); /* with none */
    assert_int_equal(router_publish_hole(&router, &hole), FF_OK);

    router_configure(&router, &wanted, NULL, 0);
    assert_true(find("a", KIND_JSON, at[0]).is_lost);
    assert_true(find("b", KIND_JSON, at[1]).is_lost);
    assert_true(find("c", KIND_JSON, at[2]).is_recovered); /* nothing was said */
    assert_true(find("d", KIND_JSON, at[3]).is_lost);
}

static void play_short_of_memory(void)
{
    struct subscription s = {.owner = NULL};
    struct ff_since since = {.count = 10};
    struct history_start start;
    struct publication p = {.topic = FF_SLICE("a"), .payload = {FF_PAYLOAD_JSON, FF_SLICE("[1]")}};
    struct receipt receipt;
    void *state = NULL;

    if (set_up(&state))
        return;
    for (int i = 0; i < 5; i++)
        assert_int_equal(router_publish(&router, &p, &receipt),
                         FF_OK); /* history refuses nothing */
    if (history_find_start(&router, FF_SLICE("a"), KIND_MSGPACK, &since, &start) == FF_OK &&
        router_subscribe_at(&router, &s, FF_SLICE("a"), KIND_MSGPACK, &start) == FF_OK) {
        (void)!router_publish(&router, &p, &receipt); /* a reader's log may be short of memory */
        router_unsubscribe(&router, &s);
    }
    pass_ms((SECONDS + 1) * 1000);
    (void)lone_router_tear_down(&state);
}

static void history_never_refuses_a_publish(void **state)
{
    (void)state;
    for_each_failing_allocation(play_short_of_memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_HISTORY(a_window_binds_exactly),
        WITH_HISTORY(what_is_too_old_goes),
        WITH_HISTORY(octets_bind_too),
        WITH_HISTORY(a_position_outlives_its_topic),
        WITH_HISTORY(strangers_go_first),
        WITH_HISTORY(ever_new_readers_take_no_messages),
        WITH_HISTORY(the_least_recent_lose_their_messages),
        WITH_HISTORY(a_backlog_is_no_history),
        WITH_HISTORY(each_encoding_has_the_past),
        WITH_HISTORY(the_past_begins_behind_a_hole),
        WITH_HISTORY(wall_time_never_goes_back),
        WITH_HISTORY(a_change_from_or_to_none_waits_for_a_new_life),
        WITH_HISTORY(a_position_ends_where_nothing_is_counted),
        cmocka_unit_test(history_never_refuses_a_publish),
    };

    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
