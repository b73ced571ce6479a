/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Redis says. However it is cut on its way the same replies are read of it, and the same end;
 * arrays have as many children as they say, and all of them are there; no text lies outside.
 * The first octet decides where it is cut.
 */
#include <stdlib.h>

#include "broker/redis/reply.h"
#include "tests/support/memory_sanitizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REPLIES_MAX = 4096 };

/* What was read: a hash of each reply, and how it ended. */
struct story {
    uint64_t replies[REPLIES_MAX];
    size_t count;
    enum redis_reading end;
};

static uint64_t mix(uint64_t hash, const void *octets, size_t len)
{
    const uint8_t *at = octets;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    return hash;
}

static uint64_t hash_value(uint64_t hash, const struct redis_reply *reply, uint32_t i)
{
    const struct redis_value *value = &reply->values[i];
    struct ff_slice text = redis_text(reply, i);

    check_initialized(value, sizeof(*value));
    hash = mix(hash, &value->kind, sizeof(value->kind));
    hash = mix(hash, &value->count, sizeof(value->count));
    hash = mix(hash, &value->integer, sizeof(value->integer));
    hash = mix(hash, &text.len, sizeof(text.len));
    return mix(hash, text.at, text.len);
}

/* Each array's children end where the next value begins that is not within it. */
static void check_order(const struct redis_reply *reply, size_t size)
{
    if (reply->count == 0 || reply->count > size || redis_next(reply, 0) != reply->count)
        abort();
    for (uint32_t i = 0; i < reply->count; i++) {
        const struct redis_value *value = &reply->values[i];
        uint32_t child = i + 1;

        if (value->kind != REDIS_ARRAY && value->count != 0)
            abort();
        for (uint32_t n = 0; n < value->count; n++) {
            if (child >= reply->count)
                abort();
            child = redis_next(reply, child);
        }
        if (child != redis_next(reply, i))
            abort();
        if (value->kind == REDIS_ARRAY || value->kind == REDIS_INTEGER || value->kind == REDIS_NIL)
            if (redis_text(reply, i).at)
                abort();
    }
}

static void read_all(struct redis_reader *reader, struct story *story, size_t size)
{
    struct redis_reply reply;

    while ((story->end = redis_reader_next(reader, &reply)) == REDIS_READER_REPLY) {
        uint64_t hash = UINT64_C(14695981039346656037);

        check_order(&reply, size);
        for (uint32_t i = 0; i < reply.count; i++)
            hash = hash_value(hash, &reply, i);
        if (story->count < REPLIES_MAX)
            story->replies[story->count++] = hash;
    }
    if (story->end == REDIS_READER_BAD && !reader->why)
        abort();
}

static void tell(struct story *story, const uint8_t *data, size_t size, uint32_t cut)
{
    struct redis_reader reader;

    redis_reader_init(&reader);
    story->count = 0;
    story->end = REDIS_READER_MORE;
    for (size_t at = 0; at < size;) {
        size_t len = cut ? 1 + cut % 7 * (cut % 11) : size;

        cut = cut ? cut * 1664525U + 1013904223U : 0;
        cut = cut >> 1 | 1U;
        if (len > size - at || len == 0)
            len = size - at;
        redis_reader_feed(&reader, data + at, len);
        at += len;
        read_all(&reader, story, size);
    }
    redis_reader_deinit(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct story whole;
    static struct story cut;

    if (size < 2)
        return 0;
    tell(&whole, data + 1, size - 1, 0);
    tell(&cut, data + 1, size - 1, data[0] + 1U);
    if (whole.end != cut.end || whole.count != cut.count ||
        memcmp(whole.replies, cut.replies, whole.count * sizeof(whole.replies[0])) != 0)
        abort();
    return 0;
}
