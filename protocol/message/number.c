/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/base/check.h"
#include "protocol/message/message.h"

enum {
    NUMBER_DIGITS = 800,
    EXPONENT_LIMIT = 100000, /* far beyond any double's range it no longer matters how far */
};

/* Of "e-5" -5, of nothing 0; bounded far beyond any double's range. */
static long read_exponent(const char *at, const char *end)
{
    long exponent = 0;

    for (const char *p = at; p < end; p++)
        if (*p >= '0' && *p <= '9' && exponent < EXPONENT_LIMIT * 100L)
            exponent = exponent * 10 + (*p - '0');
    return end - at > 1 && at[1] == '-' ? -exponent : exponent;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* The exponent at `p`: its end, `p` where there is none, NULL where it is malformed. */
static const char *skip_exponent(const char *p, const char *end)
{
    const char *digits = p + 1;

    if (p == end || (*p | 32) != 'e')
        return p;
    if (digits < end && (*digits == '+' || *digits == '-'))
        digits++;
    p = skip_digits(digits, end);
    return p == digits ? NULL : p;
}

size_t ff_number_scan(struct ff_slice text, long *magnitude)
{
    const char *end = text.at + text.len;
    const char *digits = text.len && text.at[0] == '-' ? text.at + 1 : text.at;
    const char *p = skip_digits(digits, end);
    const char *from;

    *magnitude = p - digits;
    if (p == digits || (*digits == '0' && p - digits > 1))
        return 0;
    if (p < end && *p == '.') {
        from = ++p;
        p = skip_digits(p, end);
        if (p == from)
            return 0;
    }
    from = p;
    p = skip_exponent(p, end);
    if (!p)
        return 0;
    *magnitude += read_exponent(from, p);
    return (size_t)(p - text.at);
}

/*
 * strtod() wants a NUL, and a number may be as long as a message. Digits past
 * 800 only matter where the others are an exact tie: then one more digit says
 * that there was something.
 */
static double read_double(struct ff_slice raw)
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
                   shift + read_exponent(raw.at + i, raw.at + raw.len));
    return strtod(text, NULL);
}

/* Is all of it one number? */
static bool is_number(struct ff_slice raw)
{
    long magnitude;

    return raw.len && ff_number_scan(raw, &magnitude) == raw.len;
}

double ff_number_double(struct ff_slice raw)
{
    return is_number(raw) ? read_double(raw) : 0;
}

/* The digits of an integer. False: something else stands among them, or it fits no uint64. */
static bool read_digits(struct ff_slice digits, uint64_t *u)
{
    *u = 0;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.at[i];

        if (c < '0' || c > '9' || __builtin_mul_overflow(*u, 10U, u) ||
            __builtin_add_overflow(*u, (uint64_t)(c - '0'), u))
            return false;
    }
    return digits.len == 1 || (digits.len && digits.at[0] != '0');
}

struct ff_number ff_number_read(struct ff_slice raw)
{
    bool is_negative = raw.len && raw.at[0] == '-';
    struct ff_slice digits = {is_negative ? raw.at + 1 : raw.at, raw.len - is_negative};
    struct ff_number number = {.kind = FF_NUMBER_DOUBLE};
    uint64_t u;

    if (!read_digits(digits, &u)) {
        number.kind = is_number(raw) ? FF_NUMBER_DOUBLE : FF_NUMBER_NONE;
        number.d = number.kind == FF_NUMBER_NONE ? 0 : read_double(raw);
        return number;
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

    if (!isfinite(d)) {
        static const char null[] = {'n', 'u', 'l', 'l'};

        memcpy(out, null, sizeof(null));
        return sizeof(null);
    }
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

bool ff_number_read_integer(struct ff_slice raw, uint64_t *out)
{
    struct ff_number number = ff_number_read(raw);
    bool is_whole = number.kind == FF_NUMBER_UINT;

    if (number.kind == FF_NUMBER_DOUBLE && number.d >= 0 && number.d <= (double)FF_INTEGER_MAX) {
        number.u = (uint64_t)number.d;
        is_whole = (double)number.u == number.d;
    }
    *out = number.u;
    return is_whole && number.u <= FF_INTEGER_MAX;
}
