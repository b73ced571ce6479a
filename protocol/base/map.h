/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h - an intrusive hash map: the node lives in the object it finds.
 *
 * Peers choose the keys, so the hash is SipHash-1-3 with a secret key
 * (Aumasson and Bernstein, 2012): nobody can make chains long on purpose. The
 * map owns its buckets, never the objects.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/check.h"
#include "protocol/base/err.h"

struct ff_map_node {
    struct ff_map_node *next;
    uint32_t hash;
};

struct ff_map {
    struct ff_map_node **buckets;
    size_t mask;
    size_t count;
};

struct ff_hash_key {
    uint64_t words[2];
};

/* SipHash-1-3 of `len` bytes, folded to 32 bits. */
uint32_t ff_hash(const struct ff_hash_key *key, const void *bytes, size_t len);

/* What stands for a name where the name is not kept: no two names have the same. */
struct ff_digest {
    uint64_t words[2];
};

/* SipHash-1-3 with 128 bits of output. */
struct ff_digest ff_digest_of(const struct ff_hash_key *key, const void *bytes, size_t len);

static inline bool ff_digest_is_equal(const struct ff_digest *a, const struct ff_digest *b)
{
    return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}

typedef bool ff_map_match_fn(const void *arg, const struct ff_map_node *node);

/* FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err ff_map_init(struct ff_map *map);

/* The nodes stay as they are. */
void ff_map_deinit(struct ff_map *map);

/* The first node with this hash that `match` accepts, or NULL. */
struct ff_map_node *ff_map_find(const struct ff_map *map, uint32_t hash, ff_map_match_fn *match,
                                const void *arg);

/* Cannot fail: where the buckets cannot grow, chains get longer. */
void ff_map_add(struct ff_map *map, struct ff_map_node *node, uint32_t hash);

/* The node must be in the map. */
void ff_map_remove(struct ff_map *map, struct ff_map_node *node);

/* Walks all nodes: start with NULL. The current node may not be removed. */
struct ff_map_node *ff_map_next(const struct ff_map *map, const struct ff_map_node *node);

#endif
