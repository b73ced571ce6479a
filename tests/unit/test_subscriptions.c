/* SPDX-License-Identifier: Apache-2.0 */
/* What a session is subscribed to: found by name, in as few steps for many as for a few. */
#include <stdlib.h>

#include "broker/session/subscriptions.h"
#include "broker/topic/idle_topic.h"
#include "tests/support/test.h"

enum { MOST = 40000, NAME_MAX_LEN = 32 };

static const struct ff_hash_key key = {{1, 2}};
static struct subscriptions all;
static struct subscription subs[MOST];
static struct idle_topic *idle_topics[MOST]; /* what a subscription has its name of */
static uint64_t compared;                    /* names that were looked at */

struct ff_slice __real_subscription_name(const struct subscription *s);
struct ff_slice __wrap_subscription_name(const struct subscription *s);

struct ff_slice __wrap_subscription_name(const struct subscription *s)
{
    compared++;
    return __real_subscription_name(s);
}

static int make_names(void **state)
{
    (void)state;
    for (int i = 0; i < MOST; i++) {
        struct idle_topic *idle_topic = calloc(1, sizeof(*idle_topic) + NAME_MAX_LEN);

        if (!idle_topic)
            return -1;
        idle_topic->name_len = (uint8_t)snprintf(idle_topic->name, NAME_MAX_LEN, "room/%d", i);
        idle_topics[i] = idle_topic;
    }
    return 0;
}

static int free_names(void **state)
{
    (void)state;
    for (int i = 0; i < MOST; i++)
        free(idle_topics[i]);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    memset(subs, 0, sizeof(subs));
    for (int i = 0; i < MOST; i++) {
        subs[i].idle_topic = idle_topics[i];
        subs[i].state = SUBSCRIPTION_IDLE;
    }
    subscriptions_init(&all);
    return 0;
}

static int end(void **state)
{
    subscriptions_deinit(&all);
    return nothing_leaked(state);
}

static struct ff_slice name_of(int i)
{
    return idle_topic_name(idle_topics[i]);
}

static struct subscription *find(int i)
{
    return subscriptions_find(&all, &key, name_of(i));
}

static void add(int i)
{
    subscriptions_add(&all, &key, name_of(i), i % 3 == 0, &subs[i]);
}

static void take_out(int i)
{
    subscriptions_remove(&all, i % 3 == 0, &subs[i]);
}

/* All that should be there is, once, and nothing else. */
static void check_walk(const bool is_in[], uint32_t size)
{
    const struct subscription *s = NULL;
    uint32_t count = 0;
    uint32_t filters = 0;

    while ((s = subscriptions_next(&all, s))) {
        assert_true(is_in[s - subs]);
        count++;
        filters += (s - subs) % 3 == 0;
    }
    for (uint32_t i = 0; i < size; i++)
        count -= is_in[i];
    assert_int_equal(count, 0);
    assert_int_equal(filters, all.filter_count);
}

/* Few and many, to and fro over the border between them; `one_in`: allocations that fail. */
static void play(uint64_t one_in)
{
    enum { SIZE = 60, STEPS = 20000 };
    bool is_in[SIZE] = {false};
    struct dice dice = {17};
    uint32_t count = 0;

    ff_mem_fail_often(one_in, 5);
    for (int step = 0; step < STEPS; step++) {
        uint32_t wanted = step / 100 % 2 ? 3 : SIZE - 3;
        uint32_t i = dice_below(&dice, SIZE);
        bool is_growing = count < wanted;

        if (is_in[i] != is_growing) {
            if (is_growing)
                add((int)i);
            else
                take_out((int)i);
            is_in[i] = is_growing;
            count = is_growing ? count + 1 : count - 1;
        }
        assert_int_equal(all.count, count);
        assert_ptr_equal(find((int)i), is_in[i] ? &subs[i] : NULL);
        if (step % 50 == 0)
            check_walk(is_in, SIZE);
    }
    ff_mem_fail_often(0, 0);
}

static void what_was_added_is_found_until_it_goes(void **state)
{
    (void)state;
    play(0);
}

static void for_want_of_memory_nothing_is_lost(void **state)
{
    (void)state;
    play(2);
}

/* Who is being refused has no name any more. */
static void what_is_tied_to_nothing_is_not_found_and_can_be_removed(void **state)
{
    (void)state;
    for (int count = 1; count < 3 * SUBSCRIPTIONS_FEW; count++) {
        for (int i = 0; i < count; i++)
            add(i);
        subs[count - 1].state = SUBSCRIPTION_DETACHED;
        assert_null(find(count - 1));
        take_out(count - 1);
        subs[count - 1].state = SUBSCRIPTION_IDLE;
        for (int i = 0; i < count - 1; i++)
            take_out(i);
        assert_null(subscriptions_next(&all, NULL));
    }
}

/* P13: it was a walk over all of them where others were subscribed to the same topics. */
static void a_look_up_takes_as_few_steps_for_many_as_for_a_few(void **state)
{
    uint64_t most = 0;

    (void)state;
    for (int i = 0; i < MOST; i++) {
        compared = 0;
        assert_null(find(i)); /* what SUBSCRIBE asks first */
        most = compared > most ? compared : most;
        add(i);
    }
    for (int i = 0; i < MOST; i++) {
        compared = 0;
        assert_ptr_equal(find(MOST - 1 - i), &subs[MOST - 1 - i]);
        take_out(MOST - 1 - i);
        most = compared > most ? compared : most;
    }
    print_message("    at most %lu names for one look-up\n", (unsigned long)most);
    assert_true(most <= SUBSCRIPTIONS_FEW);
}

static void few_cost_no_memory_and_many_a_little(void **state)
{
    size_t before = ff_mem_live_bytes();

    (void)state;
    for (int i = 0; i < MOST; i++) {
        add(i);
        if (i < SUBSCRIPTIONS_FEW)
            assert_int_equal(ff_mem_live_bytes(), before);
        else
            assert_true(ff_mem_live_bytes() - before <= 128 + 24 * (size_t)(i + 1));
    }
    for (int i = 0; i < MOST; i++) {
        take_out(i);
        if (all.count < SUBSCRIPTIONS_FEW / 2)
            assert_int_equal(ff_mem_live_bytes(), before);
        else
            assert_true(ff_mem_live_bytes() - before <= 256 + 100 * (size_t)(all.count + 1));
    }
}

#define WITH_NONE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_NONE(what_was_added_is_found_until_it_goes),
        WITH_NONE(for_want_of_memory_nothing_is_lost),
        WITH_NONE(what_is_tied_to_nothing_is_not_found_and_can_be_removed),
        WITH_NONE(a_look_up_takes_as_few_steps_for_many_as_for_a_few),
        WITH_NONE(few_cost_no_memory_and_many_a_little),
    };

    return cmocka_run_group_tests_name("subscriptions", tests, make_names, free_names);
}
