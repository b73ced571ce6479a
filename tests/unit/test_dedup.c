/* SPDX-License-Identifier: Apache-2.0 */
/* What a publisher may rely on that publishes again what may have been taken already. */
#include "broker/engine/dedup.h"
#include "tests/support/lone_router.h"
#include "tests/support/test.h"

enum { KEYS = 3, SECONDS = 300 };

static struct dedup *dedup;
static uint32_t published; /* messages that the topics got */

static int begin(void **state)
{
    if (lone_router_set_up(state))
        return -1;
    now_ms = 1000;
    wheel_init(&wheel, &now_ms);
    router.registry.limits.dedup_seconds = SECONDS;
    router.registry.limits.max_keys = KEYS;
    published = 0;
    dedup = dedup_new(&router);
    return dedup ? 0 : -1;
}

static int end(void **state)
{
    dedup_free(dedup);
    return lone_router_tear_down(state);
}

/* As an engine does it; each message that is taken has a receipt of its own. */
static struct engine_receipt publish_as(const char *topic, const char *key,
                                        enum ff_payload_kind kind, const char *payload,
                                        enum ff_err fate)
{
    struct publication p = {.topic = ff_slice_of(topic),
                            .payload = {kind, ff_slice_of(payload)},
                            .publisher = 1,
                            .key = ff_slice_of(key)};
    struct engine_receipt receipt = {.err = fate};

    if (dedup_answers(dedup, &p, &receipt))
        return receipt;
    if (!fate)
        receipt.receipt = (struct receipt){.receivers = ++published, .buffered = 7};
    dedup_note(dedup, &p, &receipt);
    return receipt;
}

static struct engine_receipt publish(const char *topic, const char *key, const char *payload)
{
    return publish_as(topic, key, FF_PAYLOAD_JSON, payload, FF_OK);
}

static void pass(uint64_t ms)
{
    now_ms += ms;
    wheel_advance(&wheel);
}

static void a_repeat_gets_the_whole_first_answer(void **state)
{
    struct engine_receipt first = publish("a", "k", "1");
    struct engine_receipt again = publish("a", "k", "1");

    (void)state;
    assert_int_equal(published, 1);
    assert_false(first.is_duplicate);
    assert_true(again.is_duplicate);
    assert_int_equal(again.err, FF_OK);
    assert_int_equal(first.receipt.buffered, 7);
    assert_memory_equal(&again.receipt, &first.receipt, sizeof(first.receipt));
}

static void a_key_belongs_to_its_topic_and_its_payload(void **state)
{
    static const struct {
        const char *topic;
        const char *key;
        enum ff_payload_kind kind;
        const char *payload;
        enum ff_err err;
        bool is_new;
        const char *why;
    } cases[] = {
        {"a", "k", FF_PAYLOAD_JSON, "1", FF_OK, false, "the same"},
        {"b", "k", FF_PAYLOAD_JSON, "1", FF_OK, true, "another topic"},
        {"a", "K", FF_PAYLOAD_JSON, "1", FF_OK, true, "another key"},
        {"a", "k", FF_PAYLOAD_JSON, "2", FF_EOTHER, false, "another payload"},
        {"a", "k", FF_PAYLOAD_JSON, "1 ", FF_EOTHER, false, "other octets of the same value"},
        {"a", "k", FF_PAYLOAD_MSGPACK, "1", FF_EOTHER, false, "the same octets in MessagePack"},
        {"a", "k", FF_PAYLOAD_BASE64, "1", FF_EOTHER, false, "the same octets as data"},
        {"a", "k", FF_PAYLOAD_JSON, "", FF_EOTHER, false, "no octets"},
        {"ak", "", FF_PAYLOAD_JSON, "1", FF_OK, true, "without a key"},
        {"ak", "", FF_PAYLOAD_JSON, "1", FF_OK, true, "without a key, again"},
        {"a", "k", FF_PAYLOAD_JSON, "1", FF_OK, false, "the same, after all of these"},
    };

    (void)state;
    router.registry.limits.max_keys = 100;
    publish("a", "k", "1");
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        uint32_t before = published;
        struct engine_receipt receipt =
            publish_as(cases[i].topic, cases[i].key, cases[i].kind, cases[i].payload, FF_OK);

        print_message("    %s\n", cases[i].why);
        assert_int_equal(receipt.err, cases[i].err);
        assert_int_equal(published, before + cases[i].is_new);
        assert_int_equal(receipt.is_duplicate, !cases[i].is_new && !cases[i].err);
    }
}

static void where_the_name_ends_and_the_key_begins_is_told_apart(void **state)
{
    (void)state;
    publish("a", "bc", "1");
    assert_false(publish("ab", "c", "1").is_duplicate);
    assert_true(publish("a", "bc", "1").is_duplicate);
}

static void what_was_refused_is_not_remembered(void **state)
{
    (void)state;
    assert_int_equal(publish_as("a", "k", FF_PAYLOAD_JSON, "1", FF_ENOMEM).err, FF_ENOMEM);
    assert_int_equal(publish_as("a", "k", FF_PAYLOAD_JSON, "2", FF_EAWAY).err, FF_EAWAY);
    assert_int_equal(dedup_count(dedup), 0);
    assert_false(publish("a", "k", "3").is_duplicate);
    assert_true(publish("a", "k", "3").is_duplicate);
}

static void a_key_is_remembered_for_so_long_and_no_longer(void **state)
{
    static const struct topic_rule rules[] = {{.filter = "day/#", .dedup_seconds = 86400},
                                              {.filter = "quick", .dedup_seconds = 1}};
    static const struct {
        const char *topic;
        uint64_t ms;
    } cases[] = {{"a", SECONDS * 1000}, {"day/x", 86400 * 1000}, {"quick", 1000}};

    (void)state;
    router_configure(&router, &router.registry.limits, rules, FF_COUNT(rules));
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        publish(cases[i].topic, "k", "1");
        now_ms += cases[i].ms - 1;
        assert_true(publish(cases[i].topic, "k", "1").is_duplicate); /* which does not prolong it */
        now_ms += 1;
        assert_false(publish(cases[i].topic, "k", "2").is_duplicate);
    }
}

static void the_oldest_go_first_and_are_counted(void **state)
{
    (void)state;
    publish("a", "1", "1");
    pass(1);
    publish("b", "2", "1");
    pass(1);
    publish("a", "3", "1");
    assert_int_equal(dedup_forgotten(dedup), 0);
    publish("a", "4", "1");
    assert_int_equal(dedup_count(dedup), KEYS);
    assert_int_equal(dedup_forgotten(dedup), 1);
    assert_true(publish("b", "2", "1").is_duplicate);
    assert_true(publish("a", "3", "1").is_duplicate);
    assert_true(publish("a", "4", "1").is_duplicate);
    assert_false(publish("a", "1", "1").is_duplicate);
}

static void what_has_ended_makes_room_before_what_has_not(void **state)
{
    static const struct topic_rule rules[] = {{.filter = "quick", .dedup_seconds = 2}};

    (void)state;
    router_configure(&router, &router.registry.limits, rules, FF_COUNT(rules));
    publish("a", "1", "1");
    publish("quick", "2", "1");
    publish("a", "3", "1");
    now_ms += 2000;
    publish("a", "4", "1");
    assert_int_equal(dedup_forgotten(dedup), 0);
    assert_true(publish("a", "1", "1").is_duplicate);
    assert_true(publish("a", "3", "1").is_duplicate);
}

static void what_has_ended_takes_no_memory(void **state)
{
    char key[16];
    int64_t before = (int64_t)ff_mem_live_blocks();

    (void)state;
    router.registry.limits.max_keys = 10000;
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "k%d", i);
        publish("a", key, "1");
    }
    assert_int_equal((int64_t)ff_mem_live_blocks() - before, 5000);
    assert_int_equal(registry_has(&router.registry, FF_SLICE("a")), false);
    pass(SECONDS * 1000 + 1000);
    for (int i = 0; i < 10; i++) /* some at a time: nothing waits for thousands of them */
        pass(20);
    assert_int_equal(dedup_count(dedup), 0);
    assert_int_equal(dedup_forgotten(dedup), 0);
    assert_int_equal((int64_t)ff_mem_live_blocks(), before);
    assert_int_equal(wheel.count, 0); /* and wakes nobody */
}

static void a_lower_limit_holds_for_what_is_there(void **state)
{
    char key[16];

    (void)state;
    router.registry.limits.max_keys = 5000;
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "k%d", i);
        publish("a", key, "1");
    }
    router.registry.limits.max_keys = 10;
    for (int i = 0; i < 100; i++)
        pass(20);
    assert_int_equal(dedup_count(dedup), 10);
    assert_int_equal(dedup_forgotten(dedup), 4990);
    assert_true(publish("a", "k4999", "1").is_duplicate);
    assert_true(publish("a", "k4990", "1").is_duplicate);
}

static void where_memory_is_short_one_goes_for_another(void **state)
{
    struct ff_budget budget;

    (void)state;
    router.registry.limits.max_keys = 1000;
    publish("a", "1", "1");
    publish("a", "2", "1");
    ff_budget_init(&budget, 1);
    router.registry.limbo.budget = &budget;
    assert_int_equal(publish("a", "3", "1").err, FF_OK);
    assert_int_equal(dedup_count(dedup), 2);
    assert_int_equal(dedup_forgotten(dedup), 1);
    router.registry.limbo.budget = NULL;
    assert_true(publish("a", "2", "1").is_duplicate);
}

static void create_use_and_free(void)
{
    static const char *const keys[] = {"1", "2", "1", "3"};
    struct dedup *all = dedup;
    uint32_t before;

    dedup = dedup_new(&router);
    for (size_t i = 0; dedup && i < FF_COUNT(keys); i++) {
        before = published;
        if (publish("a", keys[i], "1").err == FF_ENOMEM) /* it was not done, then */
            assert_int_equal(published, before);
    }
    dedup_free(dedup);
    dedup = all;
}

static void what_cannot_be_remembered_is_not_published(void **state)
{
    (void)state;
    for_each_failing_allocation(create_use_and_free);
}

/* A year of publishes, held against an array. */
static void whatever_comes_each_key_is_done_once_while_it_is_remembered(void **state)
{
    enum { NAMES = 40, STEPS = 50000 };
    struct {
        uint64_t ends_ms;
        uint32_t payload;
        struct receipt first;
    } known[NAMES] = {{0}};
    struct dice dice = {77};

    (void)state;
    router.registry.limits.max_keys = NAMES;
    for (int i = 0; i < STEPS; i++) {
        uint32_t name = dice_below(&dice, NAMES);
        uint32_t payload = dice_below(&dice, 10) == 0;
        bool is_refused = dice_below(&dice, 20) == 0;
        char key[16];
        struct engine_receipt receipt;

        pass(dice_below(&dice, 30000));
        (void)snprintf(key, sizeof(key), "%u", name);
        receipt = publish_as("t", key, FF_PAYLOAD_JSON, payload ? "1" : "0",
                             is_refused ? FF_EAWAY : FF_OK);
        if (known[name].ends_ms > now_ms) {
            bool is_same = known[name].payload == payload;

            assert_int_equal(receipt.err, is_same ? FF_OK : FF_EOTHER);
            assert_int_equal(receipt.is_duplicate, is_same);
            if (is_same)
                assert_memory_equal(&receipt.receipt, &known[name].first, sizeof(receipt.receipt));
            continue;
        }
        assert_false(receipt.is_duplicate);
        assert_int_equal(receipt.err, is_refused ? FF_EAWAY : FF_OK);
        if (!is_refused) {
            known[name].ends_ms = now_ms + SECONDS * 1000;
            known[name].payload = payload;
            known[name].first = receipt.receipt;
        }
    }
    assert_int_equal(dedup_forgotten(dedup), 0);
}

#define WITH_DEDUP(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DEDUP(a_repeat_gets_the_whole_first_answer),
        WITH_DEDUP(a_key_belongs_to_its_topic_and_its_payload),
        WITH_DEDUP(where_the_name_ends_and_the_key_begins_is_told_apart),
        WITH_DEDUP(what_was_refused_is_not_remembered),
        WITH_DEDUP(a_key_is_remembered_for_so_long_and_no_longer),
        WITH_DEDUP(the_oldest_go_first_and_are_counted),
        WITH_DEDUP(what_has_ended_makes_room_before_what_has_not),
        WITH_DEDUP(what_has_ended_takes_no_memory),
        WITH_DEDUP(a_lower_limit_holds_for_what_is_there),
        WITH_DEDUP(where_memory_is_short_one_goes_for_another),
        WITH_DEDUP(what_cannot_be_remembered_is_not_published),
        WITH_DEDUP(whatever_comes_each_key_is_done_once_while_it_is_remembered),
    };

    return cmocka_run_group_tests_name("dedup", tests, NULL, NULL);
}
