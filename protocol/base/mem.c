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

struct counter {
    _Alignas(FF_CACHE_LINE) _Atomic int64_t bytes;
    _Atomic int64_t blocks;
    _Atomic uint64_t asked;
};

static struct counter counters[COUNTERS];
static _Atomic uint32_t threads;
static _Thread_local struct counter *own;

static _Atomic bool is_failing; /* a test has asked for it: what follows counts */
static _Atomic uint64_t drawn;
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

/* Of how many counters there is something to add up. */
static uint32_t counters_in_use(void)
{
    uint32_t count = atomic_load_explicit(&threads, memory_order_relaxed);

    return count < COUNTERS ? count : COUNTERS;
}

static void count(int64_t bytes, int64_t blocks)
{
    struct counter *counter = own_counter();

    atomic_fetch_add_explicit(&counter->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&counter->blocks, blocks, memory_order_relaxed);
}

/* Does the n-th allocation fail by chance? (The mixer of splitmix64, Steele et al., 2014.) */
static bool is_unlucky(uint64_t n)
{
    uint64_t one_in = atomic_load_explicit(&fail_one_in, memory_order_relaxed);
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
    uint64_t n;

    if (atomic_load_explicit(&is_exempt, memory_order_relaxed))
        return true;
    atomic_fetch_add_explicit(&own_counter()->asked, 1, memory_order_relaxed);
    if (!atomic_load_explicit(&is_failing, memory_order_relaxed))
        return true;
    n = atomic_fetch_add_explicit(&drawn, 1, memory_order_relaxed) + 1;
    return atomic_load_explicit(&fail_at, memory_order_relaxed) != n && !is_unlucky(n);
}

static void *count_in(void *block)
{
    if (block)
        count((int64_t)malloc_usable_size(block), 1);
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
    count((int64_t)malloc_usable_size(moved) - (int64_t)before, !block);
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
    count(-(int64_t)malloc_usable_size(block), -1);
    free(block);
}

size_t ff_mem_size(void *block)
{
    return block ? malloc_usable_size(block) : 0;
}

int64_t ff_mem_own_bytes(void)
{
    return atomic_load_explicit(&own_counter()->bytes, memory_order_relaxed);
}

/* Counters are read one after the other: what moves meanwhile may make it less than nothing. */
static size_t at_least_none(int64_t sum)
{
    return sum > 0 ? (size_t)sum : 0;
}

size_t ff_mem_live_bytes(void)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < counters_in_use(); i++)
        sum += atomic_load_explicit(&counters[i].bytes, memory_order_relaxed);
    return at_least_none(sum);
}

size_t ff_mem_live_blocks(void)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < counters_in_use(); i++)
        sum += atomic_load_explicit(&counters[i].blocks, memory_order_relaxed);
    return at_least_none(sum);
}

uint64_t ff_mem_count(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < counters_in_use(); i++)
        sum += atomic_load_explicit(&counters[i].asked, memory_order_relaxed);
    return sum;
}

static void update_failing(void)
{
    atomic_store(&is_failing, atomic_load(&fail_at) || atomic_load(&fail_one_in));
}

void ff_mem_fail_at(uint64_t k)
{
    atomic_store(&fail_at, k ? atomic_load(&drawn) + k : 0);
    update_failing();
}

void ff_mem_fail_often(uint64_t n, uint64_t seed)
{
    atomic_store(&fail_seed, seed - atomic_load(&drawn));
    atomic_store(&fail_one_in, n);
    update_failing();
}

void ff_mem_exempt(bool exempt)
{
    atomic_store_explicit(&is_exempt, exempt, memory_order_relaxed);
}

void ff_mem_trim(void)
{
    enum { LEAST = 1024 * 1024, KEEP = 64 * 1024 };
    static _Atomic size_t most;
    size_t now = ff_mem_live_bytes();
    size_t before = atomic_load_explicit(&most, memory_order_relaxed);

    if (now < before && before - now > LEAST + now / 4)
        (void)malloc_trim(KEEP);
    else if (now <= before)
        return;
    atomic_store_explicit(&most, now, memory_order_relaxed);
}
