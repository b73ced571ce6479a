/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_protocol.h - the head that a proxy sends before all else, to say for whom it
 * connects: version 1 (a line of text) and version 2 (binary) of HAProxy's PROXY protocol.
 *
 * The parser is total, holds nothing and reads no octet behind the head: while it answers
 * that a head is not complete, all octets that it was given belong to it.
 */
#ifndef NET_PROXY_PROTOCOL_H
#define NET_PROXY_PROTOCOL_H

#include "broker/net/address.h"

enum { PROXY_HEAD_MAX = 2048 }; /* of version 2, which may carry a certificate's name and more */

struct proxy_head {
    bool has_client; /* false: the proxy speaks for itself (a check of its), or cannot tell */
    struct address client;
};

/* > 0: the head's size; 0: more is to come, PROXY_HEAD_MAX at most; < 0: this is none. */
int proxy_protocol_read(struct proxy_head *head, const uint8_t *bytes, size_t len);

#endif
