/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem.h - the one door to the heap.
 *
 * Every allocation of Fanfare goes through here, so that live bytes can be
 * counted in every build, so that a budget can be kept, and so that a test can
 * make the k-th allocation fail. Each thread counts for itself; who asks for a
 * sum reads a cache line for each thread, so it is asked for once a turn.
 *
 * All functions that return memory may return NULL, which is an ordinary
 * error. ff_mem_free(NULL) is allowed.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/check.h"

/* Uninitialised memory. `size` > 0. */
FF_MUST_CHECK void *ff_mem_alloc(size_t size);

/* Memory filled with zeros. `size` > 0. */
FF_MUST_CHECK void *ff_mem_zalloc(size_t size);

enum { FF_CACHE_LINE = 64 };

/* Uninitialised, at a multiple of `alignment` (a power of two that divides `size`). */
FF_MUST_CHECK void *ff_mem_alloc_aligned(size_t alignment, size_t size);

/* As realloc; on failure the old block stays valid. `size` > 0. */
FF_MUST_CHECK void *ff_mem_realloc(void *block, size_t size);

/* A copy of `size` bytes with a NUL behind them; the caller owns it. */
FF_MUST_CHECK char *ff_mem_dup(const void *bytes, size_t size);

void ff_mem_free(void *block);

/* Octets of a block that may be used, at least what was asked for; 0 of NULL. */
size_t ff_mem_size(void *block);

/*
 * What this thread has allocated less what it has freed, others' blocks too: only
 * the difference of two such values means something. Costs nothing to ask for.
 */
int64_t ff_mem_own_bytes(void);

/* Bytes and blocks allocated and not yet freed, as the heap counts them. */
size_t ff_mem_live_bytes(void);
size_t ff_mem_live_blocks(void);

/* How many allocations have been asked for since the start of the program. */
uint64_t ff_mem_count(void);

/* Is much less in use than was when this was last asked, or trimmed? To be asked once a second. */
bool ff_mem_wants_trim(void);

/*
 * Gives the heap's free pages back to the kernel. (glibc keeps what lies below
 * the highest block in use.) It takes its time, and those who ask the heap for
 * memory meanwhile wait.
 */
void ff_mem_trim(void);

/* Tests: the k-th allocation from now on fails, once. 0 turns it off. */
void ff_mem_fail_at(uint64_t k);

/* Tests: from now on about one allocation in `n` fails, which ones `seed` decides. 0 turns it off.
 */
void ff_mem_fail_often(uint64_t n, uint64_t seed);

/* Tests: while true, allocations are neither asked for nor failed: a test's own peers. */
void ff_mem_exempt(bool is_exempt);

#endif
