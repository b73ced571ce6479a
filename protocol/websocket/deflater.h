/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deflater.h - compresses whole messages, each from an empty window (RFC 7692, section
 * 7.2.1, with no context takeover), so that one deflater serves everybody who agreed to a
 * window as large as its own.
 */
#ifndef WEBSOCKET_DEFLATER_H
#define WEBSOCKET_DEFLATER_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/base/check.h"

struct ff_deflater;

enum {
    FF_DEFLATER_BITS_LEAST = 9, /* zlib has no window of 2^8 for raw data */
    FF_DEFLATE_LEVEL_MOST = 9,
};

/*
 * `bits`: the window, 9 to 15; `level`: 1 is the fastest, 9 the smallest. About 100 KiB for
 * the largest window, all of it taken here. NULL: out of memory.
 */
FF_MUST_CHECK struct ff_deflater *ff_deflater_new(unsigned bits, int level);
void ff_deflater_free(struct ff_deflater *deflater);

/*
 * Compresses a message into `room` octets, of which 4 are left over at the end; its size, or
 * 0: it is not that small. With a `room` of `len` it becomes smaller, or 0.
 */
size_t ff_deflater_run(struct ff_deflater *deflater, uint8_t *out, size_t room, const uint8_t *in,
                       size_t len);

#endif
