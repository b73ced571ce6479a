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
    FF_HTTP_HEAD_LEAST = 4096, /* octets of a head that everybody takes, */
    FF_HTTP_HEAD_MAX = 16384,  /* that are taken unless somebody says otherwise, */
    FF_HTTP_HEAD_MOST = 65536, /* and that may be said */
    FF_HTTP_HEADERS_MAX = 64,
};

struct ff_http_header {
    struct ff_slice name;
    struct ff_slice value; /* without white space around it */
};

struct ff_http_head {
    struct ff_slice method; /* of a request */
    struct ff_slice target; /* of a request, begins with '/' or '?' */
    /* Of a request in absolute form: it replaces Host. .at NULL: the form was another one. */
    struct ff_slice authority;
    int minor_version; /* 1 for HTTP/1.1 */
    int status;        /* of a response */
    size_t count;
    struct ff_http_header headers[FF_HTTP_HEADERS_MAX];
};

/*
 * Looks for the empty line that ends a head. `from` is where to go on looking:
 * 0 at first, kept by the caller between calls. Empty lines before the first
 * one belong to the head (RFC 9112, section 2.2) and count against `max`, which
 * is what the whole may hold, and a single line of it. `> 0`: the head's size; 0: not
 * there yet; `< 0`: minus the HTTP status to answer (400, 414, 431).
 */
int ff_http_find_end(const char *bytes, size_t len, size_t *from, size_t max);

/*
 * Reads a whole head of `len` octets, the empty lines around it included. 0, or
 * minus the HTTP status to answer (400, 431). The target may stand in origin form or in
 * absolute form (`http://HOST/path`, RFC 9112, section 3.2.2).
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

/* The target without its query; that of `http://HOST` and `http://HOST?query` is "/". */
struct ff_slice ff_http_path(struct ff_slice target);

/*
 * Percent-decodes into `out` (room for `text.len`), `+` stays `+`. Returns the
 * size, or FF_EINVAL for a broken escape.
 */
long ff_http_percent_decode(char *out, struct ff_slice text);

/* The standard phrase for a status, for example "Not Found". */
const char *ff_http_phrase(int status);

#endif
