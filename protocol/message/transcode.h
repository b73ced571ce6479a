/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transcode.h - a payload as the equivalent value of the other encoding.
 *
 * Integers within int64 and uint64 stay integers, other numbers become
 * float64; floats go to JSON with the shortest digits that read back, always
 * with a `.` or an exponent; doubled keys stay; `bin` is base64 `data`. Payloads
 * come from a decoder that refused what cannot be carried; whatever else is given
 * is an error and never more. No recursion.
 */
#ifndef MESSAGE_TRANSCODE_H
#define MESSAGE_TRANSCODE_H

#include "protocol/base/buf.h"
#include "protocol/message/message.h"

/*
 * Makes `payload` fit for messages of `encoding`: as it is where it already
 * does, else rewritten into `spare` (emptied first). FF_OK, FF_ENOMEM,
 * FF_ELIMIT (it does not fit into spare's maximum), FF_EINVAL (it is no payload
 * that a decoder lets through).
 */
FF_MUST_CHECK enum ff_err ff_transcode(struct ff_payload *payload, enum ff_encoding encoding,
                                       struct ff_buf *spare);

/*
 * Octets that a message of `size` octets takes in the other encoding, at most:
 * "-32," and "\u0001" stand for one octet, floats grow less; there is room for
 * the envelope, too.
 */
static inline uint64_t ff_transcode_most(uint32_t size)
{
    return size * UINT64_C(8) + 1024;
}

#endif
