/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heard.h - names that were published to and heard through filters alone.
 *
 * Such a name has no topic: nobody holds it, and nothing of it is kept. Who wants to know
 * which are busy counts them here for a while. At most HEARD_MAX names are counted until
 * the next heard_clear(); what is published to others meanwhile is not. O(1) a message.
 */
#ifndef TOPIC_HEARD_H
#define TOPIC_HEARD_H

#include "protocol/base/bytes.h"
#include "protocol/base/map.h"

enum { HEARD_MAX = 4096 };

struct heard_name {
    struct ff_map_node node;
    uint64_t messages;
    uint32_t receivers; /* of the last one */
    uint32_t len;
    char name[];
};

struct heard;

/* NULL: out of memory. */
FF_MUST_CHECK struct heard *heard_new(const struct ff_hash_key *key);
void heard_free(struct heard *heard);

/* One more message. Without memory it is not counted. */
void heard_count(struct heard *heard, struct ff_slice name, uint32_t receivers);

/* Walks the names: begin with NULL. */
const struct heard_name *heard_next(const struct heard *heard, const struct heard_name *name);

void heard_clear(struct heard *heard);

#endif
