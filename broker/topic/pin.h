/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.h - segments that outlive their log, because a frame of theirs was cut.
 *
 * A connection that is cut in a large frame holds the segment until it has sent
 * the rest of it. A worker pins a segment once, for all its connections that
 * hold it. Pins of segments that are still in their log cost nothing; those of
 * segments that have left it have a budget for each log and worker. Where that is
 * used up the segment goes whose connections have been idle longest: they are
 * handed to `evict`. Pins never shorten the log. Everything here is the worker's
 * own but the count in the segment.
 *
 * Order of calls: pin_take, pin_touch each time a part was sent, pin_release;
 * pins_enforce when the log's tail has moved; pins_leave when the link goes.
 */
#ifndef TOPIC_PIN_H
#define TOPIC_PIN_H

#include "broker/topic/log.h"

struct pins;     /* what a worker has pinned of one log */
struct pin_hold; /* one connection's hold on a segment */

/* `owner`'s stream has to end, or to let go of its frame: pin_release() must follow. */
typedef void pin_evict_fn(void *arg, void *owner);

/* Until pin_release(*hold). `*pins` is NULL at first; `tick`: now. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err pin_take(struct pins **pins, struct segment *segment, void *owner,
                                   uint32_t tick, struct pin_hold **hold);

/* A part of what is held was sent. */
void pin_touch(void *hold, uint32_t tick);
void pin_release(void *hold);

/* Who is told, and what all logs' pins of a worker are listed in while they hold something back. */
struct pin_evictor {
    struct ff_list all;
    pin_evict_fn *evict;
    void *arg;
};

/*
 * What lies below `tail` has left the log, but for `retained`: evicts until it is at most
 * `max_bytes`.
 * Amortized O(1) for each hold taken or touched, and O(segments pinned in the log).
 */
void pins_enforce(struct pins *pins, struct pin_evictor *evictor, const struct segment *retained,
                  uint64_t tail, uint64_t max_bytes);

/* Memory is short: evicts the idle longest of one log after the other, until so much is let go. */
void pins_relieve(struct pin_evictor *evictor, uint64_t bytes);

/* Octets of segments that have left the log, as of the last pins_enforce(). NULL: 0. */
uint64_t pins_bytes(const struct pins *pins);

/* The link goes; its pins may stay. NULL is allowed. */
void pins_leave(struct pins *pins);

#endif
