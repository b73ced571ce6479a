/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener.h - a listening socket that never spins.
 *
 * When descriptors or memory run out (EMFILE, ENFILE, ENOMEM, ENOBUFS) it
 * stops looking for a moment instead of being woken without end, and closes a
 * spare descriptor to shed one waiting peer. The owner may hold accepting back; so
 * does input that is behind, but for one newcomer a turn.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "broker/net/endpoint.h"
#include "broker/net/net.h"

struct listener;

/* An accepted socket, non-blocking. */
struct newcomer {
    int fd;
    struct address peer;
    bool is_tls;
    bool is_named; /* `peer` is whom a trusted proxy named; else who the socket is connected to */
};

struct listener_ops {
    /* May one more be accepted now? While not, it asks again every 10 ms. */
    bool (*can_accept)(void *arg, const struct listener *listener);
    /* The socket is the owner's from here on. */
    void (*accepted)(void *arg, const struct newcomer *newcomer);
    /* May this peer say for whom it connects? Asked where the PROXY protocol is spoken. */
    bool (*is_proxy)(void *arg, const struct address *peer);
};

struct listener {
    ev_io io;
    struct net *net;
    const struct listener_ops *ops;
    void *arg;
    struct wheel_timer retry;
    struct address address; /* what it is bound to */
    int spare;              /* a descriptor to give up when there are no others */
    bool is_tls;
    bool is_proxied; /* connections begin with a head of the PROXY protocol */
    bool is_taken;   /* somebody else holds the socket, too, and goes on after us */
    bool is_open;
};

/* Listens there. FF_OK; FF_ESYS: errno says why. */
FF_MUST_CHECK enum ff_err listener_open(struct listener *listener, struct net *net,
                                        const struct endpoint *endpoint,
                                        const struct listener_ops *ops, void *arg);

/*
 * The same with a listening socket that is there already. It is the only one for its
 * address: what it accepts is handed round, and what nobody has accepted when we end
 * waits for who takes it next.
 */
void listener_take(struct listener *listener, struct net *net, const struct endpoint *endpoint,
                   int fd, const struct listener_ops *ops, void *arg);

/* Another worker's, at the same address. FF_OK (of a Unix socket, and one that was taken, it stays
 * closed), FF_ESYS. */
FF_MUST_CHECK enum ff_err listener_open_too(struct listener *listener, struct net *net,
                                            const struct listener *first, void *arg);

/* Ends listening; accepted sockets stay. A second call does nothing. */
void listener_close(struct listener *listener);

/* The URL of the WebSocket endpoint, for example ws://127.0.0.1:8080/ws. */
void listener_url(const struct listener *listener, char out[ADDRESS_TEXT_MAX]);

#endif
