/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parcel.h - a message on its way through Redis.
 *
 * What a node hands over is a head and the payload as it came; Redis writes the place that the
 * message got before it, as text, and the whole is what is kept and what is published:
 *
 *   EPOCH:OFFSET:WALL_MS: version least size flags node[8] session[8] kind payload
 *
 * `version` is that of who wrote it, `least` the lowest that can read it, `size` that of the head:
 * a node takes what it knows of a newer one's, and leaves what it cannot read. Whoever can write to
 * Redis can write anything: what is no valid message is none.
 */
#ifndef ENGINE_PARCEL_H
#define ENGINE_PARCEL_H

#include "broker/topic/publication.h"
#include "protocol/base/buf.h"

enum {
    PARCEL_VERSION = 1,
    PARCEL_HEAD = 21,
    PARCEL_SAID = PARCEL_HEAD, /* counted from 1, where what the publisher said begins: its kind */
};

struct parcel {
    struct ff_position at; /* epoch 0: its topic keeps no history */
    uint64_t wall_ms;
    uint64_t node;    /* that it was published by, in this one of its lives, */
    uint64_t session; /* and the tag of the session there */
    bool retain;
    struct ff_payload payload;
};

/* Appends head and payload. FF_OK, FF_ENOMEM, FF_ELIMIT. */
FF_MUST_CHECK enum ff_err parcel_write(struct ff_buf *out, const struct publication *p,
                                       uint64_t node);

enum parcel_fault { PARCEL_GOOD, PARCEL_BAD, PARCEL_NEWER };

/* The payload is borrowed from the text. */
enum parcel_fault parcel_read(struct ff_slice text, struct parcel *parcel);

/* The same for a text that has the topic's name before it: LENGTH:NAME. */
enum parcel_fault parcel_read_named(struct ff_slice text, struct ff_slice *topic,
                                    struct parcel *parcel);

/*
 * An epoch or an offset as Redis writes it, before the separator, which is cut off with it; NUL: up
 * to the text's end. False: there is none.
 */
bool parcel_take_number(struct ff_slice *rest, char separator, uint64_t *number);

#endif
