/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket/inflater.h"

#include <limits.h>

#include "protocol/base/mem.h"
#include "protocol/websocket/zlib_memory.h"

enum {
    LEAST_BITS = 9,        /* senders with zlib have made 2^9 of 2^8 */
    AT_BLOCK_BORDER = 128, /* of z_stream.data_type: see inflate() in zlib.h */
    UNUSED_BITS = 7,
};

struct ff_inflater {
    z_stream z;
    uint64_t taken;
    bool has_ended; /* with a block that is marked as the last one: the next one begins anew */
};

/* What every compressed message would end with, and none does (section 7.2.1). */
static const uint8_t left_out[] = {0x00, 0x00, 0xff, 0xff};

struct ff_inflater *ff_inflater_new(unsigned bits)
{
    struct ff_inflater *inflater = ff_mem_zalloc(sizeof(*inflater));

    if (!inflater)
        return NULL;
    inflater->z = zlib_stream();
    if (inflateInit2(&inflater->z, -(int)(bits < LEAST_BITS ? LEAST_BITS : bits)) != Z_OK) {
        ff_mem_free(inflater);
        return NULL;
    }
    return inflater;
}

void ff_inflater_free(struct ff_inflater *inflater)
{
    if (!inflater)
        return;
    (void)inflateEnd(&inflater->z);
    ff_mem_free(inflater);
}

/*
 * Behind a last block a message may go on, and the next one may lean on what came before
 * it (section 7.2.3.5): the window stays.
 */
static void begin_anew(struct ff_inflater *inflater)
{
    (void)inflateResetKeep(&inflater->z);
    inflater->has_ended = false;
}

static unsigned least(size_t len)
{
    return len < UINT_MAX ? (unsigned)len : UINT_MAX;
}

/* One call of zlib, which takes lengths of 32 bits. */
static int call(struct ff_inflater *inflater, struct ff_inflation *io)
{
    z_stream *z = &inflater->z;
    unsigned in_len = least(io->in_len);
    unsigned out_len = least(io->out_len);
    int result;

    z->next_in = io->in;
    z->avail_in = in_len;
    z->next_out = io->out;
    z->avail_out = out_len;
    result = inflate(z, Z_SYNC_FLUSH);
    io->in += in_len - z->avail_in;
    io->in_len -= in_len - z->avail_in;
    io->out += out_len - z->avail_out;
    io->out_len -= out_len - z->avail_out;
    inflater->taken += in_len - z->avail_in;
    return result;
}

enum ff_err ff_inflater_step(struct ff_inflater *inflater, struct ff_inflation *io)
{
    int result = Z_OK;

    if (!io->in_len && !inflater->has_ended) /* what zlib still holds */
        result = call(inflater, io);
    /* A last block takes at least one octet, so this ends. */
    while (io->in_len && io->out_len && (result == Z_OK || result == Z_STREAM_END)) {
        if (inflater->has_ended)
            begin_anew(inflater);
        result = call(inflater, io);
        inflater->has_ended = result == Z_STREAM_END;
    }
    inflater->has_ended |= result == Z_STREAM_END;
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR)
        return FF_OK;
    return result == Z_MEM_ERROR ? FF_ENOMEM : FF_EINVAL;
}

bool ff_inflater_begin_end(struct ff_inflater *inflater, struct ff_inflation *io)
{
    io->in = left_out;
    /* A message of no octets at all is an empty one. */
    io->in_len = inflater->has_ended || !inflater->taken ? 0 : sizeof(left_out);
    return io->in_len > 0;
}

bool ff_inflater_end(struct ff_inflater *inflater)
{
    bool is_whole =
        inflater->has_ended || !inflater->taken ||
        ((inflater->z.data_type & AT_BLOCK_BORDER) && !(inflater->z.data_type & UNUSED_BITS));

    inflater->taken = 0;
    return is_whole;
}

uint64_t ff_inflater_taken(const struct ff_inflater *inflater)
{
    return inflater->taken;
}
