/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - blocks of memory that come and go with every turn.
 *
 * Free lists by size class, four classes to each doubling, from 256 octets to
 * 64 KiB; larger blocks go to the heap. A worker has one pool, so that nothing
 * it does for each message calls malloc once the pool is warm. What it keeps
 * free is bounded; beyond that memory goes back to the heap, and so does what
 * nobody asked for in a second. Free blocks are poisoned under AddressSanitizer.
 */
#ifndef NET_POOL_H
#define NET_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/check.h"

enum { POOL_SMALLEST = 256, POOL_LARGEST = 65536, POOL_CLASSES = 8 * 4 + 1 };

struct pool_block;

struct pool {
    struct pool_block *free[POOL_CLASSES];
    size_t free_bytes;
    size_t max_free_bytes;
    size_t idle_bytes; /* free all the time since the last pool_trim() */
    size_t used_bytes; /* handed out, as rounded up */
};

void pool_init(struct pool *pool, size_t max_free_bytes);

/* All blocks must be back. */
void pool_deinit(struct pool *pool);

/* What a request for `size` octets really gets. */
size_t pool_round(size_t size);

/* A block of pool_round(size) octets, not cleared, or NULL. */
FF_MUST_CHECK void *pool_alloc(struct pool *pool, size_t size);

/* Is there a free block for such a request? */
bool pool_has_free(const struct pool *pool, size_t size);

/* `size` as it was asked for, or as it was rounded. NULL is allowed. */
void pool_free(struct pool *pool, void *memory, size_t size);

/* Once a second: what was free all that time goes back to the heap. */
void pool_trim(struct pool *pool);

#endif
