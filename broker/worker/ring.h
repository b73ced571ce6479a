/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - requests from one worker to another: a bounded queue of bytes with a
 * single producer and a single consumer.
 *
 * Entries are contiguous: one that does not fit before the end begins anew at
 * the front. Nothing blocks and nothing is dropped: a full ring says so, and
 * the producer waits with what it has. Each side keeps a copy of the other's
 * index and reads the real one only when the copy says full or empty, so that a
 * cache line crosses once for many entries (Lamport's queue, as in Rigtorp's and
 * Torquati's measurements).
 */
#ifndef WORKER_RING_H
#define WORKER_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/mem.h"

struct ring {
    uint64_t size; /* of `bytes`, a power of two */

    /* The producer's. */
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t head; /* octets ever written */
    uint64_t reserved;                             /* where the reserved entry ends */
    uint64_t known_tail;
    uint64_t looked_at; /* the head when ring_release_idle() looked last */
    bool is_given_back; /* and nothing was written since the memory went */

    /* The consumer's. */
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t tail; /* octets ever taken */
    uint64_t known_head;
    uint64_t peeked; /* where the entry ends that was looked at */

    _Alignas(FF_CACHE_LINE) uint8_t bytes[];
};

/* With room for `size` octets, a power of two of at least 256. NULL: out of memory. */
FF_MUST_CHECK struct ring *ring_new(uint64_t size);
void ring_free(struct ring *ring);

/* The largest entry: an empty ring has room for it, wherever it stands. */
static inline uint32_t ring_entry_max(const struct ring *ring)
{
    return (uint32_t)(ring->size / 4);
}

/* How many entries of one size, `size` octets, a ring of `ring` octets holds, wherever they begin.
 */
uint32_t ring_fits(uint64_t ring, uint32_t size);

/* Producer: room for an entry of 1 to ring_entry_max() octets, aligned to 8; NULL: it is full. */
void *ring_reserve(struct ring *ring, uint32_t size);

/* Producer: what was reserved is written. */
void ring_commit(struct ring *ring);

/*
 * Producer, once a second: a ring that nothing went through meanwhile, and that
 * is empty, gives its pages back to the kernel; the next entry finds new ones.
 */
void ring_release_idle(struct ring *ring);

/* Consumer: the oldest entry, valid until ring_release(); NULL: it is empty. */
const void *ring_peek(struct ring *ring, uint32_t *size);

/* Consumer: it was taken. */
void ring_release(struct ring *ring);

#endif
