/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/redis/pipe.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

void redis_pipe_init(struct redis_pipe *pipe, struct net *net, redis_pipe_fn *on_io)
{
    *pipe = (struct redis_pipe){.net = net};
    ff_buf_init(&pipe->out, SIZE_MAX / 2); /* who writes has a maximum */
    redis_reader_init(&pipe->reader);
    ev_io_init(&pipe->io, on_io, -1, 0);
}

void redis_pipe_deinit(struct redis_pipe *pipe)
{
    redis_pipe_close(pipe);
    ff_buf_deinit(&pipe->out);
    redis_reader_deinit(&pipe->reader);
}

static void watch(struct redis_pipe *pipe, int events)
{
    if (ev_is_active(&pipe->io) && (pipe->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(pipe->net->loop.ev, &pipe->io);
    ev_io_set(&pipe->io, pipe->io.fd, events);
    ev_io_start(pipe->net->loop.ev, &pipe->io);
}

int redis_pipe_connect(struct redis_pipe *pipe, const struct address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    int failure = 0;

    FF_CHECK(!pipe->is_open);
    if (fd < 0)
        return errno;
    if (address->storage.ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (const struct sockaddr *)&address->storage, address->len) < 0)
        failure = errno;
    if (failure && failure != EINPROGRESS) {
        (void)close(fd);
        return failure;
    }
    redis_reader_deinit(&pipe->reader);
    pipe->out.len = pipe->out_at = 0;
    pipe->sent = 0;
    pipe->failure = 0;
    pipe->is_open = true;
    pipe->io.fd = fd;
    watch(pipe, EV_WRITE);
    return 0;
}

int redis_pipe_connected(struct redis_pipe *pipe)
{
    int failure = 0;
    socklen_t len = sizeof(failure);

    if (getsockopt(pipe->io.fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0)
        return errno;
    if (!failure)
        watch(pipe, EV_READ);
    return failure;
}

void redis_pipe_close(struct redis_pipe *pipe)
{
    if (!pipe->is_open)
        return;
    pipe->is_open = false;
    ev_io_stop(pipe->net->loop.ev, &pipe->io);
    (void)close(pipe->io.fd);
    pipe->out.len = pipe->out_at = 0;
}

/* What is sent moves out when it is the larger part, so an octet moves once. */
static void consume(struct redis_pipe *pipe, size_t len)
{
    pipe->sent += len;
    pipe->out_at += len;
    if (pipe->out_at < pipe->out.len - pipe->out_at)
        return;
    ff_buf_consume(&pipe->out, pipe->out_at);
    pipe->out_at = 0;
}

bool redis_pipe_flush(struct redis_pipe *pipe)
{
    while (pipe->is_open && !pipe->failure && redis_pipe_unsent(pipe) > 0) {
        ssize_t sent =
            send(pipe->io.fd, pipe->out.data + pipe->out_at, redis_pipe_unsent(pipe), MSG_NOSIGNAL);

        if (sent >= 0) {
            consume(pipe, (size_t)sent);
        } else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
            watch(pipe, EV_READ | EV_WRITE);
            return true;
        } else if (errno != EINTR) {
            pipe->failure = errno;
        }
    }
    if (pipe->is_open)
        watch(pipe, EV_READ);
    return !pipe->failure;
}

long redis_pipe_read(struct redis_pipe *pipe)
{
    ssize_t got;

    _Static_assert((int)REDIS_READ_PIECE <= (int)NET_RECEIVE_SIZE, "a piece fits");
    do
        got = recv(pipe->io.fd, pipe->net->receive, REDIS_READ_PIECE, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        redis_reader_feed(&pipe->reader, pipe->net->receive, (size_t)got);
    return got < 0 ? -errno : got;
}

void redis_pipe_trim(struct redis_pipe *pipe)
{
    if (pipe->out.len == 0 && pipe->out.cap > REDIS_OUT_KEPT)
        ff_buf_deinit(&pipe->out);
}
