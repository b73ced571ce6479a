/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64.h - RFC 4648 base64, padded and strict.
 *
 * Strict: the length is a multiple of four, padding stands only at the end,
 * unused bits are zero, nothing else is skipped. So every run of octets has
 * exactly one text, and a text that decodes encodes to itself.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

static inline size_t ff_base64_encoded_len(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* Writes ff_base64_encoded_len(len) characters, no NUL. */
void ff_base64_encode(char *out, const void *bytes, size_t len);

/*
 * Writes at most len / 4 * 3 octets to `out` (NULL: only checks) and their
 * count to `out_len`. FF_OK, or FF_EINVAL for what is not strict base64.
 */
int ff_base64_decode(uint8_t *out, size_t *out_len, const char *text, size_t len);

#endif
