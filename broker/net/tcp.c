/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/socket.h>

#include "broker/net/conn.h"
#include "broker/net/transport.h"

long transport_failure(int error)
{
    return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM
               ? TRANSPORT_AGAIN
               : TRANSPORT_GONE;
}

static long tcp_recv(struct conn *conn, uint8_t *out, size_t size)
{
    ssize_t got = recv(conn_fd(conn), out, size, 0);

    return got >= 0 ? got : transport_failure(errno);
}

static long tcp_send(struct conn *conn, const struct iovec *iov, int count)
{
    union { /* sendmsg only reads it, but its type does not say so */
        const struct iovec *constant;
        struct iovec *writable;
    } either = {iov};
    struct msghdr message = {.msg_iovlen = (size_t)count};
    ssize_t sent;

    if (count == 1) {
        sent = send(conn_fd(conn), iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    } else {
        message.msg_iov = either.writable;
        sent = sendmsg(conn_fd(conn), &message, MSG_NOSIGNAL);
    }
    return sent >= 0 ? sent : transport_failure(errno);
}

static long tcp_push(struct conn *conn)
{
    (void)conn;
    return 0;
}

static bool tcp_has_more(const struct conn *conn)
{
    (void)conn;
    return false;
}

static bool tcp_is_holding(const struct conn *conn)
{
    (void)conn;
    return false;
}

static void tcp_shutdown(struct conn *conn)
{
    (void)shutdown(conn_fd(conn), SHUT_WR);
}

static void tcp_free(struct conn *conn)
{
    (void)conn;
}

const struct transport transport_tcp = {
    .recv = tcp_recv,
    .has_more = tcp_has_more,
    .send = tcp_send,
    .push = tcp_push,
    .is_holding = tcp_is_holding,
    .shutdown = tcp_shutdown,
    .free = tcp_free,
    .max_send = 256UL * 1024,
};
