/* SPDX-License-Identifier: Apache-2.0 */
/*
 * porch.c - guests, in two lists of their net: those that are waited for, and those that have gone
 * and are freed when the turn ends, because they go in callbacks of their own.
 */
#include "broker/net/porch.h"

#include <errno.h>
#include <unistd.h>

#include "broker/net/logger.h"
#include "broker/net/proxy_protocol.h"
#include "protocol/base/mem.h"

struct guest {
    ev_io io;
    struct wheel_timer timer;
    struct ff_list link;
    struct listener *listener;
    struct newcomer newcomer;
    size_t len; /* octets of the head that were read */
    uint8_t bytes[PROXY_HEAD_MAX];
};

/* It is waited for no longer; the socket is the caller's. */
static void go(struct guest *guest)
{
    struct net *net = guest->listener->net;

    ev_io_stop(net->loop.ev, &guest->io);
    wheel_stop(&net->wheel, &guest->timer);
    ff_list_remove(&guest->link);
    ff_list_append(&net->gone_guests, &guest->link);
    net->guest_count--;
}

static void reset(struct guest *guest)
{
    go(guest);
    socket_reset(guest->newcomer.fd);
}

static void refuse(struct guest *guest, const char *why)
{
    char peer[ADDRESS_TEXT_MAX];

    address_text(&guest->newcomer.peer, true, peer);
    LOG_EVENT(LOG_WARN, "proxy_refused", LOG_TEXT("peer", peer), LOG_TEXT("why", why));
    reset(guest);
}

static void hand_on(struct guest *guest, const struct proxy_head *head)
{
    struct listener *listener = guest->listener;

    go(guest);
    if (head->has_client) {
        guest->newcomer.peer = head->client;
        guest->newcomer.is_named = true;
    }
    listener->ops->accepted(listener->arg, &guest->newcomer);
}

/* What stands behind the head stays in the socket: it is TLS's, or HTTP's. */
static void read_head(struct guest *guest)
{
    int fd = guest->newcomer.fd;
    ssize_t got = recv(fd, guest->bytes + guest->len, sizeof(guest->bytes) - guest->len,
                       MSG_PEEK | MSG_DONTWAIT);
    struct proxy_head head;
    size_t take = got > 0 ? (size_t)got : 0;
    int size;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) { /* a proxy that only looks whether we are there */
        reset(guest);
        return;
    }
    size = proxy_protocol_read(&head, guest->bytes, guest->len + take);
    if (size < 0) {
        refuse(guest, "what it sent first is no head of the PROXY protocol");
        return;
    }
    if (size > 0) { /* not less than was read before, or that would have been complete */
        FF_CHECK((size_t)size > guest->len);
        take = (size_t)size - guest->len;
    }
    if (recv(fd, guest->bytes + guest->len, take, MSG_DONTWAIT) != (ssize_t)take) {
        reset(guest);
        return;
    }
    guest->len += take;
    if (size > 0)
        hand_on(guest, &head);
}

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct guest *guest = FF_CONTAINER(watcher, struct guest, io);

    (void)ev;
    if (events & EV_ERROR) /* the kernel does not watch it */
        reset(guest);
    else
        read_head(guest);
}

static void on_late(struct wheel_timer *timer)
{
    struct guest *guest = FF_CONTAINER(timer, struct guest, timer);

    if (guest->len)
        refuse(guest, "its head of the PROXY protocol did not come in 5 s");
    else
        reset(guest);
}

void porch_take(struct listener *listener, const struct newcomer *newcomer)
{
    struct net *net = listener->net;
    struct guest *guest;
    char peer[ADDRESS_TEXT_MAX];

    if (!listener->ops->is_proxy(listener->arg, &newcomer->peer)) {
        address_text(&newcomer->peer, true, peer);
        LOG_EVENT(LOG_WARN, "proxy_refused", LOG_TEXT("peer", peer),
                  LOG_TEXT("why", "its address is not in the option proxies"));
        socket_reset(newcomer->fd);
        return;
    }
    guest = ff_mem_zalloc(sizeof(*guest));
    if (!guest) {
        socket_reset(newcomer->fd);
        return;
    }
    guest->listener = listener;
    guest->newcomer = *newcomer;
    ff_list_append(&net->guests, &guest->link);
    net->guest_count++;
    wheel_timer_init(&guest->timer, on_late);
    wheel_set(&net->wheel, &guest->timer, PORCH_MS);
    ev_io_init(&guest->io, on_readable, newcomer->fd, EV_READ);
    ev_io_start(net->loop.ev, &guest->io);
}

void porch_leave(const struct listener *listener)
{
    struct ff_list *guests = &listener->net->guests;
    struct ff_list *next;

    for (struct ff_list *node = guests->next; node != guests; node = next) {
        struct guest *guest = FF_CONTAINER(node, struct guest, link);

        next = node->next;
        if (guest->listener == listener)
            reset(guest);
    }
}

void porch_free_gone(struct net *net)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&net->gone_guests)))
        ff_mem_free(FF_CONTAINER(node, struct guest, link));
}
