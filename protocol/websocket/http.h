/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - the head of an HTTP/1.1 request or response (RFC 9112), and no more.
 *
 * Strict on purpose: what two parsers could read differently (bare LF, folded
 * lines, white space before a colon, control characters) is refused. Slices
 * point into the bytes given. Nothing allocates.
 */
#ifndef WEBSOCKET_HTTP_H
#define WEBSOCKET_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "protocol/base/bytes.h"

enum {
    FF_HTTP_HEAD_MAX = 8192,
    FF_HTTP_LINE_MAX = 4096,
    FF_HTTP_HEADERS_MAX = 64,
};

struct ff_http_header {
    struct ff_slice name;
    struct ff_slice value; /* without white space around it */
};

struct ff_http_head {
    struct ff_slice method; /* of a request */
    struct ff_slice target; /* of a request */
    int minor_version;      /* 1 for HTTP/1.1 */
    int status;             /* of a response */
    size_t count;
    struct ff_http_header headers[FF_HTTP_HEADERS_MAX];
};

/*
 * Looks for the empty line that ends a head. `from` is where to go on looking:
 * 0 at first, kept by the caller between calls. `> 0`: the head's size; 0: not
 * there yet; `< 0`: minus the HTTP status to answer (400, 414, 431).
 */
int ff_http_find_end(const char *bytes, size_t len, size_t *from);

/*
 * Reads a whole head of `len` octets, the empty line included. 0, or minus the
 * HTTP status to answer (400, 414, 431).
 */
int ff_http_parse_request(struct ff_http_head *head, const char *bytes, size_t len);

/* The same for a response; any negative answer means it is not HTTP/1.1. */
int ff_http_parse_response(struct ff_http_head *head, const char *bytes, size_t len);

/* The first header of this name (any case), or NULL; `*count` how many there are (may be NULL). */
const struct ff_http_header *ff_http_find(const struct ff_http_head *head, const char *name,
                                          size_t *count);

/* Does a comma-separated list in any header of this name hold `token` (any case)? */
bool ff_http_has_token(const struct ff_http_head *head, const char *name, const char *token);

/*
 * The value of the first parameter `name` in the target's query, as it stands
 * (percent-encoded); .at is NULL when there is none.
 */
struct ff_slice ff_http_query(struct ff_slice target, const char *name);

/* The target without its query. */
struct ff_slice ff_http_path(struct ff_slice target);

/*
 * Percent-decodes into `out` (room for `text.len`), `+` stays `+`. Returns the
 * size, or FF_EINVAL for a broken escape.
 */
long ff_http_percent_decode(char *out, struct ff_slice text);

/* The standard phrase for a status, for example "Not Found". */
const char *ff_http_phrase(int status);

#endif
