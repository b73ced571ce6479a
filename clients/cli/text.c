/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/text.h"

#include <time.h>

enum { ESCAPE_MAX = 8 };

/* The octets of the code point that begins at `i`; what is no UTF-8 counts one by one. */
static size_t point_at(struct ff_slice text, size_t i, uint32_t *point)
{
    unsigned char first = (unsigned char)text.at[i];
    size_t size = first < 0xc2 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 1;

    *point = first;
    if (size == 1)
        return 1;
    *point = first & (0xffU >> (size + 1));
    for (size_t k = 1; k < size; k++) {
        if (i + k >= text.len || ((unsigned char)text.at[i + k] & 0xc0) != 0x80) {
            *point = first;
            return 1;
        }
        *point = *point << 6 | ((unsigned char)text.at[i + k] & 0x3f);
    }
    return size;
}

static bool is_dangerous(uint32_t point, size_t size)
{
    if (size == 1) /* an octet of 0x80 and more alone is no UTF-8 */
        return point < 0x20 || point >= 0x7f;
    return point < 0xa0 || point == 0x61c || point == 0x200e || point == 0x200f ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

/* What stands for one that is dangerous. */
static size_t write_escape(char out[ESCAPE_MAX], uint32_t point, size_t size)
{
    static const char letters[] = {['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r'};

    if (point < sizeof(letters) && letters[point])
        return (size_t)snprintf(out, ESCAPE_MAX, "\\%c", letters[point]);
    return (size_t)snprintf(out, ESCAPE_MAX, size == 1 ? "\\x%02x" : "\\u%04x", point);
}

bool text_append(struct ff_buf *out, struct ff_slice text)
{
    for (size_t i = 0; i < text.len;) {
        uint32_t point;
        size_t size = point_at(text, i, &point);
        char escape[ESCAPE_MAX];
        bool is_bad = is_dangerous(point, size);

        if (ff_buf_append(out, is_bad ? escape : text.at + i,
                          is_bad ? write_escape(escape, point, size) : size))
            return false;
        i += size;
    }
    return true;
}

void text_print(FILE *out, struct ff_slice text)
{
    for (size_t i = 0; i < text.len;) {
        uint32_t point;
        size_t size = point_at(text, i, &point);
        char escape[ESCAPE_MAX];
        bool is_bad = is_dangerous(point, size);

        (void)fwrite(is_bad ? escape : text.at + i, 1,
                     is_bad ? write_escape(escape, point, size) : size, out);
        i += size;
    }
}

void text_print_json(FILE *out, struct ff_slice json, bool is_for_terminal)
{
    for (size_t i = 0; i < json.len;) {
        uint32_t point;
        size_t size = point_at(json, i, &point);

        if (point == '\n' || point == '\r' || (point == '\t' && is_for_terminal))
            (void)fputc(' ', out); /* inside strings JSON has none of these */
        else if (is_for_terminal && is_dangerous(point, size))
            (void)fprintf(out, "\\u%04x", point);
        else
            (void)fwrite(json.at + i, 1, size, out);
        i += size;
    }
}

void text_time(char out[TEXT_TIME_SIZE], bool is_iso)
{
    struct timespec now;
    struct tm tm;
    size_t len;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (is_iso)
        (void)gmtime_r(&now.tv_sec, &tm);
    else
        (void)localtime_r(&now.tv_sec, &tm);
    len = strftime(out, TEXT_TIME_SIZE, is_iso ? "%Y-%m-%dT%H:%M:%S" : "%H:%M:%S", &tm);
    (void)snprintf(out + len, TEXT_TIME_SIZE - len, ".%03d%s", (int)(now.tv_nsec / 1000000),
                   is_iso ? "Z" : "");
}
