/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint.h - one entry of the option `listen`, as people write it:
 *
 *   127.0.0.1:8080   [::1]:8080   localhost:8080 (both of these)
 *   unix:/run/fanfare.sock,mode=0660,group=www-data
 *
 * with "tls:" before it for TLS, and "proxy:" where each connection begins with a head of the
 * PROXY protocol. Addresses are numeric: a broker that waits for a name server does not start.
 */
#ifndef NET_ENDPOINT_H
#define NET_ENDPOINT_H

#include "broker/net/socket.h"

enum { ENDPOINT_WHY_MAX = 256 };

struct endpoint {
    struct address address;
    struct socket_access access; /* of a Unix socket */
    bool is_tls;
    bool is_proxied;   /* the PROXY protocol is spoken */
    bool is_localhost; /* `address` is that of IPv4, and ::1 is meant, too */
};

/* False: `why` says what is wrong with it and what would be right, for the operator. */
bool endpoint_parse(struct endpoint *endpoint, const char *text, char why[ENDPOINT_WHY_MAX]);

/* The other address of localhost, with the port that the first one was bound to. */
void endpoint_take_ipv6(struct endpoint *endpoint, const struct address *bound);

/*
 * Cuts the first entry off a list that is separated by commas: those before "mode=" and "group="
 * belong to their entry.
 */
struct ff_slice endpoint_cut(struct ff_slice *rest);

#endif
