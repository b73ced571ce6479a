/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.h - segments that outlive their log, because a frame of theirs was cut.
 *
 * A worker pins a segment once, for all its connections that still send from
 * it. What a worker has pinned of a log has a budget; pins never shorten the
 * log. Everything here is the worker's own but the count in the segment.
 */
#ifndef TOPIC_PIN_H
#define TOPIC_PIN_H

#include "broker/topic/log.h"

struct pins; /* what a worker has pinned of one log */
struct pin;  /* one segment */

/*
 * Pins a segment, until pin_release(*pin). `*pins` is NULL at first. FF_OK,
 * FF_ENOMEM, FF_ELIMIT (it would be more than `max_bytes`).
 */
FF_MUST_CHECK enum ff_err pin_take(struct pins **pins, struct segment *segment, uint64_t max_bytes,
                                   struct pin **pin);
void pin_release(void *arg);

/* The link goes; its pins may stay. NULL is allowed. */
void pins_leave(struct pins *pins);

#endif
