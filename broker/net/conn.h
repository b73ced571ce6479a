/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - one connection: a pipe of bytes with a small outbox.
 *
 * A connection sends, in this order: `cut_frame` (what a full socket left of a
 * frame), the outbox (control messages), then ranges of logs that its owner
 * offers when it is asked (collect). Each turn it makes one sendmsg of all of
 * them. It never holds a message: what the socket does not take stays where it
 * is, and the owner is asked again when there is room.
 *
 * The owner embeds the connection and is called through the `conn_ops` of the net. Life:
 * open -> closing (the cut frame, the outbox and the close frame go out, at most
 * `close_ms`) -> lingering (our side is shut, the peer's end is awaited) ->
 * dead, freed when the turn ends. `end` is called once, when the conversation
 * is over, whoever ended it.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "broker/net/net.h"
#include "broker/net/plan.h"
#include "broker/net/transport.h"
#include "protocol/base/bytes.h"

struct conn;

/* Who is owed more is not read from; where memory is used up, who is owed more than a little. */
enum {
    OUTBOX_PAUSE = 65536,
    OUTBOX_LITTLE =
        1024, /* at once: heartbeats, a WELCOME, some answers; nothing waits behind it */
};

struct conn_ops {
    /*
     * Input came. Returns how much of it was consumed: the rest is kept and
     * offered again, with more, or when a pause is over. An owner that keeps
     * some itself (`is_kept`) is called behind a pause also with none.
     */
    size_t (*input)(struct conn *conn, uint8_t *bytes, size_t len);
    /* Adds ranges to the plan, behind what the connection itself has to send. */
    void (*collect)(struct conn *conn, struct plan *plan);
    /* Of what collect added to this plan `len` octets were taken. */
    void (*taken)(struct conn *conn, const struct plan *plan, size_t len);
    /* The socket is full: what is collected next waits for it. */
    void (*blocked)(struct conn *conn);
    /* The timer that conn_set_timer() set is due. */
    void (*timer)(struct conn *conn);
    /* The peer has ended its side: nothing more comes. Now or later: conn_finish(). */
    void (*peer_end)(struct conn *conn);
    /* The conversation is over; nothing more is collected or handed in; `group` is left. */
    void (*end)(struct conn *conn);
    /* The socket is about to be closed, and can be asked for the last time. NULL: nobody asks. */
    void (*gone)(struct conn *conn);
    /* Frees the object around the connection. */
    void (*free)(struct conn *conn);
};

enum conn_state { CONN_OPEN, CONN_CLOSING, CONN_LINGERING, CONN_DEAD };

/* Why a connection is not read from, as bits. */
enum {
    PAUSE_OUTBOX = 1,
    PAUSE_RATE = 2,
    PAUSE_DEFERRED = 4,
    PAUSE_ANSWERS = 8,
    PAUSE_PARTING = 16
};

struct conn {
    ev_io io;
    struct net *net;
    void *tls;                   /* the TLS transport's own */
    struct outbox *outbox;       /* NULL while nothing is owed */
    struct cut_frame *cut_frame; /* NULL while no frame is cut */
    struct stash *stash;         /* input read but not consumed, or NULL */
    struct ff_list link;         /* in the flush list, or among the dead */
    struct ff_list group;        /* the owner's while open; then among those that are closing */
    struct wheel_timer timer;
    uint32_t sent_at;  /* ticks: something was sent */
    uint32_t heard_at; /* something was received, or reading was resumed */
    uint32_t took_at;  /* a socket that was full took something */
    uint8_t pauses;
    uint8_t state : 3;        /* enum conn_state */
    bool is_blocked : 1;      /* the socket is full: waiting for EV_WRITE */
    bool is_in_handshake : 1; /* TLS */
    bool is_new : 1;          /* its owner has no conversation with it yet, and clears this */
    bool has_ended : 1;       /* `end` was called */
    bool wants_write : 1;     /* TLS must write before it can read */
    bool is_ready : 1;        /* in the queue of those that are to be read, */
    bool is_unwatched : 1;    /* so long that no event tells of it any more */
    bool is_fed_again : 1;    /* a pause or a turn is over: the stash is offered as it is */
    bool is_kept : 1;         /* the owner keeps some input: it goes on with it behind a pause */
    bool is_feeding : 1;      /* the stash is being offered: it stays where it is */
    bool awaits_empty_send_queue : 1; /* waits until the socket has sent all it took */
    bool is_peer_done : 1;            /* the peer ended its side */
    bool has_sent_data : 1; /* more than OUTBOX_LITTLE or of logs, since something was received */
    bool is_held : 1;       /* nothing of it is sent yet: conn_let_go() */
    bool has_large : 1;     /* the outbox holds an answer that it need not have room for */
    bool is_offered : 1;    /* a plan of its bytes waits to be accounted for: they do not move */
    bool is_late : 1;       /* what it is owed is of the past: conn_set_late() */
    uint8_t talks : 2;      /* seconds of late in which it said something: conn_is_regular() */
};

/* Does it say something all the time? Who does is read before those who speak up all at once. */
static inline bool conn_is_regular(const struct conn *conn)
{
    return conn->talks == 3;
}

static inline int conn_fd(const struct conn *conn)
{
    return conn->io.fd;
}

/*
 * Begins with an accepted, non-blocking socket, which becomes the connection's
 * own. `tls` is NULL, or what tls_accept() answered. Cannot fail.
 */
void conn_init(struct conn *conn, struct net *net, int fd, void *tls);

/*
 * What it is owed is sent from here on; before, while `is_held`, nothing is. One that closes is not
 * held any more.
 */
void conn_let_go(struct conn *conn);

/* Octets of one answer that may be larger than an outbox. */
enum { CONN_LARGE_MOST = 256 * 1024 };

/*
 * As conn_send(), but it counts for nothing in the outbox until that is nearly empty again. One
 * at a time: while it is owed, the connection is not read from.
 */
FF_MUST_CHECK enum ff_err conn_send_large(struct conn *conn, const void *bytes, size_t len);

/* Appends to the outbox. FF_OK, FF_ENOMEM, FF_ELIMIT (over `outbox_max`, nothing appended). */
FF_MUST_CHECK enum ff_err conn_send(struct conn *conn, const void *bytes, size_t len);

/* The same in two pieces and past the limit: for the one message that an echo may owe. */
FF_MUST_CHECK enum ff_err conn_send_over(struct conn *conn, const void *head, size_t head_len,
                                         const void *bytes, size_t len);

/* The same for a pong: only so many of them wait, see outbox.h. It may send what waits. */
FF_MUST_CHECK enum ff_err conn_send_pong(struct conn *conn, const void *bytes, size_t len);

/* Octets in the outbox. */
size_t conn_outbox_bytes(const struct conn *conn);

/* Something can be collected: the connection is flushed when the turn ends. */
void conn_mark(struct conn *conn);

/* For input.c: are there to be events of what comes? */
void conn_watch_input(struct conn *conn, bool is_watched);

/* From here on it is flushed in its line behind those that are owed what is new, or in theirs. */
void conn_set_late(struct conn *conn, bool is_late);

/*
 * Keeps what is left of a cut frame: `copy` is copied, `pinned` is borrowed
 * until `release(arg)` is called. FF_OK, FF_ENOMEM (release was not called).
 */
struct conn_pinned {
    const uint8_t *bytes;
    size_t len;
    void (*touch)(void *arg, uint32_t tick); /* a part of it was sent */
    void (*release)(void *arg);
    void *arg;
    bool is_whole_frame; /* not an octet of its frame was sent yet */
};
FF_MUST_CHECK enum ff_err conn_keep_cut(struct conn *conn, const struct ff_slice copies[2],
                                        const struct conn_pinned *pinned);

/*
 * Lets go of a cut frame that is pinned. False: its frame was begun, so that nothing
 * else may follow on this stream.
 */
bool conn_drop_frame(struct conn *conn);

/* Octets of the cut frame that are still to be sent. */
size_t conn_cut_size(const struct conn *conn);

/*
 * Ends the conversation with these last bytes (a close frame, an HTTP answer):
 * what is owed goes out first. `ops->end` is called before it returns.
 */
void conn_finish(struct conn *conn, const void *bytes, size_t len);

/* What came over TLS is none: it goes on without, to be told so in plain text. */
void conn_leave_tls(struct conn *conn);

/* Ends it at once, with a reset. */
void conn_abort(struct conn *conn);

void conn_pause(struct conn *conn, unsigned reason);
void conn_resume(struct conn *conn, unsigned reason);

/*
 * For collect: may a reader that lost its place be given a new one? Only when
 * its socket has sent all it took: one that merely found room for a few octets
 * (a window probe of a reader that stands still) would soon lose it again.
 * While false the connection counts as blocked and is asked again when it is dry.
 */
bool conn_send_queue_is_empty(struct conn *conn);

/* While open: `ops->timer` is called once after that time. */
void conn_set_timer(struct conn *conn, uint64_t after_ms);

/*
 * For input.c: reads from the socket. > 0 octets; else nothing came, or the
 * connection has ended, or is about to.
 */
long conn_recv(struct conn *conn, uint8_t *out, size_t size);

/* TLS: the handshake is done. */
void conn_end_handshake(struct conn *conn);

/* Sends what the socket takes: the flush list's part, or in the midst of a long command. */
void conn_flush(struct conn *conn);

/*
 * The same in steps, for those who send what many connections offer at once:
 * conn_offer() of each, then what they offered is sent, then conn_account_sent() of
 * each, before anything else happens.
 */

/* Makes a plan of all that can be sent now; `iov` and `is_first` are set. False: nothing. */
bool conn_offer(struct conn *conn, struct plan *plan);

/* `sent` octets of the plan were taken, or AGAIN or GONE. True: there may be more at once. */
bool conn_account_sent(struct conn *conn, const struct plan *plan, long sent);

static inline const struct transport *conn_transport(const struct conn *conn)
{
    return conn->tls ? &transport_tls : &transport_tcp;
}

/* Does TLS hold a record back that must go out before anything else? */
static inline bool conn_is_holding(const struct conn *conn)
{
    return conn->tls && transport_tls.is_holding(conn);
}

static inline bool conn_is_open(const struct conn *conn)
{
    return conn->state == CONN_OPEN;
}

#endif
