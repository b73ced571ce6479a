/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reserve.h - memory for a library that cannot be told no.
 *
 * libev ends the process when its allocator has nothing. So it gets the heap
 * first, and when that fails a reserve of 1 MiB, set aside from the start (pages
 * that nobody touches cost nothing). While more than half of it is gone the
 * broker takes no newcomers, so that it does not run out.
 */
#ifndef BASE_RESERVE_H
#define BASE_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

/* As realloc; size 0 frees. NULL only when the reserve, too, is used up. Of one thread. */
void *ff_reserve_realloc(void *block, size_t size);

/* Is more than half of the reserve gone? */
bool ff_reserve_is_low(void);

#endif
