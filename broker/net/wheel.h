/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel.h - the timers of a worker: a hierarchical timer wheel of 10 ms ticks.
 *
 * (Varghese and Lauck, 1987, scheme 7.) Setting and stopping are O(1) and
 * cannot fail; a timer fires in the tick it is due or, when the loop was busy,
 * later, never earlier. Time is an argument: milliseconds of any clock that
 * only goes forward, read through a pointer. The wheel counts ticks in 64 bits;
 * those who keep a tick for later keep 32 of them (wheel_now), which come again
 * after 497 days.
 */
#ifndef NET_WHEEL_H
#define NET_WHEEL_H

#include <stdint.h>

#include "protocol/base/list.h"

enum {
    WHEEL_TICK_MS = 10,
    WHEEL_TICKS_A_SECOND = 1000 / WHEEL_TICK_MS,
    WHEEL_BITS = 8,
    WHEEL_SLOTS = 1 << WHEEL_BITS,
    WHEEL_LEVELS = 4,
    /* A wheel begins so long before its ticks of 32 bits come again: what does not stand it shows.
     */
    WHEEL_BEGIN_TICKS = 10 * WHEEL_TICKS_A_SECOND,
};

struct wheel_timer;
typedef void wheel_fn(struct wheel_timer *timer);

struct wheel_timer {
    struct ff_list node;
    wheel_fn *fire;
    uint64_t due; /* tick; the wheel's own */
};

struct wheel {
    uint64_t tick; /* all timers due up to here have fired */
    uint32_t count;
    uint64_t start_ms;      /* of tick 0, which never was */
    const uint64_t *now_ms; /* the clock, as the loop last read it */
    struct ff_list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

/* `now_ms` is read whenever a timer is set. */
void wheel_init(struct wheel *wheel, const uint64_t *now_ms);

/*
 * The present tick: a clock of 10 ms in 32 bits. Two of its values are compared
 * by their difference, and only while both are younger than 497 days.
 */
static inline uint32_t wheel_now(const struct wheel *wheel)
{
    return (uint32_t)((*wheel->now_ms - wheel->start_ms) / WHEEL_TICK_MS);
}

static inline void wheel_timer_init(struct wheel_timer *timer, wheel_fn *fire)
{
    *timer = (struct wheel_timer){.fire = fire};
}

/* Fires `after_ms` from now; a set timer is moved. */
void wheel_set(struct wheel *wheel, struct wheel_timer *timer, uint64_t after_ms);

/* A timer that is not set may be stopped, too. */
void wheel_stop(struct wheel *wheel, struct wheel_timer *timer);

static inline bool wheel_is_set(const struct wheel_timer *timer)
{
    return ff_list_is_in(&timer->node);
}

/* Fires all that is due by the clock. A callback may set and stop any timer. */
void wheel_advance(struct wheel *wheel);

/* How long the loop may sleep, at most `max_ms`: to the next tick with something in it. */
uint64_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms, uint64_t max_ms);

#endif
