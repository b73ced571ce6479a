/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/utf8.h"

#include <string.h>

static size_t ascii_run(const unsigned char *p, size_t len)
{
    const uint64_t high_bits = 0x8080808080808080U;
    size_t i = 0;
    uint64_t words[2];

    while (len - i >= sizeof(words)) {
        memcpy(words, p + i, sizeof(words));
        if ((words[0] | words[1]) & high_bits)
            break;
        i += sizeof(words);
    }
    while (i < len && p[i] < 0x80)
        i++;
    return i;
}

/* The first octet of a code point of several: what must follow (RFC 3629, section 4). */
static bool start(struct ff_utf8 *state, unsigned char c)
{
    state->low = 0x80;
    state->high = 0xbf;
    if (c >= 0xc2 && c <= 0xdf) {
        state->need = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        state->need = 2;
        if (c == 0xe0)
            state->low = 0xa0; /* no overlong forms */
        if (c == 0xed)
            state->high = 0x9f; /* no surrogates */
    } else if (c >= 0xf0 && c <= 0xf4) {
        state->need = 3;
        if (c == 0xf0)
            state->low = 0x90;
        if (c == 0xf4)
            state->high = 0x8f; /* nothing above U+10FFFF */
    } else {
        return false;
    }
    return true;
}

bool ff_utf8_feed(struct ff_utf8 *state, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    size_t i = 0;

    while (i < len) {
        if (state->need) {
            if (p[i] < state->low || p[i] > state->high)
                return false;
            state->low = 0x80;
            state->high = 0xbf;
            state->need--;
            i++;
            continue;
        }
        i += ascii_run(p + i, len - i);
        if (i < len && !start(state, p[i++]))
            return false;
    }
    return true;
}

bool ff_utf8_is_valid(const void *bytes, size_t len)
{
    struct ff_utf8 state = {0};

    return ff_utf8_feed(&state, bytes, len) && ff_utf8_is_whole(&state);
}
