/* SPDX-License-Identifier: Apache-2.0 */
/* Topics that nobody publishes to: when they are compacted, what they cost, what wakes them. */
#include "broker/topic/rate.h"
#include "tests/support/lone_router.h"

static struct subscriber reader;
static unsigned read_count;

static void on_received(struct subscriber *who, const struct ff_message *m)
{
    (void)who;
    assert_int_equal(m->type, FF_TYPE_MESSAGE);
    read_count++;
}

/* How many messages the reader is owed, all of which it reads. */
static unsigned read_all(void)
{
    read_count = 0;
    reader.room = 1 << 16;
    subscriber_flush(&reader, &router);
    return read_count;
}

static void begin_reading(void)
{
    subscriber_init(&reader, 7, FF_JSON);
    reader.received = on_received;
}

static void end_turn(void)
{
    router_mark_ready(&router);
    (void)router_trim(&router);
}

static void pass_quiet_time(void)
{
    for (int i = 0; i < 12; i++) {
        now_ms += 1000;
        wheel_advance(&wheel);
        router_release_idle(&router);
    }
}

/* Anna reads what she is owed when the story says so, Bert never. */
static struct subscription anna;
static struct subscription bert;
static unsigned anna_has_read;
static enum log_kind anna_kind;

static void anna_subscribes(void)
{
    assert_int_equal(router_subscribe(&router, &anna, FF_SLICE("a"), anna_kind), FF_OK);
}

static void anna_reads(void)
{
    anna_has_read += read_all();
}

static void anna_wants_less(void)
{
    assert_int_equal(router_expand(&router, &anna), FF_OK); /* before its rules change */
    assert_int_equal(rate_set(&router, &anna, 5), FF_OK);
    router_touch(&router, &anna);
}

static void bert_subscribes_in_the_other_encoding(void)
{
    assert_int_equal(router_subscribe(&router, &bert, FF_SLICE("a"), KIND_MSGPACK), FF_OK);
}

static void bert_leaves(void)
{
    router_unsubscribe(&router, &bert);
}

static void three_messages(void)
{
    struct receipt receipt;

    for (int i = 0; i < 3; i++)
        assert_int_equal(publish_hello("a", &receipt), FF_OK);
    assert_int_equal(receipt.receivers, 1);
    assert_int_equal(router_topic_of(&anna)->offset - router_topic_of(&anna)->reported, 3);
}

static void tell_the_story(void)
{
    static const struct {
        const char *why;
        void (*happens)(void);
        bool is_asleep; /* afterwards */
        unsigned read;  /* messages, in all */
    } story[] = {
        {"one subscription needs no topic", anna_subscribes, true, 0},
        {"a message wakes it", three_messages, false, 0},
        {"unread messages keep it awake", pass_quiet_time, false, 0},
        {"Anna reads", anna_reads, false, 3},
        {"all is read, and it was quiet", pass_quiet_time, true, 3},
        {"it wakes again, and counts on", three_messages, false, 3},
        {"Anna reads", anna_reads, false, 6},
        {"all is read, and it was quiet", pass_quiet_time, true, 6},
        {"a second subscription wakes it", bert_subscribes_in_the_other_encoding, false, 6},
        {"two subscriptions keep it awake", pass_quiet_time, false, 6},
        {"the second one leaves", bert_leaves, false, 6},
        {"one is left, and it is quiet", pass_quiet_time, true, 6},
        {"a rate is no matter of idle_topics", anna_wants_less, false, 6},
        {"with a rate it stays awake", pass_quiet_time, false, 6},
    };

    begin_reading();
    anna = (struct subscription){.owner = &reader};
    bert = (struct subscription){.owner = NULL};
    anna_has_read = 0;
    for (size_t i = 0; i < FF_COUNT(story); i++) {
        story[i].happens();
        end_turn();
        if ((anna.state == SUBSCRIPTION_IDLE) != story[i].is_asleep ||
            anna_has_read != story[i].read)
            fail_msg("%s: asleep %d, read %u", story[i].why, anna.state == SUBSCRIPTION_IDLE,
                     anna_has_read);
        assert_int_equal(router.registry.topic_tally.own, 1);
        assert_int_equal(anna.cursor.offset, anna_has_read);
    }
    router_unsubscribe(&router, &anna);
    assert_int_equal(router.registry.topic_tally.own, 0);
    subscriber_deinit(&reader);
}

/* Whatever kind of log the one reader reads: both of these are made of JSON. */
static void a_topic_with_one_reader_sleeps_once_nothing_is_owed(void **state)
{
    (void)state;
    anna_kind = KIND_JSON;
    tell_the_story();
    anna_kind = KIND_TEXT;
    tell_the_story();
}

/* However many were quiet for long: a turn puts only so many to sleep, and the next go on. */
static void topics_fall_asleep_a_thousand_at_a_time(void **state)
{
    enum { COUNT = 3 * ROUTER_IDLE_TOPICS + 10 };
    static struct subscription subs[COUNT];
    struct router_limits limits = router.registry.limits;
    unsigned asleep = 0;
    unsigned turns = 1;
    bool is_more;

    (void)state;
    limits.max_topics = COUNT;
    router_configure(&router, &limits, NULL, 0);
    for (int i = 0; i < COUNT; i++) {
        char name[24];
        int len = snprintf(name, sizeof(name), "device/%d", i);

        subs[i] = (struct subscription){.owner = NULL};
        assert_int_equal(
            router_subscribe(&router, &subs[i], (struct ff_slice){name, (size_t)len}, KIND_JSON),
            FF_OK);
        assert_int_equal(router_expand(&router, &subs[i]), FF_OK);
        router_touch(&router, &subs[i]);
    }
    end_turn();
    now_ms += 20000;
    wheel_advance(&wheel);
    for (is_more = true; is_more; turns++) {
        unsigned before = asleep;

        is_more = router_release_idle(&router);
        asleep = 0;
        for (int i = 0; i < COUNT; i++)
            asleep += subs[i].state == SUBSCRIPTION_IDLE;
        assert_true(asleep - before <= ROUTER_IDLE_TOPICS);
        assert_true(turns <= 4);
    }
    assert_int_equal(asleep, COUNT);
    for (int i = 0; i < COUNT; i++)
        router_unsubscribe(&router, &subs[i]);
}

static void for_want_of_memory_a_sleeper_sleeps_on(void **state)
{
    struct subscription s = {.owner = &reader};
    struct receipt receipt;
    uint64_t k = 0;
    enum ff_err err;

    (void)state;
    begin_reading();
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON), FF_OK);
    do {
        ff_mem_fail_at(++k);
        err = publish_hello("a", &receipt);
        ff_mem_fail_at(0);
        assert_int_equal(router.registry.topic_tally.own, 1);
    } while (err);
    assert_true(k > 3);
    end_turn();
    assert_int_equal(read_all(), 1);
    end_turn();
    now_ms += 20000;
    wheel_advance(&wheel);
    ff_mem_fail_at(1);
    router_release_idle(&router);
    ff_mem_fail_at(0);
    assert_false(s.state == SUBSCRIPTION_IDLE);
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
}

/* A name of 16 octets, its subscription, and what the heap adds to each block. */
static void a_quiet_topic_costs_at_most_200_octets(void **state)
{
    enum { COUNT = 60000, HEAP_HEAD = 8 };
    static struct subscription *subs[COUNT];
    struct router_limits limits = router.registry.limits;
    size_t bytes = ff_mem_live_bytes();
    size_t blocks = ff_mem_live_blocks();
    char name[24];

    (void)state;
    limits.max_topics = COUNT;
    router_configure(&router, &limits, NULL, 0);
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof(name), "device/%09d", i);
        subs[i] = ff_mem_zalloc(sizeof(struct subscription));
        assert_int_equal(router_subscribe(&router, subs[i], ff_slice_of(name), KIND_JSON), FF_OK);
    }
    bytes = ff_mem_live_bytes() - bytes + HEAP_HEAD * (ff_mem_live_blocks() - blocks);
    print_message("    %zu octets each\n", bytes / COUNT);
    assert_true(bytes / COUNT <= 200);
    for (int i = 0; i < COUNT; i++) {
        router_unsubscribe(&router, subs[i]);
        ff_mem_free(subs[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROUTER(a_topic_with_one_reader_sleeps_once_nothing_is_owed),
        WITH_ROUTER(topics_fall_asleep_a_thousand_at_a_time),
        WITH_ROUTER(for_want_of_memory_a_sleeper_sleeps_on),
        WITH_ROUTER(a_quiet_topic_costs_at_most_200_octets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
