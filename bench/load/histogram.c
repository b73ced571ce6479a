/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/histogram.h"

/* The largest value of a slot. */
static uint64_t value_of(uint32_t slot)
{
    uint32_t shift = slot < 2 * STEPS ? 0 : slot / STEPS - 1;
    uint64_t step = slot - shift * STEPS;

    return ((step + 1) << shift) - 1;
}

uint64_t histogram_at(const struct histogram *h, double part)
{
    uint64_t wanted = (uint64_t)((double)h->count * part);
    uint64_t seen = 0;

    for (uint32_t i = 0; i < SLOTS; i++) {
        seen += h->slots[i];
        if (seen && seen >= wanted)
            return value_of(i) < h->max ? value_of(i) : h->max;
    }
    return h->max;
}
