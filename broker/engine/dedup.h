/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dedup.h - which keyed messages a worker's topics have had, and what their publishers were told.
 *
 * A publisher that does not know whether its message was taken publishes it again with
 * the same key, and gets the first answer again. A key belongs to its topic and is
 * remembered for the topic's `dedup_seconds` after the message was taken, with or without
 * subscriptions: it keeps no topic alive. A digest stands for the topic and the key (128
 * bits, by the broker's secret), and another one for the payload: no text is kept.
 *
 * The table is bounded (limits.max_keys of its router). Where it is full, or all memory
 * that may be is in use, the oldest key goes before its time, and is counted.
 *
 * The same payload is the same octets in the same encoding: 1.0 for 1, or a value in
 * MessagePack that was JSON at first, is another one.
 */
#ifndef ENGINE_DEDUP_H
#define ENGINE_DEDUP_H

#include "broker/engine/engine.h"
#include "broker/topic/router.h"

struct dedup;

/* For the topics that a router owns; its clock, limits and rules are read when needed. NULL: out
 * of memory. */
FF_MUST_CHECK struct dedup *dedup_new(struct router *router);

/* Before the router ends. NULL is allowed. */
void dedup_free(struct dedup *dedup);

/*
 * Is a publish answered already? True: `receipt` is its answer, the first one again
 * (is_duplicate), FF_EOTHER (the key came with another payload), or FF_ENOMEM (it could
 * not be remembered). False: it is to be published, and dedup_note() follows before
 * the next one is asked about. Of a publish without a key: false, and nothing is done.
 */
FF_MUST_CHECK bool dedup_answers(struct dedup *dedup, const struct publication *p,
                                 struct engine_receipt *receipt);

/* What became of the publish that was asked about last. Refused, nothing is remembered. */
void dedup_note(struct dedup *dedup, const struct publication *p,
                const struct engine_receipt *receipt);

/* Keys that are remembered, and those that went before their time, since the start. */
uint64_t dedup_count(const struct dedup *dedup);
uint64_t dedup_forgotten(const struct dedup *dedup);

/* Octets of memory that a key takes, what the heap needs for itself included. */
enum { DEDUP_KEY_SIZE = 136 };

#endif
