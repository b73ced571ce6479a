/* SPDX-License-Identifier: Apache-2.0 */
/* How long a client waits before it comes back. */
#include "clients/c/backoff.h"
#include "tests/support/test.h"

static void it_doubles_up_to_twenty_seconds_with_full_jitter(void **state)
{
    static const int64_t most[] = {500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000};
    struct dice dice = {12345};

    (void)state;
    for (int round = 0; round < 1000; round++) {
        struct ff_backoff b = {0};

        for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
            int64_t ms = ff_backoff_next_ms(&b, 0, -1, (uint32_t)dice_roll(&dice));

            assert_in_range(ms, 0, most[i]);
        }
    }
    {
        struct ff_backoff least = {.losses = 3};
        struct ff_backoff greatest = {.losses = 3};

        assert_int_equal(ff_backoff_next_ms(&least, 0, -1, 0), 0);
        assert_int_equal(ff_backoff_next_ms(&greatest, 0, -1, 4000), 4000);
    }
}

static void a_connection_that_held_begins_anew(void **state)
{
    struct ff_backoff b = {.losses = 6};

    (void)state;
    assert_int_equal(ff_backoff_next_ms(&b, 4999, -1, 20000), 20000);
    assert_int_equal(ff_backoff_next_ms(&b, 5000, -1, 500), 500);
    assert_int_equal(ff_backoff_next_ms(&b, 0, -1, 1000), 1000);
}

static void what_the_broker_asked_for_holds(void **state)
{
    struct ff_backoff b = {.losses = 6};

    (void)state;
    assert_int_equal(ff_backoff_next_ms(&b, 0, 0, 777), 0);
    assert_int_equal(ff_backoff_next_ms(&b, 0, 1234, 777), 1234);
    assert_int_equal(ff_backoff_next_ms(&b, 0, INT64_MAX, 777), 3600000);
    b.losses = UINT32_MAX;
    assert_int_equal(ff_backoff_next_ms(&b, 0, -1, 20000), 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_doubles_up_to_twenty_seconds_with_full_jitter),
        cmocka_unit_test(a_connection_that_held_begins_anew),
        cmocka_unit_test(what_the_broker_asked_for_holds),
    };

    return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
