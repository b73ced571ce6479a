/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forwarded.h - what a trusted proxy says of a request: who its client is, and for which
 * site it came.
 *
 * The client stands in the header that the option `proxy_header` names: a list of addresses
 * (X-Forwarded-For, X-Real-IP, CF-Connecting-IP, any of that kind), or Forwarded (RFC 7239). It
 * is read from its end, because only what our own proxies appended can be believed: the
 * client is whom the last of them names that is not one of them. The site is that of
 * Forwarded, or of X-Forwarded-Host, -Proto and -Port; no web page can set these.
 */
#ifndef SESSION_FORWARDED_H
#define SESSION_FORWARDED_H

#include "broker/net/address.h"
#include "broker/session/settings.h"
#include "protocol/websocket/http.h"

/* Hops that are looked at: who names more names nobody. */
enum { FORWARDED_HOPS = 32 };

struct forwarded {
    bool has_client; /* somebody is named who is none of our proxies */
    struct address client;
    bool is_there; /* a header of a proxy's was there, whatever it says */
    struct ff_slice
        host; /* HOST[:PORT]; of this and what follows .at is NULL where it is not told */
    struct ff_slice port;   /* digits, if well formed */
    struct ff_slice scheme; /* http, https, ws or wss, if well formed */
};

/* The request came from one of our proxies. Slices point into the head. */
void forwarded_read(struct forwarded *forwarded, const struct settings *settings,
                    const struct ff_http_head *head);

#endif
