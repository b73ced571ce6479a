/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/budget.h"

enum {
    HEAP_HEAD = 8,      /* what the heap keeps before each block */
    LOOK_LEAST = 65536, /* so much this thread takes before it looks again, */
    LOOK_AGAIN = 8,     /* or an 8th of what is left: others may be as greedy */
    TIGHT_TENTHS = 9,   /* of the limit */
    OVER_PART = 16,     /* a 16th past it */
    EASE_PART = 8,      /* an 8th below it is where cutting ends */
};

void ff_budget_init(struct ff_budget *budget, uint64_t max)
{
    *budget = (struct ff_budget){.max = max};
    ff_budget_look(budget);
}

void ff_budget_look(struct ff_budget *budget)
{
    uint64_t step = INT64_MAX / 2;

    budget->own = ff_mem_own_bytes();
    budget->used = ff_mem_live_bytes() + (uint64_t)HEAP_HEAD * ff_mem_live_blocks();
    if (budget->max < INT64_MAX / 2) {
        step = budget->max > budget->used ? (budget->max - budget->used) / LOOK_AGAIN : 0;
        if (step < LOOK_LEAST)
            step = LOOK_LEAST;
    }
    budget->look_from = budget->own + (int64_t)step;
}

enum ff_memory_level ff_budget_level(struct ff_budget *budget)
{
    uint64_t used = ff_budget_used(budget);

    if (used < budget->max / 10 * TIGHT_TENTHS)
        return FF_MEMORY_FREE;
    if (used <= budget->max)
        return FF_MEMORY_TIGHT;
    return used - budget->max <= budget->max / OVER_PART ? FF_MEMORY_FULL : FF_MEMORY_OVER;
}

bool ff_budget_has_room(struct ff_budget *budget, size_t octets)
{
    uint64_t used = ff_budget_used(budget);
    uint64_t max = budget->max;

    if (octets <= FF_BUDGET_SMALL && max < UINT64_MAX - max / OVER_PART)
        max += max / OVER_PART;
    return used <= max && octets <= max - used;
}

uint64_t ff_budget_excess(struct ff_budget *budget, size_t octets)
{
    uint64_t used = ff_budget_used(budget) + octets;
    uint64_t ease = budget->max - budget->max / EASE_PART;

    return used > ease ? used - ease : 0;
}
