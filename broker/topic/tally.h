/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tally.h - how many there are of something that has a maximum: this worker's, and all workers'.
 */
#ifndef TOPIC_TALLY_H
#define TOPIC_TALLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tally {
    uint32_t own;
    _Atomic uint32_t *all; /* the same for all workers; NULL: one */
};

static inline void tally_take(struct tally *tally)
{
    tally->own--;
    if (tally->all)
        atomic_fetch_sub_explicit(tally->all, 1, memory_order_relaxed);
}

/* One more. False: then there would be more than `most`, and it is not counted. */
static inline bool tally_add(struct tally *tally, uint32_t most)
{
    uint32_t all = ++tally->own;

    if (tally->all)
        all = atomic_fetch_add_explicit(tally->all, 1, memory_order_relaxed) + 1;
    if (all <= most)
        return true;
    tally_take(tally);
    return false;
}

#endif
