/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/position.h"

enum { BITS = 6, MASK = (1 << BITS) - 1 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

void ff_epoch_write(char *out, uint64_t epoch)
{
    for (int i = 0; i < FF_EPOCH_TEXT; i++) {
        out[i] = digits[epoch & MASK];
        epoch >>= BITS;
    }
}

/* The value of a digit, -1: it is none. */
static int digit_value(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

bool ff_epoch_is_valid(struct ff_slice text)
{
    if (text.len == 0 || text.len > FF_EPOCH_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] != '.' && digit_value(text.at[i]) < 0)
            return false;
    return true;
}

uint64_t ff_epoch_read(struct ff_slice text)
{
    uint64_t epoch = 0;

    if (text.len != FF_EPOCH_TEXT)
        return 0;
    for (int i = FF_EPOCH_TEXT - 1; i >= 0; i--) {
        int value = digit_value(text.at[i]);

        if (value < 0 || epoch >> (64 - BITS))
            return 0;
        epoch = epoch << BITS | (unsigned)value;
    }
    return epoch;
}
