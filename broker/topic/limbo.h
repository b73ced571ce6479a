/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limbo.h - the segments of a worker's logs, and those that are out of their
 * log and may still be read.
 *
 * Segments that are in a log form one list of all logs, the oldest first: where
 * memory is short they are cut in this order, each in O(1).
 *
 * Other workers read segments without a lock, and a connection may have one
 * pinned of which it still sends. A trimmed segment waits here until each
 * worker's turn in which it could be seen is over and no pin is left. With one
 * worker and no pin it does not wait at all.
 */
#ifndef TOPIC_LIMBO_H
#define TOPIC_LIMBO_H

#include <stddef.h>

#include "broker/net/pool.h"
#include "broker/worker/qsbr.h"
#include "protocol/base/budget.h"
#include "protocol/base/list.h"

struct segment;

struct segment_queue {
    struct segment *first;
    struct segment *last;
};

struct limbo {
    struct pool *pool;
    struct ff_budget *budget;     /* NULL: none */
    struct ff_list live;          /* segments that are in a log, the oldest first */
    struct qsbr *qsbr;            /* NULL: one worker */
    struct segment_queue waiting; /* by the interval (qsbr.h) in which they left */
    struct segment_queue pinned;
    size_t bytes;      /* in both */
    size_t kept_bytes; /* of segments that history keeps: what only readers need is not counted */
    size_t retained_bytes; /* of retained messages, which are in no list */
};

/* `qsbr` is NULL where one worker is all there is, `budget` where memory is not bounded. */
void limbo_init(struct limbo *limbo, struct pool *pool, struct ff_budget *budget,
                struct qsbr *qsbr);

/* May a segment of so many octets be made? One from the pool takes no new memory. */
bool limbo_has_room(struct limbo *limbo, size_t octets);

/* The workers have ended, and nothing is pinned. */
void limbo_deinit(struct limbo *limbo);

/* A segment has left its log; `is_shared`: other workers may see it still. */
void limbo_retire(struct limbo *limbo, struct segment *segment, bool is_shared);

/* Frees what nobody can see any more; once a turn. */
void limbo_sweep(struct limbo *limbo);

static inline bool limbo_is_empty(const struct limbo *limbo)
{
    return limbo->bytes == 0;
}

#endif
