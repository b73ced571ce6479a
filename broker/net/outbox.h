/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox.h - the control messages that a connection is owed.
 *
 * One block of the worker's pool, there only while something is owed. Pongs are
 * told apart: OUTBOX_PONGS of them may wait for a full socket, then each newer
 * one takes the place of the newest (RFC 6455, section 5.5.3, allows it), so a
 * peer that pings and does not read costs no memory.
 */
#ifndef NET_OUTBOX_H
#define NET_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/net/pool.h"
#include "protocol/base/err.h"

enum { OUTBOX_PONGS = 16 };

struct outbox {
    uint32_t start;     /* octets already sent */
    uint32_t len;       /* octets behind `start` */
    uint32_t cap;       /* of the whole block */
    uint16_t last_pong; /* size of the newest waiting pong */
    uint16_t pong_count;
    uint32_t pong_ends[OUTBOX_PONGS]; /* where waiting pongs end in `bytes` */
    uint8_t bytes[];
};

/* Room for `more` octets; `*outbox` (NULL: none yet) may move. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err outbox_reserve(struct outbox **outbox, struct pool *pool, size_t more);

/* Appends to what was reserved. */
void outbox_append(struct outbox *outbox, const void *bytes, size_t len);

/* The same for a pong, at most UINT16_MAX octets; where OUTBOX_PONGS wait it replaces one. */
void outbox_append_pong(struct outbox *outbox, const void *bytes, size_t len);

/* Must the next pong take the place of another one? */
static inline bool outbox_is_full_of_pongs(const struct outbox *outbox)
{
    return outbox && outbox->pong_count == OUTBOX_PONGS;
}

/* The first `len` octets were sent. Frees it, and makes it NULL, when that was all. */
void outbox_take(struct outbox **outbox, struct pool *pool, size_t len);

void outbox_free(struct outbox **outbox, struct pool *pool);

#endif
