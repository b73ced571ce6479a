/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoch.h - when may memory be freed that other workers read without a lock?
 *
 * Quiescent states (McKenney and Slingwine, 1998), as far as we need them: who
 * unlinked something notes the next epoch with it. A worker takes the present
 * epoch when its turn begins, before it loads any shared pointer, and is
 * offline while it waits. What was unlinked in epoch e is out of everybody's
 * sight when each worker is offline or has begun a turn in e or later.
 *
 * The stores and loads that decide are seq_cst: a worker's epoch must be visible
 * before it loads a pointer, and an unlinking before the epochs are looked at.
 */
#ifndef WORKER_EPOCH_H
#define WORKER_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/mem.h"

enum { WORKERS_MAX = 64 };

struct epoch_slot {
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t epoch; /* 0: offline */
};

struct epochs {
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t now;
    uint32_t count; /* workers */
    struct epoch_slot slots[WORKERS_MAX];
};

/* All workers are offline. */
void epochs_init(struct epochs *epochs, uint32_t count);

/* The worker's turn begins: it holds no shared pointer of the turn before. */
void epoch_enter(struct epochs *epochs, uint32_t worker);

/* It will wait, and touch nothing that is shared. */
void epoch_leave(struct epochs *epochs, uint32_t worker);

/* Something was unlinked: what to ask epoch_is_over() with. */
uint64_t epoch_retire(struct epochs *epochs);

/* May what was unlinked then be freed? */
bool epoch_is_over(struct epochs *epochs, uint64_t retired);

#endif
