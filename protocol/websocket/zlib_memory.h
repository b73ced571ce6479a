/* SPDX-License-Identifier: Apache-2.0 */
/* zlib_memory.h - zlib as this floor has it: with constant input, and memory by ff_mem_*. */
#ifndef WEBSOCKET_ZLIB_MEMORY_H
#define WEBSOCKET_ZLIB_MEMORY_H

#define ZLIB_CONST
#include <zlib.h>

#include "protocol/base/mem.h"

static inline voidpf zlib_allocate(voidpf arg, uInt count, uInt size)
{
    (void)arg;
    return ff_mem_alloc((size_t)count * size);
}

static inline void zlib_release(voidpf arg, voidpf block)
{
    (void)arg;
    ff_mem_free(block);
}

/* A stream to be initialized. */
static inline z_stream zlib_stream(void)
{
    return (z_stream){.zalloc = zlib_allocate, .zfree = zlib_release};
}

#endif
