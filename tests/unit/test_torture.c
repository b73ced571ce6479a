/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that can fail fails in turn, at every place: allocations (OpenSSL's
 * too), and the net floor's system calls (S05, S35, F14, F15), where each
 * connection is sent to by a call of its own and where io_uring sends to all of
 * them. What must hold is in scene.h. No test waits for time to pass. `--every N` tries each N-th
 * place only, `--from K` begins at the K-th;
 * `--random SCENES` plays so many in which one allocation in a thousand fails by chance.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/support/calls.h"
#include "tests/support/scene.h"
#include "tests/support/test.h"

static uint64_t every = 1;
static uint64_t from = 1;
static uint64_t sparse =
    7; /* the script with io_uring is long: each 7th of its places, and each in --long */
static uint64_t scenes = 200;
static uint64_t seed = 1;
static struct scene_counts counts;

static size_t warm_up(const struct scene_fault *fault)
{
    struct scene_fault none = {
        .is_strict = true, .by_uring = fault->by_uring, .is_of_ring = fault->is_of_ring};

    (void)scene_play(&none); /* OpenSSL fills its caches */
    (void)scene_play(&none);
    counts = scene_play(&none);
    return ff_mem_live_blocks();
}

/* No block is left by it. */
static void play_whole(bool by_uring, unsigned least_steps)
{
    const struct scene_fault none = {.is_strict = true, .by_uring = by_uring};
    size_t before = warm_up(&none);

    counts = scene_play(&none);
    assert_int_equal(ff_mem_live_blocks(), before);
    assert_true(counts.steps >= least_steps);
    print_message("    %u steps, %lu allocations, %lu calls\n", counts.steps,
                  (unsigned long)counts.allocations, (unsigned long)counts.calls);
}

static void the_script_plays_whole(void **state)
{
    (void)state;
    play_whole(false, 60);
}

static void the_script_with_io_uring_plays_whole(void **state)
{
    (void)state;
    play_whole(true, 40);
}

/*
 * Plays the scene; what it leaves behind each time anew is a leak. (OpenSSL
 * keeps some things for good when it first needs them, also on its failing
 * paths: those are there once.)
 */
static void play_without_leak(const struct scene_fault *fault, size_t *base)
{
    size_t first;

    (void)scene_play(fault);
    if (ff_mem_live_blocks() == *base)
        return;
    (void)scene_play(fault);
    first = ff_mem_live_blocks();
    (void)scene_play(fault);
    *base = ff_mem_live_blocks();
    if (*base > first)
        fail_msg("allocation %lu (or those of seed %lu) or call %lu failed (%d), and %lu blocks "
                 "leaked",
                 (unsigned long)fault->allocation, (unsigned long)(fault->seed >> 32),
                 (unsigned long)fault->call, fault->error, (unsigned long)(*base - first));
}

static void fail_each_allocation(bool by_uring)
{
    struct scene_fault fault = {.by_uring = by_uring};
    size_t base = warm_up(&fault);

    for (fault.allocation = from; fault.allocation <= counts.allocations;
         fault.allocation += by_uring ? every * sparse : every)
        play_without_leak(&fault, &base);
}

static void each_allocation_fails(void **state)
{
    (void)state;
    fail_each_allocation(false);
}

static void each_allocation_fails_with_io_uring(void **state)
{
    (void)state;
    fail_each_allocation(true);
}

/* The first `lossless` errors lose nothing. */
static void fail_each_call(struct scene_fault fault, const int *errors, size_t count,
                           size_t lossless)
{
    size_t base = warm_up(&fault);

    for (size_t i = 0; i < count; i++) {
        fault.error = errors[i];
        fault.is_strict = i < lossless;
        for (fault.call = from; fault.call <= counts.calls;
             fault.call += fault.by_uring ? every * sparse : every)
            play_without_leak(&fault, &base);
    }
}

static const int errors_of_calls[] = {EINTR, EAGAIN,  CALL_SHORT, ECONNRESET,
                                      EPIPE, ENOBUFS, EMFILE,     ENOMEM};

static void each_call_fails(void **state)
{
    (void)state;
    fail_each_call((struct scene_fault){.call = 1}, errors_of_calls, FF_COUNT(errors_of_calls), 3);
}

static void each_call_fails_with_io_uring(void **state)
{
    (void)state;
    fail_each_call((struct scene_fault){.by_uring = true}, errors_of_calls,
                   FF_COUNT(errors_of_calls), 3);
}

/* The kernel takes no request, or some, or answers that nothing was sent, or less. */
static void what_io_uring_does_not_send_is_sent_later(void **state)
{
    static const int errors[] = {EINTR,   EAGAIN, EBUSY,      CALL_SHORT,
                                 ENOBUFS, ENOMEM, ECONNRESET, EPIPE};

    (void)state;
    fail_each_call((struct scene_fault){.by_uring = true, .is_of_ring = true}, errors,
                   FF_COUNT(errors), 6);
    print_message("    %lu calls and requests\n", (unsigned long)counts.calls);
    assert_true(counts.calls > 100);
}

/* F14: what one failure leaves behind meets the next. */
static void one_in_a_thousand_fails(void **state)
{
    const struct scene_fault none = {.call = 0};
    size_t base = warm_up(&none);

    (void)state;
    for (uint64_t i = 0; i < scenes; i++) {
        struct scene_fault fault = {
            .one_in = 1000, .seed = (seed + i) << 32, .by_uring = i % 4 == 3};

        play_without_leak(&fault, &base);
    }
}

static void one_octet_at_a_time_loses_nothing(void **state)
{
    struct scene_fault fault = {.is_always_short = true, .is_strict = true};

    (void)state;
    (void)scene_play(&fault);
    fault.by_uring = true;
    (void)scene_play(&fault);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_script_plays_whole),
        cmocka_unit_test(the_script_with_io_uring_plays_whole),
        cmocka_unit_test(one_octet_at_a_time_loses_nothing),
        cmocka_unit_test(one_in_a_thousand_fails),
        cmocka_unit_test(each_call_fails),
        cmocka_unit_test(each_call_fails_with_io_uring),
        cmocka_unit_test(what_io_uring_does_not_send_is_sent_later),
        cmocka_unit_test(each_allocation_fails),
        cmocka_unit_test(each_allocation_fails_with_io_uring),
    };
    int failed;

    every = test_option(argc, argv, "--every", every);
    from = test_option(argc, argv, "--from", from);
    sparse = getenv("TEST_LONG") ? 1 : sparse;
    scenes = test_option(argc, argv, "--random", scenes);
    seed = test_option(argc, argv, "--seed", seed);
    scene_set_up();
    failed = cmocka_run_group_tests_name("torture", tests, NULL, NULL);
    scene_tear_down();
    return failed;
}
