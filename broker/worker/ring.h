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

enum {
    RING_SIZE = 256 * 1024,
    RING_ENTRY_MAX = RING_SIZE / 4, /* an empty ring has room for it, wherever it stands */
};

struct ring {
    /* The producer's. */
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t head; /* octets ever written */
    uint64_t reserved;                             /* where the reserved entry ends */
    uint64_t known_tail;

    /* The consumer's. */
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t tail; /* octets ever taken */
    uint64_t known_head;
    uint64_t peeked; /* where the entry ends that was looked at */

    _Alignas(FF_CACHE_LINE) uint8_t bytes[RING_SIZE];
};

/* NULL: out of memory. */
FF_MUST_CHECK struct ring *ring_new(void);
void ring_free(struct ring *ring);

/* Producer: room for an entry of 1 to RING_ENTRY_MAX octets, aligned to 8; NULL: it is full. */
void *ring_reserve(struct ring *ring, uint32_t size);

/* Producer: what was reserved is written. */
void ring_commit(struct ring *ring);

/* Consumer: the oldest entry, valid until ring_release(); NULL: it is empty. */
const void *ring_peek(struct ring *ring, uint32_t *size);

/* Consumer: it was taken. */
void ring_release(struct ring *ring);

#endif
