/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.h - from a frame to the messages in it, in either encoding.
 *
 * A frame holds one message or a batch of 1 to 1,024. A batch is checked whole
 * before its first message is handed out, so that a malformed one does
 * nothing. What concerns one message alone (404, 422) is that message's error.
 * Everything handed out is borrowed from the frame and from `unescape_buf`.
 */
#ifndef MESSAGE_DECODE_H
#define MESSAGE_DECODE_H

#include "protocol/base/buf.h"
#include "protocol/message/message.h"

struct ff_decoder {
    enum ff_encoding encoding;
    enum ff_sender sender;
    struct ff_buf *unescape_buf; /* for `data` texts with escapes; its maximum bounds them */
    struct ff_slice rest;
    size_t frame_size; /* octets, by which faults are told */
    unsigned left;     /* messages of a batch still to come, UINT_MAX: not counted */
    bool is_batch;
};

/*
 * Begins a frame that `sender` sent. FF_OK, or FF_EINVAL for a batch that is
 * malformed as a whole: `*reason` says why (static), `*fault_at` where (octets of the
 * frame, or FF_NOWHERE), and nothing is handed out.
 */
FF_MUST_CHECK enum ff_err ff_decode_begin(struct ff_decoder *d, struct ff_slice frame,
                                          const char **reason, size_t *fault_at);

/*
 * Hands out the next message; false at the end. `m->error` tells what is wrong
 * with it: MALFORMED (only where it is no batch), NOT_FOUND for a type that is
 * not taken here, BAD_CONTENT for a payload that is not carried, INTERNAL for
 * want of memory.
 */
bool ff_decode_next(struct ff_decoder *d, struct ff_message *m);

#endif
