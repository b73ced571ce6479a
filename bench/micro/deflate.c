/* SPDX-License-Identifier: Apache-2.0 */
/* Compressing for a log, and what a client sent: records, each with a number of its own. */
#include <stdio.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "protocol/base/check.h"
#include "protocol/websocket/deflater.h"
#include "protocol/websocket/inflater.h"

enum { MESSAGES = 32, LARGEST = 4096, RECORD_MAX = 80, BITS = 15, LEVEL = 3 };

static char records[MESSAGES][LARGEST + RECORD_MAX];
static uint8_t out[LARGEST];

static void make_records(void)
{
    static const char *const names[] = {"ada", "grace", "alan", "edsger", "barbara", "donald"};
    uint32_t x = 1;

    for (size_t i = 0; i < MESSAGES; i++) {
        for (size_t at = 0; at < LARGEST;) {
            x = x * 1664525 + 1013904223;
            at += (size_t)snprintf(records[i] + at, RECORD_MAX,
                                   "{\"id\":%u,\"user\":\"%s\",\"price\":%u.%02u,\"ok\":%s},",
                                   x >> 12, names[(x >> 8) % (uint32_t)FF_COUNT(names)], x % 977,
                                   x % 97, x & 1U << 20 ? "true" : "false");
        }
    }
}

static size_t pack_one(uint8_t *packed, size_t size)
{
    struct ff_deflater *deflater = ff_deflater_new(BITS, LEVEL);
    size_t len;

    must(deflater, "a deflater");
    make_records();
    len = ff_deflater_run(deflater, packed, size, (const uint8_t *)records[0], size);
    ff_deflater_free(deflater);
    must(len > 0, "records become less");
    return len;
}

static void compress(uint64_t times, size_t len)
{
    struct ff_deflater *deflater = ff_deflater_new(BITS, LEVEL);
    size_t made = 0;

    must(deflater, "a deflater");
    if (!records[0][0])
        make_records();
    for (uint64_t i = 0; i < times; i++)
        made += ff_deflater_run(deflater, out, len, (const uint8_t *)records[i % MESSAGES], len);
    must(made > 0 && made < times * len / 2, "records become less than half");
    ff_deflater_free(deflater);
}

void micro_deflate_1k(uint64_t times)
{
    compress(times, LARGEST / 4);
}

void micro_deflate_4k(uint64_t times)
{
    compress(times, LARGEST);
}

/* With an inflater for each message, as for a client that promised to forget. */
void micro_inflate_1k(uint64_t times)
{
    static uint8_t packed[LARGEST / 4];
    static size_t len;

    if (!len)
        len = pack_one(packed, sizeof(packed));
    for (uint64_t i = 0; i < times; i++) {
        struct ff_inflater *inflater = ff_inflater_new(BITS);
        struct ff_inflation io = {packed, len, out, sizeof(out)};

        must(inflater && ff_inflater_step(inflater, &io) == FF_OK, "deflate data");
        must(io.out_len == sizeof(out) - sizeof(packed), "all of it");
        ff_inflater_free(inflater);
    }
}
