/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h - addresses as people write them, and how our sockets are set up.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "protocol/base/bytes.h"
#include "protocol/base/check.h"
#include "protocol/base/err.h"

enum { ADDRESS_TEXT_MAX = 160, SOCKET_LOW_WATER = 16384 };

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

/* Is `address` inside the network `network`, a text like "10.0.0.0/8"? False if it is malformed. */
bool address_is_in(const struct address *address, const char *network);

/* The same for any of `count` networks. */
bool address_is_listed(const struct address *address, const char *const *networks, uint32_t count);

/* Is it a well-formed network for the function above? */
bool address_is_network(const char *network);

/* The IP address as 16 octets (IPv4 at the end, mapped); false: it has none. */
bool address_ip(const struct address *address, uint8_t out[16]);

/* As people write it, without the port if `with_port` is false. */
void address_text(const struct address *address, bool with_port, char out[ADDRESS_TEXT_MAX]);

/* 127.0.0.0/8, ::1, or a Unix socket. */
bool address_is_loopback(const struct address *address);

/*
 * A listening socket, non-blocking. A port in use is an error (FF_ESYS, errno
 * says why). `address` becomes what it was bound to, so port 0 is answered.
 */
FF_MUST_CHECK enum ff_err socket_listen(struct address *address, int *fd);

/* One more for the same address: the kernel spreads connections over them. Not for Unix sockets. */
FF_MUST_CHECK enum ff_err socket_listen_too(const struct address *address, int *fd);

/*
 * Sets an accepted socket up: no delay, at most 16 KiB not yet sent in the
 * kernel (a stalled reader then holds 160 KiB there instead of 4 MiB). Errors
 * are of no importance.
 */
void socket_set_up(int fd);

/* How long bytes may stay unanswered until the kernel ends the connection. */
void socket_set_user_timeout(int fd, unsigned ms);

/* Octets that the kernel has taken but not yet sent; 0 where it cannot tell. */
int socket_unsent(int fd);

/* The socket counts as writable when fewer than `bytes` are not yet sent. */
void socket_set_low_water(int fd, int bytes);

/* Closes with a reset instead of waiting for the peer. */
void socket_reset(int fd);

#endif
