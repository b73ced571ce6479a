/* SPDX-License-Identifier: Apache-2.0 */
/* Topics that come and go, filters against a naive match, and messages for want of memory. */
#include "broker/topic/rate.h"
#include "tests/support/lone_router.h"

static void a_topic_is_there_while_it_has_subscriptions(void **state)
{
    struct subscription s = {.owner = NULL};
    struct receipt receipt;
    size_t before = ff_mem_live_blocks();

    (void)state;
    assert_int_equal(publish_hello("a", &receipt), FF_OK);
    assert_int_equal(receipt.receivers, 0);
    assert_null(router_find(&router, FF_SLICE("a"))); /* a publish makes none */
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON), FF_OK);
    assert_non_null(registry_find_idle(&router.registry, FF_SLICE("a")));
    assert_int_equal(publish_hello("a", &receipt), FF_OK);
    assert_int_equal(receipt.receivers, 1);
    assert_non_null(router_find(&router, FF_SLICE("a")));
    router_unsubscribe(&router, &s);
    assert_null(router_find(&router, FF_SLICE("a")));
    assert_int_equal(router.registry.topic_tally.own, 0);
    assert_true(ff_mem_live_blocks() <= before + 1); /* the pool keeps a block */
}

static void a_quiet_topic_holds_no_segment(void **state)
{
    struct subscription s = {.owner = NULL};
    struct receipt receipt;
    struct log_view view;

    (void)state;
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON), FF_OK);
    for (int i = 0; i < 100; i++)
        assert_int_equal(publish_hello("a", &receipt), FF_OK);
    assert_true(pool.used_bytes > 0);
    router_mark_ready(&router);
    view = log_look(s.link->log);
    cursor_to_head(&s.cursor, &view); /* it was sent everything */
    (void)router_trim(&router);
    assert_int_equal(pool.used_bytes, 0);
    router_unsubscribe(&router, &s);
}

/* Sends all that it is owed, as one call; of how many ranges. */
static int send_all(struct subscription *s)
{
    struct iovec ranges[PLAN_IOVECS];
    struct plan plan = {.iov = ranges, .max_bytes = 1 << 20};
    char gap[GAP_MAX];
    struct flush_range range = {.gap = gap, .view = log_look(s->link->log)};
    struct cut_unit unit = {.gap = {NULL, 0}};
    size_t len;

    assert_true(subscription_collect(s, 1, &plan, 1 << 20, &range));
    len = plan.bytes;
    assert_true(subscription_taken(&range, 1, &len, &unit));
    return plan.count;
}

/* The log of a topic remembers how much comes at once. */
static void a_burst_as_large_as_the_last_one_is_one_range(void **state)
{
    static const struct {
        int messages;
        size_t payload;
    } cases[] = {{1, 128}, {16, 128}, {16, 1024}, {128, 128}, {256, 128}, {40, 900}, {7, 3000}};
    static char payload[4096];

    (void)state;
    memset(payload, 'x', sizeof(payload));
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct subscription s = {.owner = NULL};
        struct publication p = {.topic = FF_SLICE("a"),
                                .payload = {FF_PAYLOAD_JSON, {payload, cases[i].payload}},
                                .publisher = 1};

        payload[0] = payload[cases[i].payload - 1] = '"';
        assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON), FF_OK);
        for (int round = 0; round < 50; round++) {
            struct receipt receipt;
            int ranges;

            for (int k = 0; k < cases[i].messages; k++)
                assert_int_equal(router_publish(&router, &p, &receipt), FF_OK);
            router_mark_ready(&router);
            ranges = send_all(&s);
            (void)router_trim(&router);
            if (round > 0 && ranges != 1)
                fail_msg("%d of %zu octets: %d ranges in round %d", cases[i].messages,
                         cases[i].payload, ranges, round);
        }
        router_unsubscribe(&router, &s);
        payload[cases[i].payload - 1] = 'x';
    }
}

/* Publishes, walks, sends and trims: with a warm pool nothing asks the heap. */
static void a_steady_state_allocates_nothing(void **state)
{
    enum { COUNT = 100 };
    static struct subscription subs[COUNT];
    uint64_t asked = 0;

    (void)state;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(
            router_subscribe(&router, &subs[i], FF_SLICE("a"), i % 2 ? KIND_JSON : KIND_MSGPACK),
            FF_OK);
    for (int round = 0; round < 1000; round++) {
        struct receipt receipt;

        if (round == 100)
            asked = ff_mem_count();
        for (int k = 0; k <= round % 40; k++)
            assert_int_equal(publish_hello("a", &receipt), FF_OK);
        router_mark_ready(&router);
        for (int i = 0; i < COUNT; i++)
            (void)send_all(&subs[i]);
        (void)router_trim(&router);
    }
    /* Rewriting for MessagePack goes through msgpack-c's packer, which has no memory of its own. */
    assert_int_equal(ff_mem_count(), asked);
    for (int i = 0; i < COUNT; i++)
        router_unsubscribe(&router, &subs[i]);
}

static void random_filters_match_as_the_naive_way_says(void **state)
{
    enum { COUNT = 200 };
    static struct subscription subs[COUNT];
    static char filters[COUNT][64];
    static const char *const words[] = {"a", "b", "c", "+", "$x"};
    struct dice dice = {11};

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < COUNT; i++) {
            uint32_t levels = 1 + dice_below(&dice, 4);
            size_t len = 0;

            for (uint32_t k = 0; k < levels; k++)
                len += (size_t)snprintf(filters[i] + len, 64 - len, "%s%s", k ? "/" : "",
                                        words[dice_below(&dice, k ? 4 : 5)]);
            if (dice_below(&dice, 3) == 0)
                (void)snprintf(filters[i] + len, 64 - len, "/#");
            assert_int_equal(router_subscribe(&router, &subs[i], ff_slice_of(filters[i]),
                                              i % 2 ? KIND_JSON : KIND_MSGPACK),
                             FF_OK);
        }
        for (int n = 0; n < 200; n++) {
            char name[64];
            size_t len = 0;
            uint32_t levels = 1 + dice_below(&dice, 4);
            uint32_t wanted = 0;
            struct receipt receipt;

            for (uint32_t k = 0; k < levels; k++) {
                uint32_t word = dice_below(&dice, k ? 3 : 4);

                len += (size_t)snprintf(name + len, 64 - len, "%s%s", k ? "/" : "",
                                        word == 3 ? "$x" : words[word]);
            }
            for (int i = 0; i < COUNT; i++)
                wanted += ff_topic_is_match(ff_slice_of(filters[i]), ff_slice_of(name));
            assert_int_equal(publish_hello(name, &receipt), FF_OK);
            assert_int_equal(receipt.receivers, wanted);
        }
        for (int i = 0; i < COUNT; i++)
            router_unsubscribe(&router, &subs[i]);
    }
    assert_int_equal(router.registry.filters.nodes.count, 0);
}

/* A peer that subscribes to filters and leaves them makes 2^32 generations in a day. */
static void a_generation_of_filters_never_comes_again(void **state)
{
    struct subscription name = {.owner = NULL};
    struct subscription filter = {.owner = NULL};
    struct receipt receipt;

    (void)state;
    assert_int_equal(router_subscribe(&router, &name, FF_SLICE("a"), KIND_JSON), FF_OK);
    for (int bits = 31; bits < 64; bits++) {
        uint64_t generation;

        assert_int_equal(router_subscribe(&router, &filter, FF_SLICE("+"), KIND_JSON), FF_OK);
        assert_int_equal(publish_hello("a", &receipt), FF_OK);
        assert_int_equal(receipt.receivers, 2);
        generation = router.registry.filters.generation; /* what the topic knows is as of this */
        router_unsubscribe(&router, &filter);
        router.registry.filters.generation = generation;
        router.registry.filters.generation += UINT64_C(1) << bits;
        assert_int_equal(publish_hello("a", &receipt), FF_OK);
        assert_int_equal(receipt.receivers, 1);
        router_mark_ready(&router);
        (void)router_trim(&router);
    }
    router_unsubscribe(&router, &name);
}

static void for_want_of_memory_a_message_goes_to_all_or_to_none(void **state)
{
    static struct subscription subs[4];
    static const char *const names[] = {"a/b", "a/#", "+/b", "#"};
    uint64_t published = 0;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(router_subscribe(&router, &subs[i], ff_slice_of(names[i]),
                                          i % 2 ? KIND_JSON : KIND_MSGPACK),
                         FF_OK);
    for (uint64_t k = 1; k < 12; k++) {
        struct receipt receipt;
        enum ff_err err;

        pool_deinit(&pool); /* cold, so that segments ask the heap */
        pool_init(&pool, 0);
        ff_mem_fail_at(k);
        err = publish_hello("a/b", &receipt);
        ff_mem_fail_at(0);
        published += err == FF_OK;
        for (int i = 0; i < 4; i++) {
            struct log_view view;

            if (subs[i].state ==
                SUBSCRIPTION_IDLE) { /* it could not be expanded, so nothing was done */
                assert_int_equal(published, 0);
                continue;
            }
            view = log_look(subs[i].link->log);
            assert_int_equal(view.offset, published);
            cursor_to_head(&subs[i].cursor, &view);
        }
        router_mark_ready(&router);
        (void)router_trim(&router);
    }
    assert_true(published > 0 && published < 11);
    for (int i = 0; i < 4; i++)
        router_unsubscribe(&router, &subs[i]);
}

static void limits_and_rules_hold(void **state)
{
    static const struct topic_rule rules[] = {
        {.filter = "chat/vip", .overflow = OVERFLOW_CLOSE},
        {.filter = "chat/#", .overflow = OVERFLOW_LATEST, .max_message = 3},
    };
    struct router_limits limits = router.registry.limits;
    struct subscription s[3] = {{.owner = NULL}};
    struct receipt receipt;

    (void)state;
    limits.max_topics = 2;
    limits.max_filters = 0;
    router_configure(&router, &limits, rules, FF_COUNT(rules));
    assert_int_equal(router_subscribe(&router, &s[0], FF_SLICE("chat/vip"), KIND_JSON), FF_OK);
    assert_int_equal(router_subscribe(&router, &s[1], FF_SLICE("chat/x"), KIND_JSON), FF_OK);
    assert_int_equal(router_expand(&router, &s[0]), FF_OK);
    assert_int_equal(router_expand(&router, &s[1]), FF_OK);
    assert_int_equal(router_topic_of(&s[0])->rule->overflow, OVERFLOW_CLOSE);
    assert_int_equal(router_topic_of(&s[1])->rule->overflow, OVERFLOW_LATEST);
    assert_int_equal(router_subscribe(&router, &s[2], FF_SLICE("y"), KIND_JSON), FF_ELIMIT);
    assert_int_equal(router_subscribe(&router, &s[2], FF_SLICE("#"), KIND_JSON), FF_ELIMIT);
    assert_int_equal(publish_hello("chat/x", &receipt), FF_ETOOBIG);
    assert_int_equal(publish_hello("chat/vip", &receipt), FF_OK);
    router_unsubscribe(&router, &s[0]);
    router_unsubscribe(&router, &s[1]);
}

/* Frames of sessions that began before the reload are as large as they were. */
/* A name all of quotes, and each field that a GAP may ever have. */
static void the_longest_gap_fits(void **state)
{
    char name[FF_TOPIC_MAX];
    char room[GAP_MAX];

    (void)state;
    memset(name, '"', sizeof(name));
    for (int i = 0; i < FF_ENCODINGS; i++) {
        struct gap gap = {{name, sizeof(name)}, "tooslow!", UINT64_MAX, UINT64_MAX,
                          UINT64_MAX,           UINT64_MAX, UINT64_MAX};

        assert_int_equal(strlen(gap.cause), GAP_CAUSE_MAX);
        assert_true(kind_write_gap(kind_of((enum ff_encoding)i), &gap, room) <= GAP_MAX);
    }
}

static void what_may_be_pinned_never_shrinks(void **state)
{
    struct router_limits limits = router.registry.limits;
    uint64_t before;

    (void)state;
    limits.max_message = 8 << 20;
    router_configure(&router, &limits, NULL, 0);
    before = registry_max_pinned(&router.registry);
    assert_true(before >= 8U << 20);
    limits.max_message = 1024;
    router_configure(&router, &limits, NULL, 0);
    assert_int_equal(registry_max_pinned(&router.registry), before);
    limits.max_message = 16 << 20;
    router_configure(&router, &limits, NULL, 0);
    assert_true(registry_max_pinned(&router.registry) > before);
}

static struct subscriber reader;

static void on_received(struct subscriber *who, const struct ff_message *m)
{
    (void)who;
    assert_int_equal(m->type, FF_TYPE_MESSAGE);
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

/* How much of its log is there. */
static uint64_t kept(const struct subscription *s)
{
    return log_head_byte(s->link->log) - log_tail_byte(s->link->log);
}

static void publish_octets(uint64_t octets)
{
    struct receipt receipt;
    struct topic *topic = router_find(&router, FF_SLICE("a"));
    uint64_t end = log_head_byte(&topic->logs[KIND_JSON]->log) + octets;

    while (log_head_byte(&topic->logs[KIND_JSON]->log) < end)
        assert_int_equal(publish_hello("a", &receipt), FF_OK);
}

static void who_has_not_had_its_turn_is_not_overrun_by_a_burst(void **state)
{
    enum { MAX_BUFFERED = 1 << 20, SEGMENT = 65536 };
    struct subscription s = {.owner = &reader};
    struct receipt receipt;

    (void)state;
    begin_reading();
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON), FF_OK);
    assert_int_equal(publish_hello("a", &receipt), FF_OK);
    publish_octets(3 * MAX_BUFFERED);
    end_turn(); /* its socket is not full, it was only not its turn */
    assert_true(s.cursor.byte >= log_tail_byte(s.link->log));
    publish_octets(2 * MAX_BUFFERED);
    end_turn(); /* but there is an end to patience */
    assert_true(s.cursor.byte < log_tail_byte(s.link->log));
    assert_true(kept(&s) <= 4 * MAX_BUFFERED + SEGMENT);
    link_move(&s, ZONE_WAITING); /* and none where the socket is full */
    publish_octets(SEGMENT);
    end_turn();
    assert_true(kept(&s) <= MAX_BUFFERED + SEGMENT);
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROUTER(a_topic_is_there_while_it_has_subscriptions),
        WITH_ROUTER(a_quiet_topic_holds_no_segment),
        WITH_ROUTER(who_has_not_had_its_turn_is_not_overrun_by_a_burst),
        WITH_ROUTER(a_burst_as_large_as_the_last_one_is_one_range),
        WITH_ROUTER(a_steady_state_allocates_nothing),
        WITH_ROUTER(random_filters_match_as_the_naive_way_says),
        WITH_ROUTER(a_generation_of_filters_never_comes_again),
        WITH_ROUTER(for_want_of_memory_a_message_goes_to_all_or_to_none),
        WITH_ROUTER(limits_and_rules_hold),
        cmocka_unit_test(the_longest_gap_fits),
        WITH_ROUTER(what_may_be_pinned_never_shrinks),
    };

    return cmocka_run_group_tests_name("router", tests, NULL, NULL);
}
