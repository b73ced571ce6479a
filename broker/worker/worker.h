/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h - one thread's share of the broker, and the order of its turn.
 *
 * A turn: mail of other workers is opened, once before the events and once
 * behind them; events are noted; connections are read for a slice of 2 ms
 * (net/input.h); timers that are due fire; what became dirty is routed (each
 * dirty link's subscriptions are walked once); the flush list is worked for a slice of 2 ms;
 * what nobody needs any more is trimmed; dead connections are freed. If work is left the next wait
 * does not block.
 *
 * Workers share nothing but what qsbr.h, mailbox.h and ring.h are for. Floors
 * above hold a pointer to theirs and never reach another one's.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "broker/net/net.h"
#include "broker/worker/mailbox.h"
#include "broker/worker/qsbr.h"

enum { WORKER_SLEEP_MS = 10000 };

/* What the floors above do at the end of a turn. */
struct worker_ops {
    void (*route)(void *arg);    /* marks connections that have something to send */
    bool (*end_turn)(void *arg); /* after the flush; true: there is more to route */
};

struct worker {
    struct net net;
    uint32_t index;         /* its number among all workers */
    struct qsbr *qsbr;      /* NULL: it is the only one */
    struct mailbox mailbox; /* any thread may post */
    _Atomic uint32_t load;  /* connections it has, or will have: any thread may ask */
    const struct worker_ops *ops;
    void *arg;
};

/* FF_OK, FF_ENOMEM. `ops` may be set later with worker_set_ops, before the first turn. */
FF_MUST_CHECK enum ff_err worker_init(struct worker *worker, uint32_t index, struct qsbr *qsbr);
void worker_set_ops(struct worker *worker, const struct worker_ops *ops, void *arg);
void worker_deinit(struct worker *worker);

/* One end of a turn, as the loop calls it with the worker; for tests, too. Returns how long it may
 * sleep. */
uint64_t worker_turn(void *arg);

#endif
