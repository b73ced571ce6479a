/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram.h - how often which latency came.
 *
 * Log-linear, as HdrHistogram (Tene): 128 steps to each power of two, so that a
 * percentile is off by less than 1 %, in 60 KiB, for any number of values.
 */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stdint.h>

enum { STEP_BITS = 7, STEPS = 1 << STEP_BITS, SLOTS = (65 - STEP_BITS) * STEPS };

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t slots[SLOTS];
};

static inline uint32_t histogram_slot(uint64_t value)
{
    int shift = 63 - __builtin_clzll(value | STEPS) - STEP_BITS;

    return (uint32_t)shift * STEPS + (uint32_t)(value >> shift);
}

static inline void histogram_add(struct histogram *h, uint64_t value)
{
    h->slots[histogram_slot(value)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

/* The value that `part` of all (0 to 1) do not pass; 0 of none. */
uint64_t histogram_at(const struct histogram *h, double part);

#endif
