/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct edge_page edge_page_new(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct edge_page edge = {.size = (size + page - 1) / page * page};

    edge.memory =
        mmap(NULL, edge.size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(edge.memory != MAP_FAILED);
    assert_int_equal(mprotect(edge.memory + edge.size, page, PROT_NONE), 0);
    return edge;
}

void edge_page_free(struct edge_page edge)
{
    (void)munmap(edge.memory, edge.size + (size_t)sysconf(_SC_PAGESIZE));
}

uint8_t *edge_page_put(struct edge_page edge, const void *bytes, size_t len)
{
    uint8_t *at = edge.memory + edge.size - len;

    if (len)
        memcpy(at, bytes, len);
    return at;
}

void for_each_failing_allocation(void (*body)(void))
{
    size_t before = ff_mem_live_blocks();

    for (uint64_t k = 1;; k++) {
        uint64_t asked = ff_mem_count();
        bool is_reached;

        ff_mem_fail_at(k);
        body();
        is_reached = ff_mem_count() - asked >= k;
        ff_mem_fail_at(0);
        assert_int_equal(ff_mem_live_blocks(), before);
        if (!is_reached)
            return;
    }
}

uint64_t dice_roll(struct dice *dice)
{
    dice->state ^= dice->state >> 12;
    dice->state ^= dice->state << 25;
    dice->state ^= dice->state >> 27;
    return dice->state * 2685821657736338717U;
}

uint32_t dice_below(struct dice *dice, uint32_t limit)
{
    return (uint32_t)((dice_roll(dice) >> 32) % limit);
}

uint64_t test_option(int argc, char **argv, const char *name, uint64_t preset)
{
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0)
            preset = strtoull(argv[i + 1], NULL, 10);
    return preset;
}

int nothing_leaked(void **state)
{
    (void)state;
    return ff_mem_live_blocks() == 0 ? 0 : -1;
}
