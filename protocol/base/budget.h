/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budget.h - how much of the memory that the program may use is in use, as one
 * thread sees it, and what stops at which level.
 *
 *   FREE   nothing
 *   TIGHT  from 9/10 on: the oldest segments of logs are cut (topic/router.c)
 *   FULL   from the limit on: no new connection or subscription, no half message
 *          over 4 KiB (session.c), no more than 4 KiB read at once or owed
 *          (net/input.c, net/conn.c); what needs a block over 4 KiB is refused
 *   OVER   1/16 past it: nothing but half messages of 1 KiB, so that who is
 *          there can still be heard
 *
 * Asking is cheap. The sum over all threads is taken when a turn begins, and in
 * between when this thread alone may have changed the answer.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/mem.h"

enum ff_memory_level { FF_MEMORY_FREE, FF_MEMORY_TIGHT, FF_MEMORY_FULL, FF_MEMORY_OVER };

enum { FF_BUDGET_SMALL = 4096 }; /* octets that may still be taken while it is FULL */

struct ff_budget {
    uint64_t max;      /* octets of the whole process; UINT64_MAX: no limit */
    uint64_t used;     /* at the last look, what the heap needs for itself included */
    int64_t own;       /* ff_mem_own_bytes() then */
    int64_t look_from; /* and from which on it is looked at again */
};

void ff_budget_init(struct ff_budget *budget, uint64_t max);

/* Looks at all threads: at the beginning of a turn. */
void ff_budget_look(struct ff_budget *budget);

/* What is in use, others' latest allocations perhaps left out. */
static inline uint64_t ff_budget_used(struct ff_budget *budget)
{
    int64_t own = ff_mem_own_bytes();

    if (own >= budget->look_from) {
        ff_budget_look(budget);
        own = budget->own;
    }
    return own > budget->own || budget->used > (uint64_t)(budget->own - own)
               ? budget->used + (uint64_t)(own - budget->own)
               : 0;
}

enum ff_memory_level ff_budget_level(struct ff_budget *budget);

/* May so many octets more be taken? */
bool ff_budget_has_room(struct ff_budget *budget, size_t octets);

/* By how many octets is too much in use for `octets` more, if 1/8 is to be free then? 0: there is
 * room. */
uint64_t ff_budget_excess(struct ff_budget *budget, size_t octets);

#endif
