/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url.h - where a Redis is, and who we are there:
 *
 *   redis://[[user]:password@]host[:port][/db]
 *   unix://[[user]:password@]/path[?db=N]   redis+unix://... is the same
 *
 * with %-escapes in user, password and path, and IPv6 in brackets. One Redis without TLS: what
 * asks for more is refused and told so. What is wrong is told without a word of the URL, and a
 * URL is written without user and password: a password is in no line of a log.
 */
#ifndef REDIS_URL_H
#define REDIS_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/check.h"

enum {
    REDIS_WHY_MAX = 256, /* a reason, for an operator */
    REDIS_HOST_MAX = 256,
    REDIS_PATH_MAX = 108, /* as sun_path has it */
    REDIS_USER_MAX = 128,
    REDIS_PASSWORD_MAX = 256,
    REDIS_URL_MAX = 384, /* as redis_url_write writes it */
    REDIS_PORT = 6379,
    REDIS_DB_MAX = 65535,
};

/* All texts end with a NUL. */
struct redis_url {
    char host[REDIS_HOST_MAX]; /* a name or an address, without brackets; "" of a Unix socket */
    char path[REDIS_PATH_MAX]; /* of a Unix socket */
    char user[REDIS_USER_MAX]; /* "": Redis' default user */
    char password[REDIS_PASSWORD_MAX]; /* "": there is none */
    uint32_t db;
    uint16_t port;
    bool is_unix;
    bool is_tls; /* not yet: never true */
};

/* False: `why` says what is wrong with it and what would be right; `url` is then worth nothing. */
FF_MUST_CHECK bool redis_url_parse(struct redis_url *url, const char *text,
                                   char why[REDIS_WHY_MAX]);

/* As it would be parsed, but without user and password. */
void redis_url_write(const struct redis_url *url, char out[REDIS_URL_MAX]);

#endif
