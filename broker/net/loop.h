/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - one event loop, and the end of each of its turns.
 *
 * libev stands behind this file, conn.c, listener.c and the link to Redis only. A turn is: wait
 * for events, run their callbacks, then `turn` once. `turn` answers how long
 * the next wait may be: 0 when work is left, so that sockets are looked at
 * without blocking.
 *
 * A loop has a time of its own, which all its timers go by: it counts what passes
 * while the loop runs. A turn that comes late (SIGSTOP, a machine that is held
 * still, a clock that leaps) moves every deadline by what it was late, so nobody
 * is ended for what the broker slept through.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/check.h"
#include "protocol/base/err.h"

struct loop;

/* The beginning of a turn, before any event is handled. */
typedef void loop_begin_fn(void *arg);

/* The end of a turn; returns the milliseconds that the loop may now sleep. */
typedef uint64_t loop_turn_fn(void *arg);
typedef void loop_signal_fn(void *arg, int signal_number);

enum {
    LOOP_SIGNALS = 4,
    LOOP_LATE_MS =
        250, /* a turn may take so long, or come so late: beyond it the loop was held still */
};

struct loop {
    struct ev_loop *ev;
    ev_prepare prepare;
    ev_check check;
    ev_idle idle;
    ev_timer timer;
    ev_io waker;            /* an eventfd: libev's own one dies of a failing epoll_ctl() */
    _Atomic bool is_asleep; /* or about to be */
    _Atomic bool is_woken;  /* since the turn began */
    ev_signal signals[LOOP_SIGNALS];
    int signal_count;
    loop_signal_fn *on_signal;
    void *signal_arg;
    loop_begin_fn *begin;
    loop_turn_fn *turn;
    void *arg;
    uint64_t now_ms;  /* the loop's time, set once when events came; never goes back */
    uint64_t seen_us; /* the clock when that was set, */
    uint64_t wait_ms; /* how long the loop has meant to wait since, */
    uint32_t rest_us; /* and what is not yet a whole millisecond */
};

/* FF_OK, FF_ENOMEM, FF_ESYS (no descriptor). */
FF_MUST_CHECK enum ff_err loop_init(struct loop *loop, loop_begin_fn *begin, loop_turn_fn *turn,
                                    void *arg);
void loop_deinit(struct loop *loop);

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Any thread: the loop does not wait, there is something to do in its next turn. */
void loop_wake(struct loop *loop);

/* Calls `fn` in the loop for each of the signals (at most LOOP_SIGNALS). */
void loop_on_signals(struct loop *loop, const int *numbers, int count, loop_signal_fn *fn,
                     void *arg);

/* The loop's time at this moment, late in a turn. */
uint64_t loop_present_ms(const struct loop *loop);

/* The wall clock, in ms since 1970, to a few ms: it may leap both ways. */
uint64_t loop_wall_ms(void);

/* The monotonic clock itself: for how long something takes, and what the broker's sleep is part of.
 */
uint64_t loop_clock_us(void);

#endif
