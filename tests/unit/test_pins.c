/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds back what has left its log pays in the order in which they were idle. */
#include "broker/topic/pin.h"
#include "tests/support/test.h"

enum { HOLDERS = 12, FRAME = 60000 };

static const struct log_stamp stamp = {.publisher = 1};

static struct pool pool;
static struct limbo limbo;
static struct log topic;
static struct pins *pins;
static struct pin_evictor evictor;
static struct pin_hold *holds[HOLDERS]; /* NULL: none, or evicted */
static int evicted[HOLDERS];
static int evicted_count;

/* As a session does it: its connection ends, and lets go. */
static void evict(void *arg, void *owner)
{
    struct pin_hold **hold = owner;

    (void)arg;
    evicted[evicted_count++] = (int)(hold - holds);
    pin_release(*hold);
    *hold = NULL;
}

static int set_up(void **state)
{
    (void)state;
    pool_init(&pool, 0);
    limbo_init(&limbo, &pool, NULL, NULL);
    log_init(&topic, 0);
    pins = NULL;
    evictor = (struct pin_evictor){.evict = evict};
    ff_list_init(&evictor.all);
    evicted_count = 0;
    memset(holds, 0, sizeof(holds));
    return 0;
}

static int tear_down(void **state)
{
    for (int i = 0; i < HOLDERS; i++)
        if (holds[i])
            pin_release(holds[i]);
    pins_leave(pins);
    log_deinit(&topic, &limbo);
    limbo_deinit(&limbo);
    pool_deinit(&pool);
    return nothing_leaked(state);
}

static struct segment *publish(void)
{
    assert_int_equal(log_reserve(&topic, &limbo, FRAME), FF_OK);
    memset(log_reserved(&topic), 'x', FRAME);
    log_commit(&topic, &limbo, &stamp);
    return log_look(&topic).last;
}

static void hold(int who, struct segment *segment, uint32_t tick)
{
    assert_int_equal(pin_take(&pins, segment, &holds[who], tick, &holds[who]), FF_OK);
}

/* All frames have left the log; a segment is FRAME and a bit. */
static void judge(uint64_t max_frames)
{
    struct log_view view;

    (void)log_trim(&topic, &limbo, log_head_byte(&topic), 0, NULL);
    view = log_look(&topic);
    pins_enforce(pins, &evictor, NULL, view_tail_byte(&view), max_frames * (FRAME + 5600));
    limbo_sweep(&limbo);
}

static void what_is_in_the_log_costs_nothing(void **state)
{
    struct log_view view;

    (void)state;
    for (int i = 0; i < HOLDERS; i++)
        hold(i, publish(), (uint32_t)i);
    view = log_look(&topic);
    pins_enforce(pins, &evictor, NULL, view_tail_byte(&view), 0);
    assert_int_equal(evicted_count, 0);
    assert_int_equal(pins_bytes(pins), 0);
}

static void the_idle_longest_goes_first_and_no_newcomer(void **state)
{
    (void)state;
    for (int i = 0; i < HOLDERS; i++)
        hold(i, publish(), (uint32_t)i);
    judge(HOLDERS);
    assert_int_equal(evicted_count, 0); /* there is room for all */
    pin_touch(holds[0], 100);           /* it was slow, and reads */
    pin_touch(holds[2], 101);
    judge(HOLDERS - 3);
    assert_int_equal(evicted_count, 3);
    assert_int_equal(evicted[0], 1);
    assert_int_equal(evicted[1], 3);
    assert_int_equal(evicted[2], 4);
    judge(2);
    assert_int_equal(evicted_count, HOLDERS - 2);
    assert_non_null(holds[0]); /* who read last */
    assert_non_null(holds[2]);
}

static void a_segment_goes_with_all_that_hold_it(void **state)
{
    struct segment *shared = publish();

    (void)state;
    for (int i = 0; i < 4; i++)
        hold(i, shared, 1);
    hold(4, publish(), 2);
    (void)publish();
    judge(2);
    assert_int_equal(evicted_count, 0);
    judge(1);
    assert_int_equal(evicted_count, 4);
    assert_non_null(holds[4]);
    judge(0);
    assert_int_equal(evicted_count, 5);
    assert_int_equal(pins_bytes(pins), 0);
}

static void what_is_let_go_counts_no_more(void **state)
{
    (void)state;
    for (int i = 0; i < HOLDERS; i++)
        hold(i, publish(), 1);
    (void)publish();
    judge(HOLDERS);
    assert_true(pins_bytes(pins) > (uint64_t)HOLDERS * FRAME);
    for (int i = 0; i < HOLDERS; i++) {
        pin_release(holds[i]);
        holds[i] = NULL;
    }
    assert_int_equal(pins_bytes(pins), 0);
    judge(0);
    assert_int_equal(evicted_count, 0);
    assert_true(limbo_is_empty(&limbo));
}

static void where_memory_is_short_they_go_one_after_the_other(void **state)
{
    (void)state;
    for (int i = 0; i < HOLDERS; i++)
        hold(i, publish(), (uint32_t)i);
    (void)publish();
    judge(HOLDERS);
    pin_touch(holds[0], 100);
    pins_relieve(&evictor, 2 * FRAME);
    assert_int_equal(evicted_count, 2);
    assert_int_equal(evicted[0], 1);
    assert_int_equal(evicted[1], 2);
    pins_relieve(&evictor, UINT64_MAX);
    assert_int_equal(evicted_count, HOLDERS);
    assert_true(ff_list_is_empty(&evictor.all));
}

static void pins_outlive_their_link(void **state)
{
    (void)state;
    hold(0, publish(), 1);
    (void)publish();
    judge(1);
    pins_leave(pins);
    pins = NULL;
    pin_release(holds[0]); /* and frees what the link had left */
    holds[0] = NULL;
    limbo_sweep(&limbo);
    assert_true(limbo_is_empty(&limbo));
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(what_is_in_the_log_costs_nothing),
        WITH_LOG(the_idle_longest_goes_first_and_no_newcomer),
        WITH_LOG(a_segment_goes_with_all_that_hold_it),
        WITH_LOG(what_is_let_go_counts_no_more),
        WITH_LOG(where_memory_is_short_they_go_one_after_the_other),
        WITH_LOG(pins_outlive_their_link),
    };

    return cmocka_run_group_tests_name("pins", tests, NULL, NULL);
}
