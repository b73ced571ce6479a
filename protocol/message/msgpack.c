/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/msgpack.h"

#include <math.h>

#include "protocol/base/utf8.h"

static bool take_bytes(struct ff_msgpack *m, struct ff_slice *out, uint64_t len)
{
    if (len > (uint64_t)(m->end - m->at))
        return false;
    *out = (struct ff_slice){m->at, (size_t)len};
    m->at += len;
    return true;
}

/* A big-endian integer of 1, 2, 4 or 8 octets. */
static bool take_uint(struct ff_msgpack *m, size_t size, uint64_t *out)
{
    struct ff_slice raw;

    if (!take_bytes(m, &raw, size))
        return false;
    *out = 0;
    for (size_t i = 0; i < size; i++)
        *out = *out << 8 | (uint8_t)raw.at[i];
    return true;
}

static void set_signed(struct ff_msgpack_item *item, int64_t v)
{
    item->kind = v < 0 ? FF_MSGPACK_INT : FF_MSGPACK_UINT;
    item->i = v;
}

static bool set_sized(struct ff_msgpack *m, struct ff_msgpack_item *item, enum ff_msgpack_kind kind,
                      size_t length_size)
{
    uint64_t len;

    item->kind = kind;
    if (!take_uint(m, length_size, &len))
        return false;
    if (kind == FF_MSGPACK_EXT)
        len++; /* its type octet */
    return take_bytes(m, &item->bytes, len);
}

static bool set_container(struct ff_msgpack *m, struct ff_msgpack_item *item,
                          enum ff_msgpack_kind kind, uint64_t count)
{
    uint64_t least =
        kind == FF_MSGPACK_MAP ? count * 2 : count; /* an element is an octet or more */

    item->kind = kind;
    item->count = (uint32_t)count;
    return least <= (uint64_t)(m->end - m->at);
}

static bool take_counted(struct ff_msgpack *m, struct ff_msgpack_item *item,
                         enum ff_msgpack_kind kind, size_t length_size)
{
    uint64_t count;

    return take_uint(m, length_size, &count) && set_container(m, item, kind, count);
}

static bool take_float(struct ff_msgpack *m, struct ff_msgpack_item *item, bool is_double)
{
    uint64_t bits;
    uint32_t half;
    float f;

    item->kind = FF_MSGPACK_DOUBLE;
    item->count = is_double ? 8 : 4;
    if (!take_uint(m, is_double ? 8 : 4, &bits))
        return false;
    if (is_double) {
        memcpy(&item->d, &bits, sizeof(item->d));
    } else {
        half = (uint32_t)bits;
        memcpy(&f, &half, sizeof(f));
        item->d = (double)f;
    }
    return true;
}

/* The formats c0 to df, each with an octet of its own. */
static bool take_format(struct ff_msgpack *m, struct ff_msgpack_item *item, uint8_t c)
{
    uint64_t u = 0;

    if (c <= 0xc3) {
        item->kind = c == 0xc0 ? FF_MSGPACK_NIL : FF_MSGPACK_BOOL;
        item->b = c == 0xc3;
        return c != 0xc1;
    }
    if (c <= 0xc6)
        return set_sized(m, item, FF_MSGPACK_BIN, 1U << (c - 0xc4));
    if (c <= 0xc9)
        return set_sized(m, item, FF_MSGPACK_EXT, 1U << (c - 0xc7));
    if (c <= 0xcb)
        return take_float(m, item, c == 0xcb);
    if (c <= 0xcf) {
        item->kind = FF_MSGPACK_UINT;
        return take_uint(m, 1U << (c - 0xcc), &item->u);
    }
    if (c <= 0xd3) {
        unsigned unused = 64 - (8U << (c - 0xd0));

        if (!take_uint(m, 1U << (c - 0xd0), &u))
            return false;
        set_signed(item, (int64_t)(u << unused) >> unused);
        return true;
    }
    if (c <= 0xd8) {
        item->kind = FF_MSGPACK_EXT;
        return take_bytes(m, &item->bytes, 1 + (1U << (c - 0xd4)));
    }
    if (c <= 0xdb)
        return set_sized(m, item, FF_MSGPACK_STR, 1U << (c - 0xd9));
    return take_counted(m, item, c <= 0xdd ? FF_MSGPACK_ARRAY : FF_MSGPACK_MAP, c & 1 ? 4 : 2);
}

enum ff_err ff_msgpack_take_item(struct ff_msgpack *m, struct ff_msgpack_item *item)
{
    bool is_good = true;
    uint8_t c;

    if (m->at == m->end)
        return FF_EINVAL;
    c = (uint8_t)*m->at++;
    *item = (struct ff_msgpack_item){.kind = FF_MSGPACK_UINT};
    if (c <= 0x7f) {
        item->u = c;
    } else if (c <= 0x8f) {
        is_good = set_container(m, item, FF_MSGPACK_MAP, c & 15);
    } else if (c <= 0x9f) {
        is_good = set_container(m, item, FF_MSGPACK_ARRAY, c & 15);
    } else if (c <= 0xbf) {
        item->kind = FF_MSGPACK_STR;
        is_good = take_bytes(m, &item->bytes, c & 31);
    } else if (c >= 0xe0) {
        set_signed(item, (int8_t)c);
    } else {
        is_good = take_format(m, item, c);
    }
    return is_good ? FF_OK : FF_EINVAL;
}

static unsigned validate_item(const struct ff_msgpack_item *item, bool is_top, bool is_key)
{
    unsigned faults = 0;

    if (is_key && item->kind != FF_MSGPACK_STR)
        faults |= FF_FAULT_KEY;
    if (item->kind == FF_MSGPACK_EXT)
        faults |= FF_FAULT_EXT;
    if (item->kind == FF_MSGPACK_BIN && !is_top)
        faults |= FF_FAULT_BIN;
    if (item->kind == FF_MSGPACK_DOUBLE && !isfinite(item->d))
        faults |= FF_FAULT_FINITE;
    if (item->kind == FF_MSGPACK_STR && !ff_utf8_is_valid(item->bytes.at, item->bytes.len))
        faults |= FF_FAULT_UTF8;
    return faults;
}

/* Elements still to come at each level; a map counts keys and values, so an even rest is a key. */
struct nest {
    unsigned depth;
    struct {
        uint64_t left;
        bool is_map;
    } at[FF_JSON_NESTING_MAX];
};

/* A container begins. FF_OK, FF_ELIMIT. */
static enum ff_err open_container(struct nest *nest, const struct ff_msgpack_item *item,
                                  unsigned *faults)
{
    bool is_map = item->kind == FF_MSGPACK_MAP;

    if (nest->depth >= FF_DEPTH_MAX)
        *faults |= FF_FAULT_DEEP;
    if (nest->depth == FF_JSON_NESTING_MAX)
        return FF_ELIMIT;
    nest->at[nest->depth].is_map = is_map;
    nest->at[nest->depth++].left = (uint64_t)item->count * (is_map ? 2 : 1);
    return FF_OK;
}

enum ff_err ff_msgpack_take(struct ff_msgpack *m, struct ff_slice *value, unsigned *faults)
{
    struct nest nest;

    nest.depth = 0;
    value->at = m->at;
    do {
        struct ff_msgpack_item item;
        bool is_key = false;

        if (ff_msgpack_take_item(m, &item))
            return FF_EINVAL;
        if (nest.depth) {
            is_key = nest.at[nest.depth - 1].is_map && nest.at[nest.depth - 1].left % 2 == 0;
            nest.at[nest.depth - 1].left--;
        }
        *faults |= validate_item(&item, nest.depth == 0, is_key);
        if ((item.kind == FF_MSGPACK_ARRAY || item.kind == FF_MSGPACK_MAP) &&
            open_container(&nest, &item, faults))
            return FF_ELIMIT;
        while (nest.depth && nest.at[nest.depth - 1].left == 0)
            nest.depth--;
    } while (nest.depth);
    value->len = (size_t)(m->at - value->at);
    return FF_OK;
}

static char *write_sized(char *out, const uint8_t formats[3], uint32_t count)
{
    if (formats[0] && count <= UINT8_MAX) {
        *out++ = (char)formats[0];
        *out++ = (char)count;
        return out;
    }
    if (count <= UINT16_MAX) {
        *out++ = (char)formats[1];
        ff_store_u16(out, (uint16_t)count);
        return out + 2;
    }
    *out++ = (char)formats[2];
    ff_store_u32(out, count);
    return out + 4;
}

char *ff_msgpack_write_head(char *out, enum ff_msgpack_kind kind, uint32_t count)
{
    static const uint8_t str[] = {0xd9, 0xda, 0xdb};
    static const uint8_t bin[] = {0xc4, 0xc5, 0xc6};
    static const uint8_t array[] = {0, 0xdc, 0xdd};
    static const uint8_t map[] = {0, 0xde, 0xdf};

    if (kind == FF_MSGPACK_BIN)
        return write_sized(out, bin, count);
    if (kind == FF_MSGPACK_STR) {
        if (count > 31)
            return write_sized(out, str, count);
        *out++ = (char)(0xa0 | count);
        return out;
    }
    if (count > 15)
        return write_sized(out, kind == FF_MSGPACK_MAP ? map : array, count);
    *out++ = (char)((kind == FF_MSGPACK_MAP ? 0x80 : 0x90) | count);
    return out;
}

char *ff_msgpack_write_uint(char *out, uint64_t u)
{
    if (u <= 0x7f) {
        *out++ = (char)u;
    } else if (u <= UINT8_MAX) {
        *out++ = (char)0xcc;
        *out++ = (char)u;
    } else if (u <= UINT16_MAX) {
        *out++ = (char)0xcd;
        ff_store_u16(out, (uint16_t)u);
        out += 2;
    } else if (u <= UINT32_MAX) {
        *out++ = (char)0xce;
        ff_store_u32(out, (uint32_t)u);
        out += 4;
    } else {
        *out++ = (char)0xcf;
        ff_store_u64(out, u);
        out += 8;
    }
    return out;
}
