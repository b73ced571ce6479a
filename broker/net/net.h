/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - what all connections of one worker share.
 *
 * One loop, one timer wheel, one pool, one receive buffer, one flush list. A
 * worker owns one `struct net`; nothing in it is touched by other threads.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "broker/net/input.h"
#include "broker/net/loop.h"
#include "broker/net/pool.h"
#include "broker/net/uring.h"
#include "broker/net/wheel.h"
#include "protocol/base/budget.h"
#include "protocol/base/list.h"

enum {
    NET_RECEIVE_SIZE = 65536,
    NET_TLS_RECORD = 16384,
    NET_LOOK_EVERY = 64,      /* flushes between looks at the clock: it costs 25 ns, a send 2,500 */
    NET_LOOK_LATE = 4,        /* and of the late ones, which are sent much at once */
    NET_MAX_HANDSHAKES = 200, /* TLS: a thousand at once leave the heap at 20 KB a connection */
};

struct conn_ops;

struct net {
    struct loop loop;
    struct wheel wheel;
    struct pool pool;
    const struct conn_ops *ops; /* of all connections, kept here and not in each of them */
    void *owner;
    uint8_t *receive;        /* NET_RECEIVE_SIZE octets */
    uint8_t *record;         /* NET_TLS_RECORD octets: a TLS record is gathered here */
    struct ff_list flush;    /* connections with something to send, */
    struct ff_list late;     /* and those for which it is of the past: conn.is_late */
    struct ff_list closing;  /* connections whose conversation is over but not their sending */
    struct ff_list dead;     /* connections to free when the turn ends */
    uint32_t close_ms;       /* how long a close may take */
    uint32_t outbox_max;     /* octets of control messages a connection may be owed */
    struct ff_budget budget; /* of the whole process, as this worker sees it */
    uint64_t turns;          /* that are over */
    uint32_t connections;
    uint32_t handshakes; /* TLS handshakes under way */
    uint32_t guest_count;
    struct ff_list guests;      /* accepted sockets whose PROXY head is to come: porch.h */
    struct ff_list gone_guests; /* those to free when the turn ends */
    struct input input;         /* connections that are to be read */
    uint64_t sent_bytes;
    struct uring *uring; /* the flush's sends go out together; NULL: one by one */
};

/* `begin` is called at the beginning of each turn, `turn` at its end. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err net_init(struct net *net, loop_begin_fn *begin, loop_turn_fn *turn,
                                   void *arg);
void net_deinit(struct net *net);

/* Before the first connection: how the floor above is called, and what it finds as `owner`. */
void net_serve(struct net *net, const struct conn_ops *ops, void *owner);

/* At the beginning of a turn. */
void net_begin(struct net *net);

/*
 * In its own thread: from here on the flush's sends go out together. NULL, or why
 * the kernel does not let us: then they go out one by one.
 */
const char *net_use_uring(struct net *net);

/*
 * Works on the flush list for at most `slice_us`, and on the late ones for their share;
 * then what is left waits for the next turn. Connections that come later get the newer
 * messages with it. True when nothing is left.
 */
bool net_flush(struct net *net, uint64_t slice_us);

static inline bool net_is_flushed(const struct net *net)
{
    return ff_list_is_empty(&net->flush) && ff_list_is_empty(&net->late);
}

/* Has every closing connection sent all it had to send? */
bool net_is_shut(const struct net *net);

/* The end: resets all connections that are still closing, and reads of none any more. */
void net_abort_all(struct net *net);

/* Frees connections that died in this turn. */
void net_free_dead(struct net *net);

/* The present tick of the wheel: a clock of 10 ms in 32 bits. */
static inline uint32_t net_tick(const struct net *net)
{
    return wheel_now(&net->wheel);
}

#endif
