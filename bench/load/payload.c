/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/payload.h"

#include <stdio.h>

#include "bench/load/options.h"
#include "protocol/base/check.h"

enum { FILLING = 1 << 20, RECORD_MAX = 64 };

static char text[FILLING + RECORD_MAX];

void payload_use_records(void)
{
    static const char *const names[] = {"ada", "grace", "alan", "edsger", "barbara", "donald"};
    uint32_t x = 1;

    for (size_t at = 0; at < FILLING;) {
        x = x * 1664525 + 1013904223;
        at += (size_t)snprintf(text + at, RECORD_MAX, "id:%u,user:%s,price:%u.%02u,ok:%s; ",
                               x >> 12, names[(x >> 8) % FF_COUNT(names)], x % 977, x % 97,
                               x & 1U << 20 ? "true" : "false");
    }
}

static const char *filling(void)
{
    if (!text[0])
        for (size_t i = 0; i < FILLING; i++)
            text[i] = (char)('a' + i * 7 % 26);
    return text;
}

/* Eight letters for 32 bits, and back; nibbles are spread over bytes and gathered again. */
static void write_u32(char *out, uint32_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (char)('a' + (v >> (4 * i) & 15));
}

static uint32_t read_u32(const char *in, uint64_t *wrong)
{
    uint64_t x;

    memcpy(&x, in, 8);
    x -= 0x6161616161616161U;
    *wrong |= x & 0xf0f0f0f0f0f0f0f0U;
    x = (x | x >> 4) & 0x00ff00ff00ff00ffU;
    x = (x | x >> 8) & 0x0000ffff0000ffffU;
    return (uint32_t)(x | x >> 16);
}

struct ff_slice payload_write(char *room, size_t size, const struct stamp *stamp)
{
    write_u32(room, stamp->number);
    write_u32(room + 8, stamp->publisher);
    write_u32(room + 16, (uint32_t)stamp->time_ns);
    write_u32(room + 24, (uint32_t)(stamp->time_ns >> 32));
    memcpy(room + PAYLOAD_MIN, filling(), size - PAYLOAD_MIN);
    return (struct ff_slice){room, size};
}

bool payload_read(struct ff_slice payload, size_t size, struct stamp *stamp)
{
    uint64_t wrong = 0;

    if (payload.len != size)
        return false;
    stamp->number = read_u32(payload.at, &wrong);
    stamp->publisher = read_u32(payload.at + 8, &wrong);
    stamp->time_ns = read_u32(payload.at + 16, &wrong);
    stamp->time_ns |= (uint64_t)read_u32(payload.at + 24, &wrong) << 32;
    return !wrong && memcmp(payload.at + PAYLOAD_MIN, filling(), size - PAYLOAD_MIN) == 0;
}
