/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that can fail fails in turn, at every place: allocations (OpenSSL's
 * too), and the net floor's system calls (S05, S35, F14, F15). What must hold is
 * in scene.h. `--every N` tries each N-th place only, `--from K` begins at the K-th;
 * `--random SCENES` plays so many in which one allocation in a thousand fails by chance.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/support/calls.h"
#include "tests/support/scene.h"
#include "tests/support/test.h"

static uint64_t every = 1;
static uint64_t from = 1;
static uint64_t scenes = 200;
static uint64_t seed = 1;
static struct scene_counts counts;

static size_t warm_up(void)
{
    const struct scene_fault none = {.is_strict = true};

    (void)scene_play(&none); /* OpenSSL fills its caches */
    (void)scene_play(&none);
    counts = scene_play(&none);
    return ff_mem_live_blocks();
}

static void the_script_plays_whole(void **state)
{
    const struct scene_fault none = {.is_strict = true};
    size_t before = warm_up();

    (void)state;
    counts = scene_play(&none);
    assert_int_equal(ff_mem_live_blocks(), before);
    assert_true(counts.steps >= 60);
    print_message("    %u steps, %lu allocations, %lu calls\n", counts.steps,
                  (unsigned long)counts.allocations, (unsigned long)counts.calls);
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

static void each_allocation_fails(void **state)
{
    size_t base = warm_up();

    (void)state;
    for (uint64_t k = from; k <= counts.allocations; k += every) {
        struct scene_fault fault = {.allocation = k};

        play_without_leak(&fault, &base);
    }
}

static void each_call_fails(void **state)
{
    static const int errors[] = {EINTR, EAGAIN,  CALL_SHORT, ECONNRESET,
                                 EPIPE, ENOBUFS, EMFILE,     ENOMEM};
    size_t base = warm_up();

    (void)state;
    for (size_t i = 0; i < FF_COUNT(errors); i++) {
        for (uint64_t k = from; k <= counts.calls; k += every) {
            struct scene_fault fault = {.call = k, .error = errors[i]};

            fault.is_strict = i < 3; /* these lose nothing */
            play_without_leak(&fault, &base);
        }
    }
}

/* F14: what one failure leaves behind meets the next. */
static void one_in_a_thousand_fails(void **state)
{
    size_t base = warm_up();

    (void)state;
    for (uint64_t i = 0; i < scenes; i++) {
        struct scene_fault fault = {.one_in = 1000, .seed = (seed + i) << 32};

        play_without_leak(&fault, &base);
    }
}

static void one_octet_at_a_time_loses_nothing(void **state)
{
    const struct scene_fault fault = {.is_always_short = true, .is_strict = true};

    (void)state;
    (void)scene_play(&fault);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_script_plays_whole),
        cmocka_unit_test(one_octet_at_a_time_loses_nothing),
        cmocka_unit_test(one_in_a_thousand_fails),
        cmocka_unit_test(each_call_fails),
        cmocka_unit_test(each_allocation_fails),
    };
    int failed;

    every = test_option(argc, argv, "--every", every);
    from = test_option(argc, argv, "--from", from);
    scenes = test_option(argc, argv, "--random", scenes);
    seed = test_option(argc, argv, "--seed", seed);
    scene_set_up();
    failed = cmocka_run_group_tests_name("torture", tests, NULL, NULL);
    scene_tear_down();
    return failed;
}
