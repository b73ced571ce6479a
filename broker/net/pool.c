/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/pool.h"

#include "protocol/base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

struct pool_block {
    struct pool_block *next;
};

void pool_init(struct pool *pool, size_t max_free_bytes)
{
    *pool = (struct pool){.max_free_bytes = max_free_bytes};
}

/* The class of a size up to POOL_LARGEST, and its rounded size. */
static unsigned find_class(size_t size, size_t *rounded)
{
    unsigned doubling;
    unsigned quarter;
    size_t step;

    if (size <= POOL_SMALLEST) {
        *rounded = POOL_SMALLEST;
        return 0;
    }
    doubling = 63U - (unsigned)__builtin_clzll(size - 1); /* 2^doubling < size <= 2^(doubling+1) */
    step = (size_t)1 << (doubling - 2);
    quarter = (unsigned)((size - 1) / step) - 4; /* 0 to 3 */
    *rounded = (quarter + 5) * step;
    return (doubling - 8) * 4 + quarter + 1;
}

/* The size of a class's blocks. */
static size_t class_size(unsigned class)
{
    return class == 0 ? POOL_SMALLEST : ((size_t)(class - 1) % 4 + 5) << ((class - 1) / 4 + 8 - 2);
}

size_t pool_round(size_t size)
{
    size_t rounded = size;

    if (size <= POOL_LARGEST)
        (void)find_class(size, &rounded);
    return rounded;
}

bool pool_has_free(const struct pool *pool, size_t size)
{
    size_t rounded;

    return size <= POOL_LARGEST && pool->free[find_class(size, &rounded)];
}

void *pool_alloc(struct pool *pool, size_t size)
{
    size_t rounded = size;
    struct pool_block *block;
    unsigned class;

    if (size > POOL_LARGEST) {
        block = ff_mem_alloc(size);
        if (block)
            pool->used_bytes += size;
        return block;
    }
    class = find_class(size, &rounded);
    block = pool->free[class];
    if (block) {
        ASAN_UNPOISON_MEMORY_REGION(block, rounded);
        pool->free[class] = block->next;
        pool->free_bytes -= rounded;
        if (pool->free_bytes < pool->idle_bytes)
            pool->idle_bytes = pool->free_bytes;
    } else {
        block = ff_mem_alloc(rounded);
    }
    if (block)
        pool->used_bytes += rounded;
    return block;
}

void pool_free(struct pool *pool, void *memory, size_t size)
{
    struct pool_block *block = memory;
    size_t rounded = size;
    unsigned class = POOL_CLASSES;

    if (!block)
        return;
    if (size <= POOL_LARGEST)
        class = find_class(size, &rounded);
    FF_CHECK(pool->used_bytes >= rounded);
    pool->used_bytes -= rounded;
    if (class == POOL_CLASSES || pool->free_bytes + rounded > pool->max_free_bytes) {
        ff_mem_free(block);
        return;
    }
    block->next = pool->free[class];
    pool->free[class] = block;
    pool->free_bytes += rounded;
    ASAN_POISON_MEMORY_REGION(block, rounded);
}

/* Gives free blocks back, the largest first, until `free_bytes` is at most `keep`. */
static void release(struct pool *pool, size_t keep)
{
    for (unsigned class = POOL_CLASSES; class -- > 0 && pool->free_bytes > keep;) {
        while (pool->free[class] && pool->free_bytes > keep) {
            struct pool_block *block = pool->free[class];
            size_t size = class_size(class);

            ASAN_UNPOISON_MEMORY_REGION(block, size);
            pool->free[class] = block->next;
            pool->free_bytes -= size;
            ff_mem_free(block);
        }
    }
}

void pool_trim(struct pool *pool)
{
    release(pool, pool->free_bytes - pool->idle_bytes);
    pool->idle_bytes = pool->free_bytes;
}

void pool_deinit(struct pool *pool)
{
    FF_CHECK(pool->used_bytes == 0);
    release(pool, 0);
}
