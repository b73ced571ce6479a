/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Atomic size_t live_bytes;
static _Atomic size_t live_blocks;
static _Atomic uint64_t asked;
static _Atomic uint64_t fail_at;     /* the value of `asked` that fails; 0: none */
static _Atomic uint64_t fail_one_in; /* 0: none */
static _Atomic uint64_t fail_seed;
static _Atomic bool is_exempt;

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
    n = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;

    return atomic_load_explicit(&fail_at, memory_order_relaxed) != n && !is_unlucky(n);
}

static void *count_in(void *block)
{
    if (block) {
        atomic_fetch_add_explicit(&live_bytes, malloc_usable_size(block), memory_order_relaxed);
        atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
    }
    return block;
}

static void count_out(void *block)
{
    atomic_fetch_sub_explicit(&live_bytes, malloc_usable_size(block), memory_order_relaxed);
    atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
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
    atomic_fetch_add_explicit(&live_bytes, malloc_usable_size(moved) - before,
                              memory_order_relaxed);
    if (!block)
        atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
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
    count_out(block);
    free(block);
}

size_t ff_mem_size(void *block)
{
    return block ? malloc_usable_size(block) : 0;
}

size_t ff_mem_live_bytes(void)
{
    return atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

size_t ff_mem_live_blocks(void)
{
    return atomic_load_explicit(&live_blocks, memory_order_relaxed);
}

uint64_t ff_mem_count(void)
{
    return atomic_load_explicit(&asked, memory_order_relaxed);
}

void ff_mem_fail_at(uint64_t k)
{
    atomic_store_explicit(&fail_at, k ? ff_mem_count() + k : 0, memory_order_relaxed);
}

void ff_mem_fail_often(uint64_t n, uint64_t seed)
{
    atomic_store_explicit(&fail_seed, seed - ff_mem_count(), memory_order_relaxed);
    atomic_store_explicit(&fail_one_in, n, memory_order_relaxed);
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
