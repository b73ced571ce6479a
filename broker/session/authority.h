/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authority.h - HOST[:PORT], as it stands in a Host header, an Origin or a URL
 * (RFC 3986, section 3.2, without a user's name). Slices point into the text.
 */
#ifndef SESSION_AUTHORITY_H
#define SESSION_AUTHORITY_H

#include <stdbool.h>

#include "protocol/base/bytes.h"

struct authority {
    struct ff_slice host; /* an IPv6 address with its brackets */
    struct ff_slice port; /* digits; .at NULL: none is named */
};

/* False: this is none. An empty port counts as none. */
bool authority_parse(struct authority *authority, struct ff_slice text);

#endif
