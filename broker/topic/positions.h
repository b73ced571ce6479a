/* SPDX-License-Identifier: Apache-2.0 */
/*
 * positions.h - epoch and last offset of topics that are gone, for who comes back to them.
 *
 * A position outlives its topic by `position_seconds`. It knows its topic only by a
 * keyed hash of 128 bits, so that it costs at most 64 octets, however long the name was.
 * Where there is no room the oldest goes first: who comes back is told "lost", then.
 */
#ifndef TOPIC_POSITIONS_H
#define TOPIC_POSITIONS_H

#include <stddef.h>

#include "protocol/base/map.h"
#include "protocol/message/position.h"

enum { POSITIONS_CHUNK = 1024 };

struct position_entry {
    struct ff_digest digest; /* of the name */
    struct ff_position at;
    uint32_t next;  /* of its bucket, or of the free ones */
    uint32_t older; /* by when they were kept */
    uint32_t newer;
    uint32_t kept_at; /* the second */
};
_Static_assert(sizeof(struct position_entry) <= 56, "with its bucket a position costs 64 octets");

/* Places are numbers of entries; all bits set: none. */
struct positions {
    struct position_entry **chunks;
    uint32_t *buckets;
    uint32_t chunk_count;
    uint32_t bucket_mask; /* buckets less one */
    uint32_t count;
    uint32_t free;
    uint32_t oldest;
    uint32_t newest;
};

void positions_init(struct positions *positions);
void positions_deinit(struct positions *positions);

/* Keeps one at this second, which never goes back; where there is no memory it is forgotten. */
void positions_keep(struct positions *positions, const struct ff_digest *digest,
                    struct ff_position at, uint32_t second);

/* Takes it out. False: there is none. */
bool positions_take(struct positions *positions, const struct ff_digest *digest,
                    struct ff_position *at);

/* Reads it. False: there is none. */
bool positions_find(const struct positions *positions, const struct ff_digest *digest,
                    struct ff_position *at);

/* Forgets the oldest. There must be one. */
void positions_forget(struct positions *positions);

/* Forgets what was kept longer ago than `seconds`, at most `most` of them. True: there are more. */
bool positions_expire(struct positions *positions, uint32_t second, uint32_t seconds,
                      uint32_t most);

/* Octets of its memory. */
size_t positions_size(const struct positions *positions);

#endif
