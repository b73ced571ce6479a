/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8.h - is this text UTF-8 (RFC 3629)?
 *
 * Incremental: text may come in pieces cut anywhere, and the first octet that
 * cannot belong to valid text is found as soon as it is seen. ASCII runs are
 * taken 16 octets a step.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Between pieces: how many octets are still owed, and the range of the next. */
struct ff_utf8 {
    uint8_t need;
    uint8_t low;
    uint8_t high;
};

/* True if all octets fit. After false the state is of no further use. */
bool ff_utf8_feed(struct ff_utf8 *state, const void *bytes, size_t len);

/* No code point is cut off at the end. */
static inline bool ff_utf8_is_whole(const struct ff_utf8 *state)
{
    return state->need == 0;
}

/* A whole text at once. */
bool ff_utf8_is_valid(const void *bytes, size_t len);

#endif
