/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.h - addresses of sockets, as people and proxies write them.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/base/bytes.h"
#include "protocol/base/check.h"
#include "protocol/base/err.h"

enum { ADDRESS_TEXT_MAX = 160, ADDRESS_IPV6_BITS = 128 };

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

/*
 * Reads "127.0.0.1:8080", "[::1]:8080" or "unix:/path". Numeric only: a broker
 * that waits for a name server does not start. FF_OK, FF_EINVAL.
 */
FF_MUST_CHECK enum ff_err address_parse(struct address *address, const char *text);

/* Reads an address without a port, and a CIDR like "10.0.0.0/8" or a single address. */
FF_MUST_CHECK enum ff_err address_parse_ip(struct address *address, struct ff_slice text);

/*
 * Reads whom a proxy names: "192.0.2.9", "192.0.2.9:4711", "2001:db8::9", "[2001:db8::9]",
 * "[2001:db8::9]:4711", each with or without quotes (RFC 7239, section 6). A port may be one that
 * is kept secret ("_x"); an address that is ("unknown", "_x") is FF_EINVAL.
 */
FF_MUST_CHECK enum ff_err address_parse_node(struct address *address, struct ff_slice text);

/*
 * Is `address` inside the network `network`, a text like "10.0.0.0/8", or "unix:" for all Unix
 * sockets? False if it is malformed.
 */
bool address_is_in(const struct address *address, const char *network);

/* The same for any of `count` networks. */
bool address_is_listed(const struct address *address, const char *const *networks, uint32_t count);

/* Is it a well-formed network for the function above? */
bool address_is_network(const char *network);

/* The IP address as 16 octets (IPv4 at the end, mapped); false: it has none. */
bool address_ip(const struct address *address, uint8_t out[16]);

/* Of an IPv6 address that is no mapped IPv4 address only so many bits stay: the others are 0. */
void address_mask_ipv6(struct address *address, unsigned bits);

/* As people write it, without the port if `with_port` is false. */
void address_text(const struct address *address, bool with_port, char out[ADDRESS_TEXT_MAX]);

/* 127.0.0.0/8, ::1, or a Unix socket. */
bool address_is_loopback(const struct address *address);

#endif
