/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inflater.h - from compressed messages to what they were (RFC 7692, section 7.2.2).
 *
 * It is pulled in steps, each bounded by the input and by the room that it is given: so
 * whoever calls decides how much a message may become, and how much of it at once. It is
 * made for one connection and lives as long as its peer may lean on earlier messages:
 * about 7 KiB, and the window with the first octet.
 */
#ifndef WEBSOCKET_INFLATER_H
#define WEBSOCKET_INFLATER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/check.h"
#include "protocol/base/err.h"

struct ff_inflater;

/* `bits`: the peer's window, 8 to 15. NULL: out of memory. */
FF_MUST_CHECK struct ff_inflater *ff_inflater_new(unsigned bits);
void ff_inflater_free(struct ff_inflater *inflater);

/* What goes in and comes out; both ends are moved on by what a step used of them. */
struct ff_inflation {
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len; /* room */
};

/*
 * Goes on with a message until its input is used up or the room is. FF_OK (more may be to
 * come out if no room is left), FF_ENOMEM, FF_EINVAL (this is no deflate data).
 */
FF_MUST_CHECK enum ff_err ff_inflater_step(struct ff_inflater *inflater, struct ff_inflation *io);

/*
 * All input of a message was given: the octets that its sender left out of it are to be
 * given now, with the same step. False: it ended with its last block, and needs none.
 */
bool ff_inflater_begin_end(struct ff_inflater *inflater, struct ff_inflation *io);

/* And these were given, too. False: the message was cut in the midst of a block. */
bool ff_inflater_end(struct ff_inflater *inflater);

/* Octets of compressed input of the message under way. */
uint64_t ff_inflater_taken(const struct ff_inflater *inflater);

#endif
