/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub.h - the connections of a load, on one epoll, with one receive buffer.
 *
 * Nothing is allocated for a message: frames are cut where they were received,
 * and only an incomplete one is copied to memory of its connection's own.
 */
#ifndef LOAD_HUB_H
#define LOAD_HUB_H

#include <sys/socket.h>

#include "bench/load/dialect.h"
#include "bench/load/options.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

#define MS_NS     UINT64_C(1000000)
#define SECOND_NS UINT64_C(1000000000)
#define POLL_NS   (100 * MS_NS)

enum peer_state { PEER_CONNECTING, PEER_SECURING, PEER_UPGRADING, PEER_OPEN, PEER_GONE };

struct peer {
    int fd;
    enum peer_state state;
    SSL *ssl;
    struct ff_buf rest; /* received and not complete */
    struct ff_buf out;  /* not yet taken by the socket */
    void *owner;
    bool is_stalled; /* not read */
    bool is_writing; /* waits until it is writable */
    bool is_publisher;
};

struct hub;

struct hub_ops {
    void (*opened)(struct hub *hub, struct peer *peer);
    void (*event)(void *arg, struct peer *peer, const struct event *event);
    void (*gone)(void *arg, struct peer *peer, const char *why); /* NULL: that ends the program */
};

struct hub {
    const struct dialect *dialect;
    const struct hub_ops *ops;
    void *arg;
    SSL_CTX *ctx; /* NULL: no TLS */
    struct sockaddr_storage address;
    socklen_t address_len;
    char host[272];
    char target[512];
    int epoll;
    uint32_t source; /* the next connection's address is 127.0.0.`source`, 0: the kernel chooses */
    uint8_t *in;
    struct ff_buf scratch;
    bool is_deflating;
    struct ff_inflater
        *inflater;          /* one for all: the server promises that no message leans on another */
    struct ff_buf packed;   /* the last compressed message, */
    struct ff_buf inflated; /* and what it is: others receive the same */
    uint64_t now_ns;        /* of the last receive */
    uint64_t receives;
};

uint64_t clock_ns(void);

/* Ends the program when the URL or the dialect is none. */
void hub_init(struct hub *hub, const struct options *options, const struct hub_ops *ops, void *arg);
void hub_deinit(struct hub *hub);

/* Begins to connect; `topic` where it is part of the path. */
void hub_connect(struct hub *hub, struct peer *peer, struct ff_slice topic);
void hub_close(struct hub *hub, struct peer *peer);

/* Waits for events, POLL_NS at most, and handles them. */
void hub_poll(struct hub *hub, uint64_t timeout_ns);

/* Stops or goes on reading. */
void hub_stall(struct hub *hub, struct peer *peer, bool is_stalled);

/* What is sent next: written to `out`, not sent before hub_flush(). */
void hub_subscribe(struct hub *hub, struct peer *peer, struct ff_slice topic);
/* The same, with the newest `count` messages; ends the program where the dialect has none. */
void hub_recover(struct hub *hub, struct peer *peer, struct ff_slice topic, uint32_t count);
/* The same, and to be told who else comes and goes. */
void hub_attend(struct hub *hub, struct peer *peer, struct ff_slice topic);
void hub_publish(struct hub *hub, struct peer *peer, struct ff_slice topic,
                 struct ff_slice payload);
void hub_ask(struct hub *hub, struct peer *peer); /* the answer is an EVENT_ANSWER */
void hub_flush(struct hub *hub, struct peer *peer);

#endif
