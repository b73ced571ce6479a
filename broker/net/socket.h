/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h - how our sockets are set up.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/net/address.h"

enum { SOCKET_LOW_WATER = 16384 };

/* Who may connect to a Unix socket; nothing said: as the umask has it. */
struct socket_access {
    bool has_mode;
    bool has_group;
    mode_t mode;
    gid_t group;
};

/*
 * A listening socket, non-blocking. A port in use is an error (FF_ESYS, errno
 * says why). `address` becomes what it was bound to, so port 0 is answered.
 */
FF_MUST_CHECK enum ff_err socket_listen(struct address *address, const struct socket_access *access,
                                        int *fd);

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
