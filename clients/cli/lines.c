/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/lines.h"

#include <errno.h>
#include <unistd.h>

enum { READ_SIZE = 65536 };

void lines_init(struct lines *lines, int fd, size_t max)
{
    *lines = (struct lines){.fd = fd, .max = max};
    ff_buf_init(&lines->buf, max + 2UL * READ_SIZE);
}

void lines_deinit(struct lines *lines)
{
    ff_buf_deinit(&lines->buf);
}

bool lines_read(struct lines *lines)
{
    ssize_t got;

    ff_buf_consume(&lines->buf, lines->at);
    lines->at = 0;
    if (lines->is_at_end)
        return false;
    if (ff_buf_reserve(&lines->buf, READ_SIZE)) {
        lines->is_at_end = true;
        lines->error = ENOMEM;
        return false;
    }
    got = read(lines->fd, lines->buf.data + lines->buf.len, READ_SIZE);
    if (got > 0) {
        lines->buf.len += (size_t)got;
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
        lines->is_at_end = true;
        lines->error = got == 0 ? 0 : errno;
    }
    return !lines->is_at_end;
}

enum lines_result lines_next(struct lines *lines, struct ff_slice *line)
{
    for (;;) {
        size_t left = lines->buf.len - lines->at;
        const char *begin = lines->buf.data + lines->at;
        const char *newline = left > lines->scanned
                                  ? memchr(begin + lines->scanned, '\n', left - lines->scanned)
                                  : NULL;
        bool was_skipping = lines->is_skipping;

        lines->scanned = left;
        if (!newline && (left == 0 || (!lines->is_at_end && !was_skipping && left <= lines->max)))
            return LINES_NONE;
        *line = (struct ff_slice){begin, newline ? (size_t)(newline - begin) : left};
        lines->at += line->len + (newline != NULL);
        lines->scanned = 0;
        lines->is_skipping = !newline && !lines->is_at_end;
        if (!was_skipping)
            return line->len > lines->max ? LINES_TOO_LONG : LINES_LINE;
    }
}
