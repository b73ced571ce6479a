/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/reserve.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "protocol/base/mem.h"

enum { RESERVE = 1024 * 1024 };

/* Each block is led by its size. */
struct header {
    _Alignas(16) size_t size;
};

static _Alignas(16) uint8_t memory[RESERVE];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic size_t used; /* octets, from the front; given back when the last block is freed */
static size_t blocks;       /* in it */

static bool is_inside(const void *block)
{
    uintptr_t at = (uintptr_t)block;

    return at >= (uintptr_t)memory && at < (uintptr_t)memory + RESERVE;
}

static void give_back(void)
{
    if (--blocks == 0)
        used = 0;
}

static void *take(size_t size)
{
    size_t need = sizeof(struct header) + (size + 15) / 16 * 16;
    struct header header = {size};
    uint8_t *at = memory + used;

    if (size > RESERVE || need > RESERVE - used)
        return NULL;
    used += need;
    blocks++;
    memcpy(at, &header, sizeof(header));
    return at + sizeof(header);
}

static size_t size_of(const void *block)
{
    struct header header;

    memcpy(&header, (const uint8_t *)block - sizeof(header), sizeof(header));
    return header.size;
}

/* A block that is in the reserve moves out of it as soon as the heap has room. */
static void *move(void *block, size_t size)
{
    void *moved = ff_mem_alloc(size);

    if (!moved)
        moved = take(size);
    if (!moved)
        return NULL;
    memcpy(moved, block, size < size_of(block) ? size : size_of(block));
    give_back();
    return moved;
}

static void *move_in(void *block, size_t old_size, size_t size)
{
    void *moved = take(size);

    if (moved && block) {
        memcpy(moved, block, size < old_size ? size : old_size);
        ff_mem_free(block);
    }
    return moved;
}

static void free_block(void *block)
{
    if (!is_inside(block)) {
        ff_mem_free(block);
        return;
    }
    (void)pthread_mutex_lock(&lock);
    give_back();
    (void)pthread_mutex_unlock(&lock);
}

void *ff_reserve_realloc(void *block, size_t size)
{
    void *moved = NULL;

    if (size == 0) {
        free_block(block);
        return NULL;
    }
    if (!is_inside(block))
        moved = ff_mem_realloc(block, size);
    if (moved)
        return moved;
    (void)pthread_mutex_lock(&lock);
    moved = is_inside(block) ? move(block, size) : move_in(block, ff_mem_size(block), size);
    (void)pthread_mutex_unlock(&lock);
    return moved;
}

bool ff_reserve_is_low(void)
{
    return used > RESERVE / 2;
}
