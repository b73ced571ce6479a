/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/json.h"

#include <math.h>

#include "protocol/message/number.h"

/* Fewer digits before the point, exponent included, overflow no double. */
enum { SAFE_MAGNITUDE = 300 };

const char *ff_fault_text(unsigned faults)
{
    static const char *const texts[] = {
        "a JSON escape of a lone surrogate",
        "a number that overflows a double",
        ("nested deeper than " FF_DIGITS(FF_DEPTH_MAX) " levels"),
        "MessagePack ext types are not carried",
        "MessagePack bin is only carried as the whole payload",
        "a key of a map that is no string",
        "a MessagePack str that is no UTF-8",
        "NaN and infinities are not carried",
    };

    for (size_t i = 0; i < FF_COUNT(texts); i++)
        if (faults & (1U << i))
            return texts[i];
    return "";
}

struct ff_slice ff_json_without_mark(struct ff_slice text)
{
    if (text.len >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0)
        return (struct ff_slice){text.at + 3, text.len - 3};
    return text;
}

const char *ff_json_malformed_text(const struct ff_json *j)
{
    if (j->at == j->end)
        return "the text ends too early";
    if (*j->at == '\\')
        return "an escape that JSON does not have";
    return (unsigned char)*j->at < 0x20 ? "a control character" : "this does not belong here";
}

void ff_json_skip_space(struct ff_json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
        j->at++;
}

/* Eight octets a step up to the next quote, backslash or control character. */
static const char *skip_plain(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101U;
    const uint64_t highs = ones * 0x80;
    uint64_t v;

    while (end - p >= 8) {
        uint64_t quote;
        uint64_t slash;

        memcpy(&v, p, sizeof(v));
        quote = v ^ (ones * '"');
        slash = v ^ (ones * '\\');
        if ((((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) &
            highs)
            break;
        p += 8;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

static int hex4(const char *p)
{
    int v = 0;

    for (int i = 0; i < 4; i++) {
        char c = p[i];

        if (c >= '0' && c <= '9')
            v = v * 16 + (c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            v = v * 16 + ((c | 32) - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* The escape at `p` (a backslash): its end, or NULL when it is malformed. */
static const char *skip_escape(const char *p, const char *end, unsigned *faults)
{
    int unit;
    int low = -1;

    if (end - p < 2)
        return NULL;
    if (p[1] != 'u')
        return p[1] && strchr("\"\\/bfnrt", p[1]) ? p + 2 : NULL;
    if (end - p < 6)
        return NULL;
    unit = hex4(p + 2);
    if (unit < 0)
        return NULL;
    p += 6;
    if (unit < 0xd800 || unit > 0xdfff)
        return p;
    if (unit <= 0xdbff && end - p >= 6 && p[0] == '\\' && p[1] == 'u')
        low = hex4(p + 2);
    if (low >= 0xdc00 && low <= 0xdfff)
        return p + 6;
    *faults |= FF_FAULT_SURROGATE;
    return p;
}

enum ff_err ff_json_take_string(struct ff_json *j, struct ff_slice *raw, unsigned *faults)
{
    const char *p = j->at;

    if (p == j->end || *p != '"')
        return FF_EINVAL;
    raw->at = ++p;
    for (;;) {
        const char *next = NULL;

        p = skip_plain(p, j->end);
        if (p < j->end && *p == '"')
            break;
        if (p < j->end && *p == '\\')
            next = skip_escape(p, j->end, faults);
        if (!next) {
            j->at = p;
            return FF_EINVAL;
        }
        p = next;
    }
    raw->len = (size_t)(p - raw->at);
    j->at = p + 1;
    ff_json_skip_space(j);
    return FF_OK;
}

static enum ff_err take_number(struct ff_json *j, unsigned *faults)
{
    struct ff_slice number = {j->at, (size_t)(j->end - j->at)};
    long magnitude;

    number.len = ff_number_scan(number, &magnitude);
    if (!number.len)
        return FF_EINVAL;
    if (magnitude > SAFE_MAGNITUDE && isinf(ff_number_double(number)))
        *faults |= FF_FAULT_OVERFLOW;
    j->at += number.len;
    return FF_OK;
}

static enum ff_err take_word(struct ff_json *j, const char *word, size_t len)
{
    if ((size_t)(j->end - j->at) < len || memcmp(j->at, word, len) != 0)
        return FF_EINVAL;
    j->at += len;
    return FF_OK;
}

/* No JSON, but what some write: a fault has a better name than "malformed". */
static enum ff_err take_not_finite(struct ff_json *j, const char *word, size_t len,
                                   unsigned *faults)
{
    *faults |= FF_FAULT_FINITE;
    return take_word(j, word, len);
}

/* A value that is neither object nor array; `at` is behind it, space not skipped. */
static inline enum ff_err take_scalar(struct ff_json *j, unsigned *faults)
{
    struct ff_slice raw;
    enum ff_err err;

    switch (*j->at) {
    case '"':
        err = ff_json_take_string(j, &raw, faults);
        if (!err)
            j->at = raw.at + raw.len + 1;
        return err;
    case 't':
        return take_word(j, "true", 4);
    case 'f':
        return take_word(j, "false", 5);
    case 'n':
        return take_word(j, "null", 4);
    case 'N':
        return take_not_finite(j, "NaN", 3, faults);
    case 'I':
        return take_not_finite(j, "Infinity", 8, faults);
    case '-':
        if (j->end - j->at > 1 && j->at[1] == 'I')
            return take_not_finite(j, "-Infinity", 9, faults);
        return take_number(j, faults);
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return take_number(j, faults);
    default:
        return FF_EINVAL;
    }
}

/* Where the scanner stands in a nest of containers: a bit a level, 1 is an object. */
struct nest {
    uint64_t bits[FF_JSON_NESTING_MAX / 64];
    unsigned depth;
};

static bool is_in_object(const struct nest *nest)
{
    unsigned i = nest->depth - 1;

    return nest->bits[i / 64] >> (i % 64) & 1;
}

static enum ff_err open_container(struct nest *nest, bool is_object, unsigned *faults)
{
    unsigned i = nest->depth;

    if (i == FF_JSON_NESTING_MAX) {
        *faults |= FF_FAULT_DEEP;
        return FF_ELIMIT;
    }
    nest->bits[i / 64] &= ~(1ULL << (i % 64));
    nest->bits[i / 64] |= (uint64_t)is_object << (i % 64);
    if (++nest->depth > FF_DEPTH_MAX)
        *faults |= FF_FAULT_DEEP;
    return FF_OK;
}

/* In an object: takes the key and the colon. */
static enum ff_err take_key(struct ff_json *j, unsigned *faults)
{
    struct ff_slice key;

    if (ff_json_take_string(j, &key, faults) || !ff_json_take_char(j, ':'))
        return FF_EINVAL;
    return FF_OK;
}

/* Behind a value: closes containers that end here, then wants a comma. */
static enum ff_err take_separator(struct ff_json *j, struct nest *nest, unsigned *faults)
{
    while (nest->depth) {
        bool is_object = is_in_object(nest);

        ff_json_skip_space(j);
        if (ff_json_take_char(j, ','))
            return is_object ? take_key(j, faults) : FF_OK;
        if (j->at == j->end || *j->at != (is_object ? '}' : ']'))
            return FF_EINVAL;
        j->at++;
        nest->depth--;
    }
    return FF_OK;
}

/* A container begins: goes to its first element, or behind it if it is empty. */
static enum ff_err take_open(struct ff_json *j, struct nest *nest, unsigned *faults)
{
    bool is_object = *j->at == '{';
    enum ff_err err = open_container(nest, is_object, faults);

    j->at++;
    ff_json_skip_space(j);
    if (err)
        return err;
    if (j->at < j->end && *j->at == (is_object ? '}' : ']')) {
        j->at++;
        nest->depth--;
        return take_separator(j, nest, faults);
    }
    return is_object ? take_key(j, faults) : FF_OK;
}

/* A container and all that is in it. */
static enum ff_err take_container(struct ff_json *j, unsigned *faults)
{
    struct nest nest = {.depth = 0};
    enum ff_err err;

    do {
        if (j->at == j->end) {
            err = FF_EINVAL;
        } else if (*j->at == '{' || *j->at == '[') {
            err = take_open(j, &nest, faults);
        } else {
            err = take_scalar(j, faults);
            if (!err)
                err = take_separator(j, &nest, faults);
        }
    } while (!err && nest.depth);
    return err;
}

enum ff_err ff_json_take(struct ff_json *j, struct ff_slice *value, unsigned *faults)
{
    enum ff_err err;

    ff_json_skip_space(j);
    value->at = j->at;
    if (j->at == j->end)
        return FF_EINVAL;
    err = *j->at == '{' || *j->at == '[' ? take_container(j, faults) : take_scalar(j, faults);
    if (err)
        return err;
    value->len = (size_t)(j->at - value->at);
    ff_json_skip_space(j);
    return FF_OK;
}

bool ff_json_take_char(struct ff_json *j, char c)
{
    if (j->at == j->end || *j->at != c)
        return false;
    j->at++;
    ff_json_skip_space(j);
    return true;
}

struct ff_json ff_json_enter(struct ff_slice value)
{
    struct ff_json j = ff_json_of(value);

    if (j.at < j.end)
        j.at++; /* the bracket */
    ff_json_skip_space(&j);
    return j;
}

bool ff_json_next(struct ff_json *j, struct ff_slice *key, struct ff_slice *value)
{
    struct ff_json look = *j;
    unsigned faults = 0;

    if (j->at >= j->end || *j->at == '}' || *j->at == ']')
        return false;
    *key = (struct ff_slice){NULL, 0};
    if (*j->at == '"' && !ff_json_take_string(&look, key, &faults) && ff_json_take_char(&look, ':'))
        *j = look; /* a member; else the string is an element */
    else
        *key = (struct ff_slice){NULL, 0};
    if (ff_json_take(j, value, &faults))
        return false;
    (void)ff_json_take_char(j, ',');
    return true;
}

static char *write_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (char)(0xe0 | c >> 12);
        } else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 63));
        }
        *out++ = (char)(0x80 | (c >> 6 & 63));
    }
    *out++ = (char)(0x80 | (c & 63));
    return out;
}

/* The code unit that `\\uXXXX` at `p` stands for; -1: there is no such escape before `end`. */
static int escaped_unit(const char *p, const char *end)
{
    return end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2) : -1;
}

/* Writes what the escape at `*p` (a backslash) stands for and steps over it. */
static char *unescape_one(char *out, const char **p, const char *end)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    enum { REPLACEMENT = 0xfffd };
    const char *known = end - *p >= 2 && (*p)[1] ? strchr(from, (*p)[1]) : NULL;
    int unit = escaped_unit(*p, end);
    int low;

    if (known) {
        *p += 2;
        *out++ = to[known - from];
        return out;
    }
    if (unit < 0) { /* no escape at all: the backslash is a character like any other */
        *out++ = *(*p)++;
        return out;
    }
    *p += 6;
    if (unit < 0xd800 || unit > 0xdfff)
        return write_utf8(out, (unsigned)unit);
    low = unit <= 0xdbff ? escaped_unit(*p, end) : -1;
    if (low < 0xdc00 || low > 0xdfff) /* the half of a pair alone */
        return write_utf8(out, REPLACEMENT);
    *p += 6;
    return write_utf8(out, 0x10000 + ((unsigned)(unit - 0xd800) << 10) + (unsigned)(low - 0xdc00));
}

size_t ff_json_unescape(char *out, struct ff_slice raw)
{
    const char *p = raw.at;
    const char *end = p + raw.len;
    char *o = out;

    while (p < end) {
        if (*p == '\\')
            o = unescape_one(o, &p, end);
        else
            *o++ = *p++;
    }
    return (size_t)(o - out);
}

/* The short escape for `c`, or 0. */
static char short_escape(char c)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

/* Octets that a character takes more in a JSON string than by itself. */
static const uint8_t escape_costs[256] = {
    /* Control characters: six octets of \u0007, or two of \n. */
    5, 5, 5, 5, 5, 5, 5, 5, 1, 1, 1, 5, 1, 1, 5, 5,         5,
    5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, ['"'] = 1, ['\\'] = 1,
};

size_t ff_json_quoted_size(struct ff_slice text)
{
    size_t size = text.len + 2;

    for (size_t i = 0; i < text.len; i++)
        size += escape_costs[(unsigned char)text.at[i]];
    return size;
}

char *ff_json_write_quoted(char *out, struct ff_slice text)
{
    static const char digits[] = "0123456789abcdef";

    *out++ = '"';
    if (ff_json_quoted_size(text) == text.len + 2) { /* nearly always */
        if (text.len)
            memcpy(out, text.at, text.len);
        out[text.len] = '"';
        return out + text.len + 1;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        char escape = short_escape(c);

        if (escape) {
            *out++ = '\\';
            *out++ = escape;
        } else if ((unsigned char)c < 0x20) {
            out[0] = '\\';
            out[1] = 'u';
            out[2] = out[3] = '0';
            out[4] = digits[(unsigned char)c >> 4];
            out[5] = digits[c & 15];
            out += 6;
        } else {
            *out++ = c;
        }
    }
    *out++ = '"';
    return out;
}
