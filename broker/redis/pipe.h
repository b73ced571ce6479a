/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe.h - the socket of a link: octets out, replies in, and no word of what they are about.
 *
 * What is written waits in `out` until redis_pipe_flush() and, where the socket does not take it,
 * until the loop finds it writable. A send that fails is not the end yet: what Redis said before
 * can still be read. All the owner's functions are called from the owner; the pipe calls nobody.
 *
 * It can be closed at any time, within the handling of a reply, too: that reply is good until
 * redis_pipe_connect() or redis_pipe_deinit().
 */
#ifndef REDIS_PIPE_H
#define REDIS_PIPE_H

#include "broker/net/address.h"
#include "broker/net/net.h"
#include "broker/redis/reply.h"

enum {
    REDIS_READ_PIECE = 16 * 1024,  /* as reply.h wants it */
    REDIS_READ_TURN = 1024 * 1024, /* octets in one turn: others want theirs */
    REDIS_OUT_KEPT = 64 * 1024,
};

struct redis_pipe {
    ev_io io;
    struct net *net;
    struct ff_buf out;
    size_t out_at; /* octets of `out` that are sent */
    uint64_t sent; /* octets, since it was connected; stays when it is closed */
    int failure;   /* errno of a send; 0: none has failed */
    struct redis_reader reader;
    bool is_open;
};

typedef void redis_pipe_fn(struct ev_loop *ev, ev_io *watcher, int events);

/* Closed, and without memory. `on_io` is called by the loop with `io`. */
void redis_pipe_init(struct redis_pipe *pipe, struct net *net, redis_pipe_fn *on_io);
void redis_pipe_deinit(struct redis_pipe *pipe);

/* Of a closed one. 0: the loop will find it writable when it is connected, or not; else errno. */
FF_MUST_CHECK int redis_pipe_connect(struct redis_pipe *pipe, const struct address *address);

/* It is writable: 0 (from now on it is read), or errno. */
FF_MUST_CHECK int redis_pipe_connected(struct redis_pipe *pipe);

/* A closed one may be closed again. */
void redis_pipe_close(struct redis_pipe *pipe);

/* Octets that are written and not yet sent. */
static inline size_t redis_pipe_unsent(const struct redis_pipe *pipe)
{
    return pipe->out.len - pipe->out_at;
}

/* Sends what is in `out`, which whoever writes appends to. False: it has failed; `failure`. */
FF_MUST_CHECK bool redis_pipe_flush(struct redis_pipe *pipe);

/* Feeds the reader with what has come. > 0: octets; 0: Redis has closed it; < 0: -errno. */
FF_MUST_CHECK long redis_pipe_read(struct redis_pipe *pipe);

/* Gives memory back that a burst needed. */
void redis_pipe_trim(struct redis_pipe *pipe);

#endif
