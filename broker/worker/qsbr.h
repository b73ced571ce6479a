/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qsbr.h - when may memory be freed that other workers read without a lock?
 *
 * Quiescent-state-based reclamation (McKenney and Slingwine, 1998), as far as we
 * need it. Time is counted in intervals: whoever unlinks something begins the next
 * one and notes it. A worker takes the present interval when its turn begins,
 * before it loads any shared pointer, and is offline while it waits. What was
 * unlinked at the end of interval i - 1 is out of everybody's sight when each
 * worker is offline or has begun a turn in i or later.
 *
 * The stores and loads that decide are seq_cst: a worker's interval must be visible
 * before it loads a pointer, and an unlinking before the intervals are looked at.
 */
#ifndef WORKER_QSBR_H
#define WORKER_QSBR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/mem.h"

enum { WORKERS_MAX = 64 };

struct qsbr_slot {
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t interval; /* 0: offline */
};

struct qsbr {
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t now;
    uint32_t count; /* workers */
    struct qsbr_slot slots[WORKERS_MAX];
};

/* All workers are offline. */
void qsbr_init(struct qsbr *qsbr, uint32_t count);

/* The worker's turn begins: it holds no shared pointer of the turn before. */
void qsbr_online(struct qsbr *qsbr, uint32_t worker);

/* The worker is about to block in its loop: it holds no pointer into another worker's log. */
void qsbr_offline(struct qsbr *qsbr, uint32_t worker);

/* Something was unlinked: what to ask qsbr_is_passed() with. */
uint64_t qsbr_retire(struct qsbr *qsbr);

/* May what was unlinked then be freed? */
bool qsbr_is_passed(struct qsbr *qsbr, uint64_t retired);

#endif
