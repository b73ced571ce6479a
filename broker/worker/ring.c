/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/worker/ring.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Before each entry: its size, or that what follows is unused up to the end. */
struct head {
    uint32_t size;
    uint32_t is_skip;
};

_Static_assert(sizeof(struct head) == 8, "entries are aligned to it");

struct ring *ring_new(uint64_t size)
{
    struct ring *ring = ff_mem_alloc_aligned(FF_CACHE_LINE, sizeof(*ring) + size);

    if (!ring)
        return NULL;
    ring->size = size;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    ring->reserved = ring->known_tail = ring->known_head = ring->peeked = 0;
    ring->looked_at = 0;
    ring->is_given_back = true;
    return ring;
}

void ring_free(struct ring *ring)
{
    ff_mem_free(ring);
}

static struct head *head_at(struct ring *ring, uint64_t position)
{
    return (struct head *)(void *)(ring->bytes + (position & (ring->size - 1)));
}

static uint64_t whole_size(uint32_t size)
{
    return sizeof(struct head) + (((uint64_t)size + 7) & ~UINT64_C(7));
}

/* What does not fit before the end begins anew at the front: that may cost one. */
uint32_t ring_fits(uint64_t ring, uint32_t size)
{
    uint64_t fits = ring / whole_size(size);

    return fits ? (uint32_t)(fits - 1) : 0;
}

/* Is there room up to `end`? */
static bool is_free(struct ring *ring, uint64_t end)
{
    if (end - ring->known_tail <= ring->size)
        return true;
    ring->known_tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    return end - ring->known_tail <= ring->size;
}

void *ring_reserve(struct ring *ring, uint32_t size)
{
    uint64_t from = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t whole = whole_size(size);
    uint64_t to_end = ring->size - (from & (ring->size - 1));
    uint64_t skipped = whole > to_end ? to_end : 0;

    FF_CHECK(size > 0 && size <= ring_entry_max(ring));
    if (!is_free(ring, from + skipped + whole))
        return NULL;
    if (skipped)
        *head_at(ring, from) = (struct head){(uint32_t)(skipped - sizeof(struct head)), 1};
    *head_at(ring, from + skipped) = (struct head){size, 0};
    ring->reserved = from + skipped + whole;
    return head_at(ring, from + skipped) + 1;
}

void ring_commit(struct ring *ring)
{
    atomic_store_explicit(&ring->head, ring->reserved, memory_order_release);
}

void ring_release_idle(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)ring->bytes + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)ring->bytes + ring->size) & ~(page - 1);
    bool is_quiet = head == ring->looked_at;

    ring->looked_at = head;
    if (!is_quiet)
        ring->is_given_back = false;
    if (!is_quiet || ring->is_given_back || from >= end ||
        atomic_load_explicit(&ring->tail, memory_order_acquire) != head)
        return;
    /* Empty, and only this thread writes into it: nobody reads what goes. */
    (void)madvise(ring->bytes + (from - (uintptr_t)ring->bytes), end - from, MADV_DONTNEED);
    ring->is_given_back = true;
}

const void *ring_peek(struct ring *ring, uint32_t *size)
{
    uint64_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    const struct head *head;

    if (at == ring->known_head)
        ring->known_head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (at == ring->known_head)
        return NULL;
    head = head_at(ring, at);
    if (head->is_skip) { /* never the last thing: an entry was committed with it */
        at += whole_size(head->size);
        head = head_at(ring, at);
    }
    *size = head->size;
    ring->peeked = at + whole_size(head->size);
    return head + 1;
}

void ring_release(struct ring *ring)
{
    atomic_store_explicit(&ring->tail, ring->peeked, memory_order_release);
}
