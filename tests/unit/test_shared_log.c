/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker writes a log and trims it, others follow it with cursors, with
 * threads and under ThreadSanitizer (thread_shared_log): each frame whole, in
 * order, once, and what was missed counted exactly. `--steps N` and `--seed S`.
 */
#include <pthread.h>
#include <stdlib.h>

#include "broker/topic/cursor.h"
#include "broker/topic/pin.h"
#include "tests/support/test.h"

enum { READERS = 3, WRITER = READERS, KEEP = 65536, FRAME_MAX = 6000, TURN_MAX = 20 };

static const struct log_stamp stamp = {.publisher = 1};

static uint64_t steps = 1000000; /* frames */
static uint64_t seed = 1;

static struct qsbr qsbr;
static struct pool pool;
static struct limbo limbo;
static struct log topic;
static _Atomic bool is_over;

struct follower {
    pthread_t thread;
    struct dice dice;
    uint32_t worker;
    struct cursor cursor;
    struct pins *pins;
    uint64_t passed;
    uint64_t told; /* missed, and known to be */
    uint64_t cuts;
};

/* A frame tells its size and its number, which all of its octets follow from. */
struct frame {
    uint64_t number;
    uint32_t size;
};

static uint8_t octet_of(uint64_t number, uint32_t i)
{
    return (uint8_t)(number * 7 + i);
}

static void append(struct dice *dice, uint64_t number)
{
    uint32_t most = dice_below(dice, 50) ? 300 : FRAME_MAX;
    uint32_t size = (uint32_t)sizeof(struct frame) + dice_below(dice, most);
    struct frame frame = {number, size};
    uint8_t *at;

    assert_int_equal(log_reserve(&topic, &limbo, size), FF_OK);
    at = log_reserved(&topic);
    memcpy(at, &frame, sizeof(frame));
    for (uint32_t i = sizeof(frame); i < size; i++)
        at[i] = octet_of(number, i);
    log_commit(&topic, &limbo, &stamp);
}

/* Whole frames from `at` on, the first of them number `number`; returns how many. */
static uint64_t check_frames(const uint8_t *at, size_t len, uint64_t number)
{
    uint64_t count = 0;

    while (len) {
        struct frame frame;

        memcpy(&frame, at, sizeof(frame));
        if (frame.number != number + count || frame.size > len)
            fail_msg("frame %lu stands where %lu should (seed %lu)", (unsigned long)frame.number,
                     (unsigned long)(number + count), (unsigned long)seed);
        for (uint32_t i = sizeof(frame); i < frame.size; i += 1 + i / 64)
            assert_int_equal(at[i], octet_of(frame.number, i));
        at += frame.size;
        len -= frame.size;
        count++;
    }
    return count;
}

/* The rest of a frame that was cut, in this turn and, pinned, in one to come. */
static void check_cut(struct follower *f, const struct cursor_cut *cut)
{
    struct pin_hold *pin;
    uint8_t before;

    f->cuts++;
    before = cut->bytes[cut->len - 1];
    assert_int_equal(pin_take(&f->pins, cut->segment, f, 0, &pin), FF_OK);
    qsbr_offline(&qsbr, f->worker);
    sched_yield();
    assert_int_equal(cut->bytes[cut->len - 1], before);
    pin_release(pin);
    qsbr_online(&qsbr, f->worker);
}

/* Behind any message that is there: the next frame is the one after it. */
static void check_offset(struct follower *f, const struct log_view *view)
{
    uint64_t first = view->first ? view->first->offset : view->offset;
    uint64_t offset = first + dice_below(&f->dice, (uint32_t)(view->offset - first + 1));
    struct cursor cursor;
    struct frame frame;

    assert_true(cursor_to_offset(&cursor, view, offset));
    assert_int_equal(cursor.offset, offset);
    if (cursor.byte == view->head_byte)
        return;
    memcpy(&frame, cursor.segment->bytes + (cursor.byte - cursor.segment->first_byte),
           sizeof(frame));
    assert_int_equal(frame.number, offset);
}

/* What a flush does: look, catch up where it was overrun, collect, take a part of it. */
static void follow(struct follower *f)
{
    struct log_view view = log_look(&topic);
    struct iovec ranges[PLAN_IOVECS];
    struct plan plan = {.iov = ranges, .max_bytes = 32768};
    struct cursor_cut cut;
    uint64_t number;
    size_t taken;

    check_offset(f, &view);
    if (cursor_is_behind_tail(&f->cursor, &view)) {
        number = f->cursor.offset;
        cursor_to_tail(&f->cursor, &view);
        f->told += f->cursor.offset - number;
    }
    if (f->cursor.byte == view.head_byte)
        return;
    assert_true(cursor_collect(&f->cursor, &view, 0, &plan, 1 + dice_below(&f->dice, 30000)) > 0);
    number = f->cursor.offset;
    for (int i = 0; i < plan.count; i++)
        number += check_frames(plan.iov[i].iov_base, plan.iov[i].iov_len, number);
    taken = dice_below(&f->dice, 4) ? plan.bytes : 1 + dice_below(&f->dice, (uint32_t)plan.bytes);
    number = f->cursor.offset;
    cut = cursor_advance(&f->cursor, &view, 0, taken);
    f->passed += f->cursor.offset - number;
    if (cut.len)
        check_cut(f, &cut);
}

static void *run_follower(void *arg)
{
    struct follower *f = arg;
    bool is_last;

    do {
        is_last = atomic_load(&is_over);
        qsbr_online(&qsbr, f->worker);
        follow(f);
        is_last = is_last && f->cursor.byte == log_look(&topic).head_byte;
        qsbr_offline(&qsbr, f->worker);
        if (dice_below(&f->dice, 50) == 0) /* it is slow, and overrun */
            for (int i = 0; i < 200; i++)
                sched_yield();
    } while (!is_last);
    pins_leave(f->pins);
    return NULL;
}

static uint64_t below_head(uint64_t by)
{
    return log_head_byte(&topic) > by ? log_head_byte(&topic) - by : 0;
}

/* The owner's turns; a quiet moment now and then, in which the log becomes empty. */
static void write_all(struct dice *dice)
{
    for (uint64_t number = 0; number < steps;) {
        qsbr_online(&qsbr, WRITER);
        for (uint32_t i = dice_below(dice, TURN_MAX); i && number < steps; i--)
            append(dice, number++);
        (void)log_trim(&topic, &limbo, 0, below_head(dice_below(dice, 500) ? KEEP : 0), NULL);
        if (dice_below(dice, 500) == 0)
            (void)log_trim(&topic, &limbo, log_head_byte(&topic), 0, NULL);
        limbo_sweep(&limbo);
        qsbr_offline(&qsbr, WRITER);
        sched_yield();
    }
}

static void frames_are_whole_in_order_and_counted(void **state)
{
    static struct follower followers[READERS];
    struct dice dice = {seed};
    uint64_t told = 0;
    uint64_t cuts = 0;

    (void)state;
    pool_init(&pool, 1 << 20);
    qsbr_init(&qsbr, READERS + 1);
    limbo_init(&limbo, &pool, NULL, &qsbr);
    log_init(&topic, 0);
    topic.is_shared = true;
    for (uint32_t i = 0; i < READERS; i++) {
        struct log_view view = log_look(&topic);

        atomic_store(&is_over, false);
        followers[i] = (struct follower){.worker = i, .dice = {seed + i + 1}};
        cursor_to_head(&followers[i].cursor, &view);
        assert_int_equal(pthread_create(&followers[i].thread, NULL, run_follower, &followers[i]),
                         0);
    }
    write_all(&dice);
    atomic_store(&is_over, true);
    for (uint32_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(followers[i].thread, NULL), 0);
        assert_int_equal(followers[i].passed + followers[i].told, steps);
        assert_true(followers[i].passed > 0);
        told += followers[i].told;
        cuts += followers[i].cuts;
    }
    print_message("    %lu missed and told, %lu cut\n", (unsigned long)told, (unsigned long)cuts);
    assert_true(told > 0 && cuts > 0);
    log_deinit(&topic, &limbo);
    limbo_deinit(&limbo);
    pool_deinit(&pool);
}

/* Frames of one size: head and number say the same, and the last segment is there. */
static void *look_and_compare(void *arg)
{
    _Atomic uint64_t *looks = arg;

    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        struct log_view view;

        qsbr_online(&qsbr, 0);
        view = log_look(&topic);
        if (view.head_byte != LOG_BEGIN + view.offset * 64 || !view.first != !view.last ||
            (view.last && view.last->first_byte >= view.head_byte))
            fail_msg("head %lu, number %lu", (unsigned long)view.head_byte,
                     (unsigned long)view.offset);
        qsbr_offline(&qsbr, 0);
        atomic_fetch_add_explicit(looks, 1, memory_order_relaxed);
    }
    return NULL;
}

static void a_view_is_of_one_moment(void **state)
{
    enum { LEAST_LOOKS = 1000 };
    _Atomic uint64_t looks = 0;
    pthread_t reader;

    (void)state;
    pool_init(&pool, 1 << 20);
    qsbr_init(&qsbr, 1);
    limbo_init(&limbo, &pool, NULL, &qsbr);
    log_init(&topic, 0);
    topic.is_shared = true;
    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&reader, NULL, look_and_compare, &looks), 0);
    for (uint64_t i = 0; i < steps * 3 || looks < LEAST_LOOKS; i++) {
        assert_int_equal(log_reserve(&topic, &limbo, 64), FF_OK);
        log_commit(&topic, &limbo, &stamp);
        if (i % 100 == 0)
            (void)log_trim(&topic, &limbo, log_head_byte(&topic), 0, NULL);
        limbo_sweep(&limbo);
    }
    atomic_store(&is_over, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    log_deinit(&topic, &limbo);
    limbo_deinit(&limbo);
    pool_deinit(&pool);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_view_is_of_one_moment, nothing_leaked),
        cmocka_unit_test_teardown(frames_are_whole_in_order_and_counted, nothing_leaked),
    };

    steps = test_option(argc, argv, "--steps", steps);
    seed = test_option(argc, argv, "--seed", seed);
    print_message("    %lu frames, seed %lu\n", (unsigned long)steps, (unsigned long)seed);
    return cmocka_run_group_tests_name("shared_log", tests, NULL, NULL);
}
