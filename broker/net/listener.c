/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "broker/net/logger.h"
#include "broker/net/porch.h"
#include "broker/net/turn.h"

enum { HELD_BACK_MS = 10, STARVED_MS = 100 };

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void stop_for(struct listener *listener, uint64_t ms)
{
    ev_io_stop(listener->net->loop.ev, &listener->io);
    wheel_set(&listener->net->wheel, &listener->retry, ms);
}

/* No descriptor left: the spare one sheds a peer, which then sees a reset and not silence. */
static void shed(struct listener *listener, int why)
{
    int fd;

    LOG_EVENT(LOG_WARN, "accept_starved", LOG_TEXT("why", strerror(why)));
    if (listener->spare < 0)
        return;
    (void)close(listener->spare);
    fd = accept4(listener->io.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        socket_reset(fd);
    listener->spare = open_spare();
}

static void take(struct listener *listener, const struct newcomer *newcomer)
{
    if (listener->is_proxied)
        porch_take(listener, newcomer);
    else
        listener->ops->accepted(listener->arg, newcomer);
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct listener *listener = FF_CONTAINER(watcher, struct listener, io);
    bool is_behind = listener->net->input.is_behind;

    (void)ev;
    if (events & EV_ERROR) { /* the kernel has no memory to watch it: again in a moment */
        stop_for(listener, STARVED_MS);
        return;
    }
    /* While others wait to be read newcomers wait in the backlog, but for one a turn. */
    for (int i = 0; i < (is_behind ? 1 : TURN_ACCEPTS); i++) {
        struct newcomer newcomer = {.is_tls = listener->is_tls};
        struct address *peer = &newcomer.peer;

        if (!listener->ops->can_accept(listener->arg, listener)) {
            stop_for(listener, HELD_BACK_MS);
            return;
        }
        peer->len = sizeof(peer->storage);
        newcomer.fd = accept4(listener->io.fd, (struct sockaddr *)&peer->storage, &peer->len,
                              SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (newcomer.fd >= 0) {
            take(listener, &newcomer);
            if (!listener->is_open)
                return;
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            shed(listener, errno);
            stop_for(listener, STARVED_MS);
        }
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static void on_retry(struct wheel_timer *timer)
{
    struct listener *listener = FF_CONTAINER(timer, struct listener, retry);

    if (listener->spare < 0)
        listener->spare = open_spare();
    ev_io_start(listener->net->loop.ev, &listener->io);
}

static void start(struct listener *listener, int fd)
{
    listener->spare = open_spare();
    listener->is_open = true;
    wheel_timer_init(&listener->retry, on_retry);
    ev_io_init(&listener->io, on_readable, fd, EV_READ);
    ev_io_start(listener->net->loop.ev, &listener->io);
}

enum ff_err listener_open(struct listener *listener, struct net *net,
                          const struct endpoint *endpoint, const struct listener_ops *ops,
                          void *arg)
{
    enum ff_err err;
    int fd;

    *listener = (struct listener){.net = net,
                                  .ops = ops,
                                  .arg = arg,
                                  .address = endpoint->address,
                                  .spare = -1,
                                  .is_tls = endpoint->is_tls,
                                  .is_proxied = endpoint->is_proxied};
    err = socket_listen(&listener->address, &endpoint->access, &fd);
    if (!err)
        start(listener, fd);
    return err;
}

void listener_take(struct listener *listener, struct net *net, const struct endpoint *endpoint,
                   int fd, const struct listener_ops *ops, void *arg)
{
    *listener = (struct listener){.net = net,
                                  .ops = ops,
                                  .arg = arg,
                                  .address = endpoint->address,
                                  .spare = -1,
                                  .is_tls = endpoint->is_tls,
                                  .is_proxied = endpoint->is_proxied,
                                  .is_taken = true};
    start(listener, fd);
}

enum ff_err listener_open_too(struct listener *listener, struct net *net,
                              const struct listener *first, void *arg)
{
    enum ff_err err;
    int fd;

    *listener = (struct listener){.net = net,
                                  .ops = first->ops,
                                  .arg = arg,
                                  .address = first->address,
                                  .spare = -1,
                                  .is_tls = first->is_tls,
                                  .is_proxied = first->is_proxied,
                                  .is_taken = first->is_taken};
    if (first->address.storage.ss_family == AF_UNIX || first->is_taken)
        return FF_OK; /* one socket; what it accepts is handed round */
    err = socket_listen_too(&first->address, &fd);
    if (!err)
        start(listener, fd);
    return err;
}

void listener_close(struct listener *listener)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&listener->address.storage;

    if (!listener->is_open)
        return;
    listener->is_open = false;
    porch_leave(listener);
    ev_io_stop(listener->net->loop.ev, &listener->io);
    wheel_stop(&listener->net->wheel, &listener->retry);
    (void)close(listener->io.fd);
    if (listener->spare >= 0)
        (void)close(listener->spare);
    if (un->sun_family == AF_UNIX && !listener->is_taken)
        (void)unlink(un->sun_path);
}

void listener_url(const struct listener *listener, char out[ADDRESS_TEXT_MAX])
{
    char address[ADDRESS_TEXT_MAX];

    address_text(&listener->address, true, address);
    (void)snprintf(out, ADDRESS_TEXT_MAX, "%s://%.*s/ws", listener->is_tls ? "wss" : "ws",
                   ADDRESS_TEXT_MAX - 12, address);
}
