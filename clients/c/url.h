/* SPDX-License-Identifier: Apache-2.0 */
/* url.h - ws:// and wss:// URLs, taken apart. */
#ifndef C_URL_H
#define C_URL_H

#include <stdbool.h>

#include "protocol/base/check.h"
#include "protocol/base/err.h"

enum { FF_URL_MAX = 512 };

struct ff_url {
    char host[256]; /* without brackets */
    char port[8];
    char authority[272];     /* as the Host header wants it */
    char target[FF_URL_MAX]; /* path and query; /ws where there is none */
    bool is_tls;
};

/* FF_OK, FF_EINVAL. */
FF_MUST_CHECK enum ff_err ff_url_parse(struct ff_url *url, const char *text);

#endif
