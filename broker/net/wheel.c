/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/wheel.h"

#include "protocol/base/check.h"

void wheel_init(struct wheel *wheel, const uint64_t *now_ms)
{
    wheel->tick = 0;
    wheel->count = 0;
    wheel->start_ms = *now_ms;
    wheel->now_ms = now_ms;
    for (int level = 0; level < WHEEL_LEVELS; level++)
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            ff_list_init(&wheel->slots[level][slot]);
}

static void place(struct wheel *wheel, struct wheel_timer *timer)
{
    uint32_t ahead = timer->due - wheel->tick;
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
    if (ticks > INT32_MAX)
        ticks = INT32_MAX;
    /* One more, because the present tick has begun already: never early. */
    timer->due = wheel_now(wheel) + (uint32_t)ticks + 1;
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
        uint32_t slot = (wheel->tick >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1);
        struct ff_list moved;
        struct ff_list *node;

        if (wheel->tick & ((1U << (WHEEL_BITS * level)) - 1))
            return;
        ff_list_init(&moved);
        while ((node = ff_list_pop(&wheel->slots[level][slot])))
            ff_list_append(&moved, node);
        while ((node = ff_list_pop(&moved)))
            place(wheel, FF_CONTAINER(node, struct wheel_timer, node));
    }
}

void wheel_advance(struct wheel *wheel)
{
    uint32_t to = wheel_now(wheel);

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
    }
}

uint64_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms, uint64_t max_ms)
{
    uint64_t passed = now_ms - wheel->start_ms;
    uint32_t ticks = 1;

    if (wheel->count == 0)
        return max_ms;
    /* Up to the end of this level's turn: then the next level cascades. */
    while (((wheel->tick + ticks) & (WHEEL_SLOTS - 1)) &&
           ff_list_is_empty(&wheel->slots[0][(wheel->tick + ticks) & (WHEEL_SLOTS - 1)]))
        ticks++;
    ticks += wheel->tick;
    if ((uint64_t)ticks * WHEEL_TICK_MS <= passed)
        return 0;
    passed = (uint64_t)ticks * WHEEL_TICK_MS - passed;
    return passed < max_ms ? passed : max_ms;
}
