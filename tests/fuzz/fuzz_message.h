/* SPDX-License-Identifier: Apache-2.0 */
/* What the two message targets share: decode a frame, rewrite each payload and back. */
#ifndef FUZZ_MESSAGE_H
#define FUZZ_MESSAGE_H

#include <stdint.h>
#include <stdlib.h>

#include "protocol/message/decode.h"
#include "protocol/message/transcode.h"

/* A payload that was taken goes to the other encoding; there and back twice is once. */
static inline void fuzz_round_trip(struct ff_payload payload)
{
    struct ff_buf bufs[3];
    enum ff_encoding other = payload.kind == FF_PAYLOAD_MSGPACK ? FF_JSON : FF_MSGPACK;
    struct ff_payload there;
    struct ff_payload again;

    for (int i = 0; i < 3; i++)
        ff_buf_init(&bufs[i], 1 << 20);
    if (ff_transcode(&payload, other, &bufs[0]) == FF_OK) {
        there = payload;
        if (ff_transcode(&there, other == FF_JSON ? FF_MSGPACK : FF_JSON, &bufs[1]))
            abort();
        again = there;
        if (ff_transcode(&again, other, &bufs[2]) || again.kind != payload.kind ||
            !ff_slice_is_equal(again.bytes, payload.bytes))
            abort();
    }
    for (int i = 0; i < 3; i++)
        ff_buf_deinit(&bufs[i]);
}

static inline void fuzz_decode(enum ff_encoding encoding, const uint8_t *data, size_t size)
{
    static struct ff_message m;
    struct ff_buf spare;

    for (int sender = FF_CLIENT; sender <= FF_BROKER; sender++) {
        struct ff_decoder d = {
            .encoding = encoding, .sender = (enum ff_sender)sender, .unescape_buf = &spare};
        const char *reason;
        size_t fault_at;

        ff_buf_init(&spare, 1 << 16);
        if (ff_decode_begin(&d, (struct ff_slice){(const char *)data, size}, &reason, &fault_at) ==
            FF_OK)
            while (ff_decode_next(&d, &m))
                if (!m.error && m.payload.bytes.at)
                    fuzz_round_trip(m.payload);
        ff_buf_deinit(&spare);
    }
}

#endif
