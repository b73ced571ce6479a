/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/base64.h"

#include "protocol/base/err.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void ff_base64_encode(char *out, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    for (; len >= 3; len -= 3, p += 3) {
        *out++ = alphabet[p[0] >> 2];
        *out++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        *out++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
        *out++ = alphabet[p[2] & 63];
    }
    if (len == 0)
        return;
    *out++ = alphabet[p[0] >> 2];
    if (len == 1) {
        *out++ = alphabet[(p[0] & 3) << 4];
        *out++ = '=';
    } else {
        *out++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
        *out++ = alphabet[(p[1] & 15) << 2];
    }
    *out = '=';
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

int ff_base64_decode(uint8_t *out, size_t *out_len, const char *text, size_t len)
{
    size_t pad = 0;
    size_t n = 0;
    uint32_t bits = 0;

    if (len % 4)
        return FF_EINVAL;
    if (len && text[len - 1] == '=')
        pad = text[len - 2] == '=' ? 2 : 1;
    for (size_t i = 0; i < len - pad; i++) {
        int d = digit(text[i]);

        if (d < 0)
            return FF_EINVAL;
        bits = bits << 6 | (uint32_t)d;
        if (i % 4 == 0)
            continue;
        if (out)
            out[n] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
        n++;
    }
    if ((pad == 1 && (bits & 3)) || (pad == 2 && (bits & 15)))
        return FF_EINVAL;
    *out_len = n;
    return FF_OK;
}
