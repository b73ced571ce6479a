/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed messages: frames with payloads of the input's, read whole and in pieces, by a
 * reader that may be leant on and one that may not. Both ways must see the same, within the
 * memory there is for it, and what zlib by itself makes of each whole message.
 */
#include <stdlib.h>
#include <string.h>

#include "protocol/base/mem.h"
#include "protocol/websocket/reader.h"
#include "protocol/websocket/zlib_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_MESSAGE = 2000, MOST_HELD = MAX_MESSAGE + 60000, ROOM = 1 << 16, OUT = 4096 };

struct stream {
    uint8_t bytes[ROOM];
    size_t len;
};

/* What was seen, so far as it must be the same however it was cut. */
struct seen {
    uint64_t hash;
    unsigned events;
    size_t first_len; /* of the first message, */
    uint8_t first[MAX_MESSAGE];
    bool has_first;
};

static void mix(struct seen *seen, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++)
        seen->hash = (seen->hash ^ at[i]) * 1099511628211U;
}

static void note(struct seen *seen, const struct ff_reader_event *e)
{
    int of[2] = {(int)e->kind, e->kind == FF_READER_FAIL ? e->code : (int)e->len};

    if (e->kind == FF_READER_MORE)
        return;
    seen->events++;
    mix(seen, of, sizeof(of));
    if (e->kind != FF_READER_FAIL)
        mix(seen, e->bytes, e->len);
    if (e->kind != FF_READER_MESSAGE || seen->has_first)
        return;
    if (e->len > MAX_MESSAGE)
        abort();
    seen->has_first = true;
    seen->first_len = e->len;
    if (e->len)
        memcpy(seen->first, e->bytes, e->len);
}

/* Frames of the input: an octet with FIN, RSV1 and kind, one with the length, then the payload. */
static size_t make_frame(struct stream *s, const uint8_t *data, size_t size)
{
    static const uint8_t opcodes[] = {FF_OP_TEXT, FF_OP_BINARY, FF_OP_CONTINUATION,
                                      FF_OP_CONTINUATION, FF_OP_PING};
    static const uint8_t mask[4] = {0};
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t len = data[1];
    size_t head_len;

    if (len > size - 2)
        len = size - 2;
    head_len = ff_frame_write_masked_head(head, FF_OP_TEXT, len, mask);
    head[0] = (uint8_t)((data[0] & 0x80) | (data[0] & 0x40) |
                        opcodes[(data[0] & 0x0f) % FF_COUNT(opcodes)]);
    if (s->len + head_len + len > ROOM)
        return size;
    memcpy(s->bytes + s->len, head, head_len);
    memcpy(s->bytes + s->len + head_len, data + 2, len);
    s->len += head_len + len;
    return 2 + len;
}

static void read_all(const struct stream *s, bool may_lean, size_t piece, struct seen *seen)
{
    size_t before = ff_mem_live_bytes();
    struct ff_reader r;
    size_t at = 0;

    *seen = (struct seen){.hash = 14695981039346656037U};
    ff_reader_init(&r, FF_ROLE_SERVER, MAX_MESSAGE);
    ff_reader_inflate(&r, 15, may_lean);
    while (at < s->len && !r.is_failed) {
        size_t len = piece && s->len - at > piece ? piece : s->len - at;
        uint8_t *copy = malloc(len);
        size_t done = 0;

        if (!copy)
            abort();
        memcpy(copy, s->bytes + at, len);
        while (done < len && !r.is_failed) {
            struct ff_reader_event e;
            size_t used;

            ff_reader_next(&r, copy + done, len - done, &used, &e);
            done += used;
            note(seen, &e);
            if (ff_mem_live_bytes() - before > MOST_HELD)
                abort();
            ff_reader_release(&r);
        }
        free(copy);
        at += len;
    }
    ff_reader_deinit(&r);
    if (ff_mem_live_bytes() != before)
        abort();
}

/* One message, in one frame: what is it? -1: zlib has another opinion of its end. */
static long inflate_alone(const uint8_t *payload, size_t len, uint8_t out[OUT])
{
    static const uint8_t end[] = {0, 0, 0xff, 0xff};
    z_stream z = zlib_stream();
    long made = -1;
    int result;

    if (inflateInit2(&z, -15) != Z_OK)
        abort();
    z.next_in = payload;
    z.avail_in = (unsigned)len;
    z.next_out = out;
    z.avail_out = OUT;
    result = inflate(&z, Z_SYNC_FLUSH);
    if ((result == Z_OK || result == Z_BUF_ERROR) && z.avail_out) {
        z.next_in = end;
        z.avail_in = sizeof(end);
        result = inflate(&z, Z_SYNC_FLUSH);
        if (result == Z_OK && z.avail_out && (z.data_type & 128))
            made = OUT - (long)z.avail_out;
    }
    (void)inflateEnd(&z);
    return made;
}

static void compare_with_zlib(const uint8_t *data, size_t size)
{
    static struct stream s;
    static struct seen seen;
    static uint8_t out[OUT];
    uint8_t head[2] = {0x80 | 0x40 | 1, (uint8_t)(size > 255 ? 255 : size)}; /* binary */
    long made;

    s.len = 0;
    memcpy(out, head, sizeof(head));
    memcpy(out + 2, data, head[1]);
    (void)make_frame(&s, out, 2U + head[1]);
    read_all(&s, false, 0, &seen);
    made = head[1] ? inflate_alone(data, head[1], out) : 0;
    if (made < 0 || made > MAX_MESSAGE)
        return;
    if (!seen.has_first || seen.first_len != (size_t)made ||
        (made && memcmp(seen.first, out, (size_t)made) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stream s;
    static struct seen whole;
    static struct seen split;

    if (size < 4 || size > 4096)
        return 0;
    s.len = 0;
    for (size_t at = 1; at + 2 <= size;)
        at += make_frame(&s, data + at, size - at);
    read_all(&s, data[0] & 1, 0, &whole);
    read_all(&s, data[0] & 1, (data[0] >> 1) % 40 + 1U, &split);
    if (whole.hash != split.hash || whole.events != split.events)
        abort();
    compare_with_zlib(data + 1, size - 1);
    return 0;
}
