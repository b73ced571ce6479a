/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of frames, read whole and read with random splits: both must see
 * the same events. The first octet chooses the splits.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/websocket/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t hash;
    unsigned events;
};

static void note(struct seen *seen, const struct ff_reader_event *e)
{
    if (e->kind == FF_READER_MORE)
        return;
    seen->events++;
    seen->hash = seen->hash * 1099511628211U + (uint64_t)e->kind * 31 + (uint64_t)e->code;
    for (size_t i = 0; i < e->len; i++)
        seen->hash = (seen->hash ^ e->bytes[i]) * 1099511628211U;
}

static struct seen read_all(const uint8_t *data, size_t size, unsigned piece)
{
    struct seen seen = {14695981039346656037U, 0};
    struct ff_reader r;
    size_t at = 0;

    ff_reader_init(&r, FF_ROLE_SERVER, 512);
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
    struct seen whole;
    struct seen split;

    if (size < 2)
        return 0;
    whole = read_all(data + 1, size - 1, 0);
    split = read_all(data + 1, size - 1, data[0] % 17 + 1);
    if (whole.hash != split.hash || whole.events != split.events)
        abort();
    return 0;
}
