/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sharded.h - the carrier of a worker among others: what it does not own it
 * asks the owner for, by channels (channel.h).
 *
 * An owner takes a request only when there is room for its answer, and answers
 * are always taken: so no two workers ever wait for each other, and nothing is
 * dropped. A full ring is the session's to wait for. Requests of one session to
 * one owner keep their order.
 *
 * The owner of a name is found by its hash. A filter is linked at all workers;
 * its subscription stands when all have answered.
 */
#ifndef CARRIER_SHARDED_H
#define CARRIER_SHARDED_H

#include "broker/carrier/channel.h"

/*
 * The carrier of worker `index`, who is told of what came by `box`. All of them
 * are made before the first is used. NULL: out of memory.
 */
FF_MUST_CHECK struct carrier *sharded_new(struct exchange *exchange, uint32_t index,
                                          struct mailbox *box, struct router *router,
                                          const struct carrier_events *events, void *arg);

/* Which worker owns a name. */
uint32_t sharded_owner(const struct carrier *carrier, struct ff_slice name);

#endif
