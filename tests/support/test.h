/* SPDX-License-Identifier: Apache-2.0 */
/* test.h - what every unit test includes: cmocka, the edge page, failing allocations. */
#ifndef SUPPORT_TEST_H
#define SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"

#include <cmocka.h>

/* Memory that ends right before an unreadable page: reading past the end is a crash. */
struct edge_page {
    uint8_t *memory;
    size_t size;
};

struct edge_page edge_page_new(size_t size);
void edge_page_free(struct edge_page page);

/* A copy of `bytes` that ends at the edge. */
uint8_t *edge_page_put(struct edge_page page, const void *bytes, size_t len);

/* Runs `body` with its 1st, 2nd, 3rd ... allocation failing until none fails; nothing may leak. */
void for_each_failing_allocation(void (*body)(void));

/* A small generator for random tests (xorshift64*); the seed is printed by whoever draws it. */
struct dice {
    uint64_t state;
};
uint64_t dice_roll(struct dice *dice);
uint32_t dice_below(struct dice *dice, uint32_t limit);

/* The value of `--name VALUE` among a test program's arguments, or the preset. */
uint64_t test_option(int argc, char **argv, const char *name, uint64_t preset);

/* A teardown: nothing may be left on the heap. */
int nothing_leaked(void **state);

#endif
