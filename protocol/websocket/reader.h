/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.h - from received octets to whole messages and control frames.
 *
 * The reader is pulled: each call takes octets from the front of what was
 * received and answers with at most one event, so the caller may stop between
 * events when it must not read on. A message that lies whole in the caller's
 * memory is unmasked in place and handed over without a copy; any other is
 * assembled in one flat buffer, which grows with the octets that came, never
 * with a length that was only declared, and never past `max_message`.
 *
 * Text is checked as UTF-8 as it arrives, and fails at the first bad octet
 * (RFC 6455, section 8.1), even in the middle of a frame.
 *
 * Where permessage-deflate was agreed upon, a compressed message is inflated as it comes
 * (RFC 7692): what it becomes is bounded by `max_message` and checked as UTF-8 like any
 * other, and a call makes only so much of it that its caller can look at a clock.
 *
 * An idle reader holds no memory of its own, unless its peer may lean on what it sent
 * before: then an inflater, from its first compressed message on.
 */
#ifndef WEBSOCKET_READER_H
#define WEBSOCKET_READER_H

#include "protocol/base/check.h"
#include "protocol/base/codes.h"
#include "protocol/base/utf8.h"
#include "protocol/websocket/frame.h"

enum ff_role { FF_ROLE_SERVER, FF_ROLE_CLIENT };

struct ff_reader_aside;

/* 56 octets, because there is one for every connection. */
struct ff_reader {
    uint8_t *message;              /* what is assembled of a message, or NULL */
    struct ff_reader_aside *aside; /* what few readers need at any time (reader.c), or NULL */
    uint32_t message_len;
    uint32_t message_cap;
    uint32_t max_message;
    uint32_t left; /* octets of the current frame's payload still to come */
    struct ff_utf8 utf8;
    union {
        uint8_t head[FF_FRAME_HEAD_MAX]; /* between frames: what came of the next head */
        uint8_t mask[4];                 /* in a frame */
    };
    uint8_t head_len;
    uint8_t done;           /* octets of the frame that came, modulo 128: the place in the mask */
    uint8_t opcode;         /* of the current frame */
    uint8_t message_opcode; /* of the message under way, 0: none */
    uint8_t empty_fragments;
    bool in_frame : 1;
    bool fin : 1;
    bool is_masked : 1; /* what is read must be masked: the server's role */
    bool is_failed : 1;
    bool is_compressed : 1;  /* the message under way */
    bool may_lean : 1;       /* the peer's messages may lean on earlier ones */
    uint8_t window_bits : 4; /* of the peer's compressor; 0: there is none */
};

enum ff_reader_kind {
    FF_READER_MORE,    /* all octets are taken, nothing is complete */
    FF_READER_MESSAGE, /* text or binary */
    FF_READER_PING,
    FF_READER_PONG,
    FF_READER_CLOSE, /* `code` 0: without one */
    FF_READER_FAIL,  /* close with `code` and `reason`, read no further */
};

struct ff_reader_event {
    enum ff_reader_kind kind;
    enum ff_opcode opcode; /* of a message */
    uint8_t *bytes;        /* payload: borrowed until the next call or release */
    size_t len;
    int code;
    const char *reason; /* static */
    size_t inflated;    /* octets that this call made, which its peer did not have to send */
};

/* `max_message` at most 2^31 octets. */
void ff_reader_init(struct ff_reader *r, enum ff_role role, uint32_t max_message);
void ff_reader_deinit(struct ff_reader *r);

/*
 * From now on messages may be compressed. `window_bits`: the peer's, 8 to 15; `may_lean`: it
 * did not promise to begin each message with an empty window.
 */
void ff_reader_inflate(struct ff_reader *r, unsigned window_bits, bool may_lean);

/* Octets that are held for a message that is not whole yet. */
size_t ff_reader_held(const struct ff_reader *r);

/*
 * Takes octets from `bytes` (changing them: unmasking is in place), writes how
 * many to `used` and what they completed to `event`. Call again with the rest
 * until it answers MORE with everything taken, or FAIL. It answers MORE with a rest, too,
 * where much was inflated.
 */
void ff_reader_next(struct ff_reader *r, uint8_t *bytes, size_t len, size_t *used,
                    struct ff_reader_event *event);

/* Gives back the memory of a message that was handled. */
void ff_reader_release(struct ff_reader *r);

#endif
