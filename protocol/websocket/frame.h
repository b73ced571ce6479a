/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - one WebSocket frame: its head, its mask (RFC 6455, section 5.2).
 *
 * Everything here is for both roles: a client masks what it sends, a server
 * does not. Nothing allocates.
 */
#ifndef WEBSOCKET_FRAME_H
#define WEBSOCKET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ff_opcode {
    FF_OP_CONTINUATION = 0,
    FF_OP_TEXT = 1,
    FF_OP_BINARY = 2,
    FF_OP_CLOSE = 8,
    FF_OP_PING = 9,
    FF_OP_PONG = 10,
};

enum {
    FF_FRAME_HEAD_MAX = 14, /* 2 + 8 for the length + 4 for the mask */
    FF_FRAME_RSV1 = 0x40,   /* of the first octet: the message is compressed (RFC 7692) */
    FF_CONTROL_MAX = 125,   /* section 5.5 */
    FF_CLOSE_REASON_MAX = 123,
};

struct ff_frame_head {
    uint64_t len;
    uint8_t opcode;
    uint8_t rsv; /* the three reserved bits, RSV1 is 4 */
    bool fin;
    bool masked;
    uint8_t mask[4];
};

/*
 * Reads a frame's head. `> 0`: octets it took; 0: more are needed; -1: the
 * length is not in its shortest form or has its top bit set (an error of the
 * peer, 1002). Says nothing about opcodes, bits or order: the reader does.
 */
int ff_frame_parse_head(struct ff_frame_head *head, const uint8_t *bytes, size_t len);

/* Writes an unmasked, unfragmented frame's head to `out` (10 octets of room); returns its size. */
size_t ff_frame_write_head(uint8_t *out, enum ff_opcode opcode, uint64_t len);

/* The size of that head. */
size_t ff_frame_head_size(uint64_t len);

/* The same for a whole frame, its head counted in. */
static inline size_t ff_frame_head_within(uint64_t size)
{
    return size < 126 + 2 ? 2 : size <= UINT16_MAX + 4 ? 4 : 10;
}

/* The same, masked: 14 octets of room. */
size_t ff_frame_write_masked_head(uint8_t *out, enum ff_opcode opcode, uint64_t len,
                                  const uint8_t mask[4]);

/*
 * Masks or unmasks in place. `at` is how far into the frame's payload `bytes`
 * begins, so that a payload may be taken in pieces. Any alignment, 8 octets or
 * more a step.
 */
void ff_frame_mask(uint8_t *bytes, size_t len, const uint8_t mask[4], uint64_t at);

/*
 * Writes the body of a close frame, at most 125 octets; returns its size. The
 * reason is cut at a code point so that it fits. Code 0: an empty body.
 */
size_t ff_frame_write_close(uint8_t *out, int code, const char *reason);

/* May this code stand in a close frame (section 7.4; 1012 to 1014 are IANA's)? */
bool ff_frame_is_close_code(int code);

#endif
