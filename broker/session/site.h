/* SPDX-License-Identifier: Apache-2.0 */
/*
 * site.h - names of sites in normal form, and what the options `origins` and `hosts` say
 * of them.
 *
 * An origin's normal form is SCHEME://HOST[:PORT] in lower case, without the port
 * that its scheme has anyway; a host's is HOST[:PORT]. In an option `*.` may stand
 * before two labels or more: it is any subdomain, and not the domain itself. What
 * could match nothing, or everything by mistake, is refused there.
 */
#ifndef SESSION_SITE_H
#define SESSION_SITE_H

#include <stdbool.h>
#include <stddef.h>

#include "protocol/base/bytes.h"

enum {
    SITE_TEXT_MAX = 320, /* of a normal form, its zero included */
    SITE_WHY_MAX = 256,
};

/* For which site a request came. */
struct site {
    struct ff_slice host;   /* HOST[:PORT] */
    struct ff_slice port;   /* the port that a proxy names; .at NULL: none */
    struct ff_slice scheme; /* the scheme that a proxy names; .at NULL: none */
    bool is_proxied;        /* a trusted proxy asks */
    /* No browser of this machine spoke to us here: nobody can have made it do so by a name. */
    bool is_indirect;
};

/* A request's Origin, or Host. False: it has no normal form. */
bool site_read_origin(char out[SITE_TEXT_MAX], struct ff_slice text);
bool site_read_host(char out[SITE_TEXT_MAX], struct ff_slice text);

/*
 * One entry of `origins` or of `hosts`; a slash at its end, a default port and, of a host, a
 * scheme are taken away. False: `why` says what would be right.
 */
bool site_read_origin_entry(char out[SITE_TEXT_MAX], const char *text, char why[SITE_WHY_MAX]);
bool site_read_host_entry(char out[SITE_TEXT_MAX], const char *text, char why[SITE_WHY_MAX]);

/* Is this normal form what an entry's normal form means? */
bool site_is_match(const char *entry, const char *text);

#endif
