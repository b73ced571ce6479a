/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * What one thread has allocated less what it has freed, of whomever it was: only
 * the sum over all threads means something. Threads beyond COUNTERS share one.
 */
enum { COUNTERS = 72 };

enum quantity { BYTES, BLOCKS, ASKED, QUANTITIES };

struct counter {
    _Alignas(FF_CACHE_LINE) _Atomic int64_t of[QUANTITIES];
};

static struct counter counters[COUNTERS];
static _Atomic uint32_t threads;
static _Thread_local struct counter *own;

static _Atomic uint64_t
    drawn; /* allocations since a test first asked for failures, while it does */
static _Atomic uint64_t fail_at;     /* the value of `drawn` that fails; 0: none */
static _Atomic uint64_t fail_one_in; /* 0: none */
static _Atomic uint64_t fail_seed;
static _Atomic bool is_exempt;

static struct counter *own_counter(void)
{
    if (!own)
        own = &counters[atomic_fetch_add(&threads, 1) % COUNTERS];
    return own;
}

static void count(enum quantity quantity, int64_t change)
{
    atomic_fetch_add_explicit(&own_counter()->of[quantity], change, memory_order_relaxed);
}

/* Counters are read one after the other: what moves meanwhile may make it less than nothing. */
static uint64_t add_up(enum quantity quantity)
{
    uint32_t in_use = atomic_load_explicit(&threads, memory_order_relaxed);
    int64_t sum = 0;

    for (uint32_t i = 0; i < in_use && i < COUNTERS; i++)
        sum += atomic_load_explicit(&counters[i].of[quantity], memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0;
}

/* Does the n-th allocation fail by chance? (The mixer of splitmix64, Steele et al., 2014.) */
static bool is_unlucky(uint64_t n, uint64_t one_in)
{
    uint64_t x = n + atomic_load_explicit(&fail_seed, memory_order_relaxed);

    if (!one_in)
        return false;
    x *= 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return (x ^ (x >> 31)) % one_in == 0;
}

static bool is_allowed(void)
{
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    uint64_t one_in = atomic_load_explicit(&fail_one_in, memory_order_relaxed);
    uint64_t n;

    if (atomic_load_explicit(&is_exempt, memory_order_relaxed))
        return true;
    count(ASKED, 1);
    if (!at && !one_in)
        return true;
    n = atomic_fetch_add_explicit(&drawn, 1, memory_order_relaxed) + 1;
    return n != at && !is_unlucky(n, one_in);
}

static void *count_in(void *block)
{
    if (block) {
        count(BYTES, (int64_t)malloc_usable_size(block));
        count(BLOCKS, 1);
    }
    return block;
}

void *ff_mem_alloc(size_t size)
{
    FF_CHECK(size > 0);
    return is_allowed() ? count_in(malloc(size)) : NULL;
}

void *ff_mem_zalloc(size_t size)
{
    FF_CHECK(size > 0);
    return is_allowed() ? count_in(calloc(1, size)) : NULL;
}

void *ff_mem_alloc_aligned(size_t alignment, size_t size)
{
    FF_CHECK(size > 0 && size % alignment == 0);
    return is_allowed() ? count_in(aligned_alloc(alignment, size)) : NULL;
}

void *ff_mem_realloc(void *block, size_t size)
{
    size_t before = block ? malloc_usable_size(block) : 0;
    void *moved;

    FF_CHECK(size > 0);
    if (!is_allowed())
        return NULL;
    moved = realloc(block, size);
    if (!moved)
        return NULL;
    count(BYTES, (int64_t)malloc_usable_size(moved) - (int64_t)before);
    count(BLOCKS, !block);
    return moved;
}

char *ff_mem_dup(const void *bytes, size_t size)
{
    char *copy = ff_mem_alloc(size + 1);

    if (copy) {
        if (size)
            memcpy(copy, bytes, size);
        copy[size] = '\0';
    }
    return copy;
}

void ff_mem_free(void *block)
{
    if (!block)
        return;
    count(BYTES, -(int64_t)malloc_usable_size(block));
    count(BLOCKS, -1);
    free(block);
}

size_t ff_mem_size(void *block)
{
    return block ? malloc_usable_size(block) : 0;
}

int64_t ff_mem_own_bytes(void)
{
    return atomic_load_explicit(&own_counter()->of[BYTES], memory_order_relaxed);
}

size_t ff_mem_live_bytes(void)
{
    return add_up(BYTES);
}

size_t ff_mem_live_blocks(void)
{
    return add_up(BLOCKS);
}

uint64_t ff_mem_count(void)
{
    return add_up(ASKED);
}

void ff_mem_fail_at(uint64_t k)
{
    atomic_store(&fail_at, k ? atomic_load(&drawn) + k : 0);
}

void ff_mem_fail_often(uint64_t n, uint64_t seed)
{
    atomic_store(&fail_seed, seed - atomic_load(&drawn));
    atomic_store(&fail_one_in, n);
}

void ff_mem_exempt(bool exempt)
{
    atomic_store_explicit(&is_exempt, exempt, memory_order_relaxed);
}

static _Atomic size_t most_live; /* since the heap was trimmed last */

bool ff_mem_wants_trim(void)
{
    enum { LEAST = 1024 * 1024 };
    size_t now = ff_mem_live_bytes();
    size_t before = atomic_load_explicit(&most_live, memory_order_relaxed);

    if (now > before)
        atomic_store_explicit(&most_live, now, memory_order_relaxed);
    return now < before && before - now > LEAST + now / 4;
}

void ff_mem_trim(void)
{
    enum { KEEP = 64 * 1024 };

    atomic_store_explicit(&most_live, ff_mem_live_bytes(), memory_order_relaxed);
    (void)malloc_trim(KEEP);
}
