/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h - how a connection's bytes get in and out: TCP or TLS.
 *
 * A transport never keeps bytes that a caller must offer again: what it has
 * accepted it counts as sent. (TLS may hold one encrypted record back; then
 * `is_holding` is true until push() got rid of it.)
 */
#ifndef NET_TRANSPORT_H
#define NET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct conn;

enum {
    TRANSPORT_AGAIN = -1, /* the socket would block */
    TRANSPORT_GONE = -2,  /* an error: the connection is of no further use */
    TRANSPORT_WRITE = -3, /* recv only: TLS must write first, wait for that */
};

struct transport {
    /* > 0 octets, 0 the peer ended its side, else one of the above. */
    long (*recv)(struct conn *conn, uint8_t *out, size_t size);
    /* Is there input that no event of the socket tells of, because TLS has decrypted it already? */
    bool (*has_more)(const struct conn *conn);
    /* > 0 octets accepted (fewer than offered: the socket is full), or AGAIN or GONE. */
    long (*send)(struct conn *conn, const struct iovec *iov, int count);
    /* Tries to get rid of what is held back: 0 done, or AGAIN or GONE. */
    long (*push)(struct conn *conn);
    bool (*is_holding)(const struct conn *conn);
    /* Says goodbye and ends our side of the socket. */
    void (*shutdown)(struct conn *conn);
    /* Frees the transport's own memory; the socket stays. */
    void (*free)(struct conn *conn);
    size_t max_send; /* the most that one send takes well */
};

/* What an error number of a socket means: AGAIN or GONE. */
long transport_failure(int error);

extern const struct transport transport_tcp;
extern const struct transport transport_tls;

#endif
