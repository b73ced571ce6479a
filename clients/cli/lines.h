/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines.h - the lines of a descriptor, read only when there is something to read.
 *
 * The last line counts without its newline, too. A line over `max` octets is
 * handed on as LINES_TOO_LONG once, and skipped.
 */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include "protocol/base/buf.h"

struct lines {
    struct ff_buf buf;
    size_t at;      /* where the next line begins */
    size_t scanned; /* behind it: so much has no newline */
    size_t max;
    int fd;
    int error;        /* why reading ended before the end; 0: it did not */
    bool is_at_end;   /* of what can be read; there may be lines left */
    bool is_skipping; /* the rest of one that was too long */
};

enum lines_result { LINES_NONE, LINES_LINE, LINES_TOO_LONG };

void lines_init(struct lines *lines, int fd, size_t max);
void lines_deinit(struct lines *lines);

/* Reads once; blocks unless poll() said that there is something. False: the end. */
bool lines_read(struct lines *lines);

/* The next whole line, without its newline; valid until the next read. NONE: read first. */
enum lines_result lines_next(struct lines *lines, struct ff_slice *line);

#endif
