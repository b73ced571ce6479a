/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/wheel.h"

#include "protocol/base/check.h"

void wheel_init(struct wheel *wheel, const uint64_t *now_ms)
{
    wheel->tick = (UINT64_C(1) << 32) - WHEEL_BEGIN_TICKS;
    wheel->count = 0;
    wheel->start_ms = *now_ms - wheel->tick * WHEEL_TICK_MS;
    wheel->now_ms = now_ms;
    for (int level = 0; level < WHEEL_LEVELS; level++)
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            ff_list_init(&wheel->slots[level][slot]);
}

static uint64_t present(const struct wheel *wheel)
{
    return (*wheel->now_ms - wheel->start_ms) / WHEEL_TICK_MS;
}

/* A timer beyond the last level's turn comes round there, and is placed again. */
static void place(struct wheel *wheel, struct wheel_timer *timer)
{
    uint64_t ahead = timer->due - wheel->tick;
    int level = 0;

    while (level < WHEEL_LEVELS - 1 && ahead >> (WHEEL_BITS * (level + 1)))
        level++;
    ff_list_append(&wheel->slots[level][(timer->due >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1)],
                   &timer->node);
}

void wheel_set(struct wheel *wheel, struct wheel_timer *timer, uint64_t after_ms)
{
    uint64_t ticks = (after_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;

    wheel_stop(wheel, timer);
    /* One more, because the present tick has begun already: never early. */
    timer->due = present(wheel) + ticks + 1;
    place(wheel, timer);
    wheel->count++;
}

void wheel_stop(struct wheel *wheel, struct wheel_timer *timer)
{
    if (!wheel_is_set(timer))
        return;
    ff_list_remove(&timer->node);
    wheel->count--;
}

/* A turn of a lower level is over: what a higher one holds for the next turn moves down. */
static void cascade(struct wheel *wheel)
{
    for (int level = 1; level < WHEEL_LEVELS; level++) {
        uint64_t slot = (wheel->tick >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1);
        struct ff_list moved;
        struct ff_list *node;

        if (wheel->tick & ((UINT64_C(1) << (WHEEL_BITS * level)) - 1))
            return;
        ff_list_init(&moved);
        while ((node = ff_list_pop(&wheel->slots[level][slot])))
            ff_list_append(&moved, node);
        while ((node = ff_list_pop(&moved)))
            place(wheel, FF_CONTAINER(node, struct wheel_timer, node));
    }
}

static bool is_level_empty(const struct wheel *wheel, int level)
{
    for (int slot = 0; slot < WHEEL_SLOTS; slot++)
        if (!ff_list_is_empty(&wheel->slots[level][slot]))
            return false;
    return true;
}

/*
 * Where the turns of the lowest levels begin and nothing is in them they are over: a clock that
 * leapt by years (a machine that was held still) is caught up with in some hundred steps.
 */
static void skip_empty_turns(struct wheel *wheel, uint64_t to)
{
    uint64_t span = 1;

    for (int level = 0; level < WHEEL_LEVELS; level++) {
        if ((wheel->tick & ((span << WHEEL_BITS) - 1)) || !is_level_empty(wheel, level))
            break;
        span <<= WHEEL_BITS;
    }
    wheel->tick += span - 1 < to - wheel->tick ? span - 1 : to - wheel->tick;
}

void wheel_advance(struct wheel *wheel)
{
    uint64_t to = present(wheel);

    while (wheel->tick != to) {
        struct ff_list *slot;
        struct ff_list *node;

        wheel->tick++;
        cascade(wheel);
        slot = &wheel->slots[0][wheel->tick & (WHEEL_SLOTS - 1)];
        /* A callback sets timers a tick ahead at least, so this ends. */
        while ((node = ff_list_pop(slot))) {
            struct wheel_timer *timer = FF_CONTAINER(node, struct wheel_timer, node);

            wheel->count--;
            timer->fire(timer);
        }
        skip_empty_turns(wheel, to);
    }
}

uint64_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms, uint64_t max_ms)
{
    uint64_t passed = (now_ms > *wheel->now_ms ? now_ms : *wheel->now_ms) - wheel->start_ms;
    uint64_t next = wheel->tick + 1;

    if (wheel->count == 0)
        return max_ms;
    /* Up to the end of this level's turn: then the next level cascades. */
    while ((next & (WHEEL_SLOTS - 1)) &&
           ff_list_is_empty(&wheel->slots[0][next & (WHEEL_SLOTS - 1)]))
        next++;
    if (next * WHEEL_TICK_MS <= passed)
        return 0;
    passed = next * WHEEL_TICK_MS - passed;
    return passed < max_ms ? passed : max_ms;
}
