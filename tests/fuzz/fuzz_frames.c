/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of frames, read whole, read in pieces, and read by the naive reader
 * of the tests: all three must see the same. The first octet chooses the pieces.
 */
#include <stdlib.h>

#include "protocol/websocket/reader.h"
#include "tests/support/naive_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_MESSAGE = 512 };

static void note(struct seen *seen, const struct ff_reader_event *e)
{
    static const int kinds[] = {[FF_READER_MESSAGE] = SEEN_MESSAGE, [FF_READER_PING] = SEEN_PING,
                                [FF_READER_PONG] = SEEN_PONG,       [FF_READER_CLOSE] = SEEN_CLOSE,
                                [FF_READER_FAIL] = SEEN_FAIL,       [FF_READER_MORE] = 0};

    if (e->kind != FF_READER_MORE)
        seen_note(seen, kinds[e->kind], e->kind == FF_READER_MESSAGE ? (int)e->opcode : e->code,
                  e->bytes, e->len);
}

static struct seen read_all(const uint8_t *data, size_t size, unsigned piece)
{
    struct seen seen = {14695981039346656037U, 0};
    struct ff_reader r;
    size_t at = 0;

    ff_reader_init(&r, FF_ROLE_SERVER, MAX_MESSAGE);
    while (at < size && !r.is_failed) {
        size_t len = piece && size - at > piece ? piece : size - at;
        uint8_t *copy = malloc(len);
        size_t done = 0;

        if (!copy)
            abort();
        memcpy(copy, data + at, len);
        while (done < len && !r.is_failed) {
            struct ff_reader_event e;
            size_t used;

            ff_reader_next(&r, copy + done, len - done, &used, &e);
            done += used;
            note(&seen, &e);
            ff_reader_release(&r);
        }
        free(copy);
        at += len;
    }
    ff_reader_deinit(&r);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct naive naive;
    struct seen whole;
    struct seen split;

    if (size < 2)
        return 0;
    whole = read_all(data + 1, size - 1, 0);
    split = read_all(data + 1, size - 1, data[0] % 17 + 1);
    naive_init(&naive, MAX_MESSAGE);
    naive_read(&naive, data + 1, size - 1);
    if (whole.hash != split.hash || whole.events != split.events)
        abort();
    if (whole.hash != naive.seen.hash || whole.events != naive.seen.events)
        abort();
    return 0;
}
