/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/base/check.h"

enum {
    NUMBER_DIGITS = 800,
    EXPONENT_LIMIT = 100000, /* far beyond any double's range it no longer matters how far */
};

long ff_number_exponent(struct ff_slice raw)
{
    long exponent = 0;

    for (size_t i = 1; i < raw.len; i++)
        if (raw.at[i] >= '0' && raw.at[i] <= '9' && exponent < EXPONENT_LIMIT * 100L)
            exponent = exponent * 10 + (raw.at[i] - '0');
    return raw.len > 1 && raw.at[1] == '-' ? -exponent : exponent;
}

/*
 * strtod() wants a NUL, and a number may be as long as a message. Digits past
 * 800 only matter where the others are an exact tie: then one more digit says
 * that there was something.
 */
double ff_number_double(struct ff_slice raw)
{
    char text[NUMBER_DIGITS + 32];
    size_t n = 0;
    size_t digits = 0;
    long shift = 0;
    bool is_fraction = false;
    bool is_sticky = false;
    size_t i = 0;

    for (; i < raw.len && (raw.at[i] | 32) != 'e'; i++) {
        char c = raw.at[i];
        bool is_leading_zero = c == '0' && digits == 0;

        if (c == '-')
            text[n++] = c;
        is_fraction |= c == '.';
        if (c == '-' || c == '.')
            continue;
        digits += !is_leading_zero;
        shift -= is_fraction;
        if (digits > NUMBER_DIGITS) {
            shift++;
            is_sticky |= c != '0';
        } else if (!is_leading_zero) {
            text[n++] = c;
        }
    }
    if (digits == 0)
        return raw.at[0] == '-' ? -0.0 : 0.0;
    if (is_sticky) {
        text[n++] = '1';
        shift--;
    }
    (void)snprintf(text + n, sizeof(text) - n, "e%ld",
                   shift + ff_number_exponent((struct ff_slice){raw.at + i, raw.len - i}));
    return strtod(text, NULL);
}

struct ff_number ff_number_read(struct ff_slice raw)
{
    struct ff_number number = {.kind = FF_NUMBER_DOUBLE};
    bool is_negative = raw.at[0] == '-';
    uint64_t u = 0;

    for (size_t i = is_negative; i < raw.len; i++) {
        char c = raw.at[i];

        if (c < '0' || c > '9' || __builtin_mul_overflow(u, 10U, &u) ||
            __builtin_add_overflow(u, (uint64_t)(c - '0'), &u)) {
            number.d = ff_number_double(raw);
            return number;
        }
    }
    number.d = is_negative ? -(double)u : (double)u; /* rounded as strtod() would */
    if (!is_negative) {
        number.kind = FF_NUMBER_UINT;
        number.u = u;
    } else if (u > 0 && u <= (uint64_t)INT64_MAX + 1) { /* -0 is a float */
        number.kind = FF_NUMBER_INT;
        number.i = (int64_t)(0 - u);
    }
    return number;
}

/*
 * The nearest 16-digit text is not always one that reads back, but a neighbour
 * of it may be. Returns 0 if none is.
 */
static size_t write_neighbour(char *out, double d)
{
    char digits[32];
    long long mantissa;
    int exponent;

    (void)snprintf(digits, sizeof(digits), "%.15e", fabs(d));
    exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
    memmove(digits + 1, digits + 2, 15); /* the point out */
    digits[16] = '\0';
    mantissa = strtoll(digits, NULL, 10);
    for (int step = -1; step <= 1; step += 2) {
        (void)snprintf(digits, sizeof(digits), "%lld", mantissa + step);
        if (strlen(digits) != 16)
            continue;
        (void)snprintf(out, 32, "%s%c.%se%d", d < 0 ? "-" : "", digits[0], digits + 1, exponent);
        if (strtod(out, NULL) == d)
            return strlen(out);
    }
    return 0;
}

size_t ff_number_write(char *out, double d)
{
    /* Below the normal range 15 digits are not always a padded shorter form. */
    int precision = fabs(d) < 2.3e-308 ? 1 : 15;
    int len;

    do {
        len = snprintf(out, 32, "%.*g", precision, d);
        FF_CHECK(len > 0 && len < 30);
    } while (strtod(out, NULL) != d && precision++ < 17);
    if (precision >= 17) {
        char neighbour[32];
        size_t size = write_neighbour(neighbour, d);

        if (size) {
            memcpy(out, neighbour, size);
            return size;
        }
    }
    if (!strpbrk(out, ".e")) {
        memcpy(out + len, ".0", 3);
        len += 2;
    }
    return (size_t)len;
}
