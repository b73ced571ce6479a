/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket/deflater.h"

#include <limits.h>

#include "protocol/base/mem.h"
#include "protocol/websocket/zlib_memory.h"

enum {
    MEMORY_LEVEL = 6, /* a hash of 2^13: messages are small, and it is cleared for each */
    LEFT_OUT = 4,     /* 00 00 ff ff, which ends every message and is not sent */
};

struct ff_deflater {
    z_stream z;
};

struct ff_deflater *ff_deflater_new(unsigned bits, int level)
{
    struct ff_deflater *deflater = ff_mem_zalloc(sizeof(*deflater));

    if (!deflater)
        return NULL;
    deflater->z = zlib_stream();
    if (deflateInit2(&deflater->z, level, Z_DEFLATED, -(int)bits, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        ff_mem_free(deflater);
        return NULL;
    }
    return deflater;
}

void ff_deflater_free(struct ff_deflater *deflater)
{
    if (!deflater)
        return;
    (void)deflateEnd(&deflater->z);
    ff_mem_free(deflater);
}

size_t ff_deflater_run(struct ff_deflater *deflater, uint8_t *out, size_t room, const uint8_t *in,
                       size_t len)
{
    z_stream *z = &deflater->z;

    if (len > UINT_MAX || room > UINT_MAX - LEFT_OUT)
        return 0;
    (void)deflateReset(z);
    z->next_in = in;
    z->avail_in = (unsigned)len;
    z->next_out = out;
    z->avail_out = (unsigned)room;
    /* With no room left behind what was flushed it may not be whole (zlib.h). */
    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_in || z->avail_out == 0)
        return 0;
    return room - z->avail_out - LEFT_OUT;
}
