/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection is in at most one list: the flush list while it lives, the list
 * of the dead afterwards. Nothing is freed inside a callback of its own.
 */
#include "broker/net/conn.h"

#include <sys/socket.h>
#include <unistd.h>

#include "broker/net/outbox.h"
#include "broker/net/socket.h"
#include "broker/net/turn.h"
#include "protocol/base/mem.h"

struct cut_frame {
    uint32_t start;
    uint32_t len;              /* of `bytes`, behind `start` */
    uint32_t cap;              /* of the whole block */
    struct conn_pinned pinned; /* goes behind `bytes`; .len 0: none */
    uint8_t bytes[];
};

static void flush(struct conn *conn);

static void watch(struct conn *conn)
{
    struct ev_loop *ev = conn->net->loop.ev;
    int events = 0;

    if (conn->state == CONN_DEAD)
        return;
    if (!conn->is_peer_done && !conn->is_unwatched && (conn->state != CONN_OPEN || !conn->pauses))
        events |= EV_READ;
    if (conn->is_blocked || (conn->wants_write && (events & EV_READ)))
        events |= EV_WRITE;
    if ((conn->io.events & (EV_READ | EV_WRITE)) == events && ev_is_active(&conn->io))
        return;
    ev_io_stop(ev, &conn->io);
    ev_io_set(&conn->io, conn->io.fd, events);
    if (events)
        ev_io_start(ev, &conn->io);
}

static void notify_end(struct conn *conn)
{
    if (conn->has_ended)
        return;
    conn->has_ended = true;
    conn->net->ops->end(conn);
}

static void drop_cut_frame(struct conn *conn)
{
    struct cut_frame *cut = conn->cut_frame;

    if (!cut)
        return;
    if (cut->pinned.release)
        cut->pinned.release(cut->pinned.arg);
    pool_free(&conn->net->pool, cut, cut->cap);
    conn->cut_frame = NULL;
}

void conn_end_handshake(struct conn *conn)
{
    if (conn->is_in_handshake)
        conn->net->handshakes--;
    conn->is_in_handshake = false;
}

/* Takes the connection out of everything; the object is freed when the turn ends. */
static void release(struct conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    FF_CHECK(!conn->is_offered);
    notify_end(conn);
    if (conn->net->ops->gone)
        conn->net->ops->gone(conn);
    conn->state = CONN_DEAD;
    ev_io_stop(conn->net->loop.ev, &conn->io);
    wheel_stop(&conn->net->wheel, &conn->timer);
    conn_end_handshake(conn);
    conn_transport(conn)->free(conn);
    drop_cut_frame(conn);
    outbox_free(&conn->outbox, &conn->net->pool);
    if (!conn->is_feeding)
        input_drop_stash(conn);
    ff_list_remove(&conn->group);
    ff_list_remove(&conn->link);
    ff_list_append(&conn->net->dead, &conn->link);
}

/* The socket is of no further use. */
static void close_broken(struct conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    release(conn);
    (void)close(conn_fd(conn));
}

void conn_leave_tls(struct conn *conn)
{
    conn_end_handshake(conn);
    transport_tls.free(conn);
    conn->tls = NULL;
}

void conn_abort(struct conn *conn)
{
    if (conn->state == CONN_DEAD)
        return;
    release(conn);
    socket_reset(conn_fd(conn));
}

static void on_timer(struct wheel_timer *timer)
{
    struct conn *conn = FF_CONTAINER(timer, struct conn, timer);

    if (conn->state == CONN_OPEN)
        conn->net->ops->timer(conn);
    else
        conn_abort(conn); /* closing took its time */
}

static void peer_ended(struct conn *conn)
{
    if (conn->state == CONN_LINGERING) {
        close_broken(conn);
        return;
    }
    conn->is_peer_done = true; /* what is owed may still reach it */
    watch(conn);
    if (conn->state == CONN_OPEN)
        conn->net->ops->peer_end(conn);
}

long conn_recv(struct conn *conn, uint8_t *out, size_t size)
{
    long got = conn_transport(conn)->recv(conn, out, size);

    if (conn->wants_write != (got == TRANSPORT_WRITE)) {
        conn->wants_write = got == TRANSPORT_WRITE;
        watch(conn);
    }
    if (got == TRANSPORT_GONE)
        close_broken(conn);
    else if (got == 0)
        peer_ended(conn);
    return got;
}

void conn_watch_input(struct conn *conn, bool is_watched)
{
    conn->is_unwatched = !is_watched;
    watch(conn);
}

/* Its socket has room, and it waits for its turn among the late ones. */
static void unblock_late(struct conn *conn)
{
    conn->is_blocked = false;
    watch(conn);
    conn_mark(conn);
}

static void on_io(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct conn *conn = FF_CONTAINER(watcher, struct conn, io);

    (void)ev;
    if (events & EV_ERROR) { /* the kernel does not watch it: nobody would ever look again */
        conn_abort(conn);
        return;
    }
    if (events & EV_WRITE) {
        bool was_blocked = conn->is_blocked;

        if (conn->wants_write)
            events |= EV_READ;
        if (was_blocked && conn->is_late)
            unblock_late(conn);
        else if (was_blocked)
            flush(conn);
    }
    if ((events & EV_READ) && conn->state != CONN_DEAD && !conn->is_peer_done &&
        (conn->state != CONN_OPEN || !conn->pauses))
        input_arrived(conn);
}

void conn_init(struct conn *conn, struct net *net, int fd, void *tls)
{
    *conn = (struct conn){.net = net, .tls = tls};
    conn->is_in_handshake = tls != NULL;
    conn->is_new = true;
    net->handshakes += tls != NULL;
    net->connections++;
    conn->sent_at = conn->heard_at = conn->took_at = net_tick(net);
    wheel_timer_init(&conn->timer, on_timer);
    ev_io_init(&conn->io, on_io, fd, EV_READ);
    ev_io_start(net->loop.ev, &conn->io);
}

void conn_mark(struct conn *conn)
{
    struct net *net = conn->net;

    if (!conn->is_blocked && !ff_list_is_in(&conn->link) && conn->state != CONN_DEAD)
        ff_list_append(conn->is_late ? &net->late : &net->flush, &conn->link);
}

void conn_set_late(struct conn *conn, bool is_late)
{
    if (conn->is_late == is_late || conn->state == CONN_DEAD)
        return;
    conn->is_late = is_late;
    if (!ff_list_is_in(&conn->link))
        return;
    ff_list_remove(&conn->link);
    conn_mark(conn);
}

/* Is it owed so much that it must take some before it is read from again? */
static bool has_much_to_send(const struct conn *conn)
{
    static const size_t most[] = {[FF_MEMORY_FREE] = OUTBOX_PAUSE,
                                  [FF_MEMORY_TIGHT] = OUTBOX_PAUSE,
                                  [FF_MEMORY_FULL] = FF_BUDGET_SMALL,
                                  [FF_MEMORY_OVER] = 0};
    size_t owed = conn_outbox_bytes(conn);

    return owed > OUTBOX_PAUSE || (owed && owed > most[ff_budget_level(&conn->net->budget)]);
}

/* Something was appended to the outbox. */
static void after_append(struct conn *conn)
{
    if (has_much_to_send(conn))
        conn_pause(conn, PAUSE_OUTBOX);
    conn_mark(conn);
}

enum ff_err conn_send_over(struct conn *conn, const void *head, size_t head_len, const void *bytes,
                           size_t len)
{
    if (conn->state != CONN_OPEN)
        return FF_OK;
    FF_CHECK(!conn->is_offered);
    if (outbox_reserve(&conn->outbox, &conn->net->pool, head_len + len))
        return FF_ENOMEM;
    outbox_append(conn->outbox, head, head_len);
    outbox_append(conn->outbox, bytes, len);
    after_append(conn);
    return FF_OK;
}

/* Octets that the outbox may hold: a large answer counts for nothing until it is out. */
static size_t outbox_most(const struct conn *conn)
{
    return conn->net->outbox_max + (conn->has_large ? (size_t)CONN_LARGE_MOST : 0);
}

enum ff_err conn_send(struct conn *conn, const void *bytes, size_t len)
{
    if (conn_outbox_bytes(conn) + len > outbox_most(conn))
        return FF_ELIMIT;
    return conn_send_over(conn, bytes, len, NULL, 0);
}

enum ff_err conn_send_large(struct conn *conn, const void *bytes, size_t len)
{
    if (len <= CONN_LARGE_MOST && !conn->has_large)
        conn->has_large = true;
    return conn_send(conn, bytes, len);
}

enum ff_err conn_send_pong(struct conn *conn, const void *bytes, size_t len)
{
    if (outbox_is_full_of_pongs(conn->outbox)) /* they may go: is the socket full? */
        conn_flush(conn);
    if (conn->state != CONN_OPEN)
        return FF_OK;
    if (conn_outbox_bytes(conn) + len > outbox_most(conn))
        return FF_ELIMIT;
    FF_CHECK(!conn->is_offered);
    if (outbox_reserve(&conn->outbox, &conn->net->pool, len))
        return FF_ENOMEM;
    outbox_append_pong(conn->outbox, bytes, len);
    after_append(conn);
    return FF_OK;
}

size_t conn_outbox_bytes(const struct conn *conn)
{
    return conn->outbox ? conn->outbox->len : 0;
}

bool conn_drop_frame(struct conn *conn)
{
    struct cut_frame *cut = conn->cut_frame;

    FF_CHECK(cut && cut->pinned.len && !conn->is_offered);
    if (cut->len || !cut->pinned.is_whole_frame || conn_is_holding(conn))
        return false;
    drop_cut_frame(conn);
    return true;
}

size_t conn_cut_size(const struct conn *conn)
{
    return conn->cut_frame ? conn->cut_frame->len + conn->cut_frame->pinned.len : 0;
}

enum ff_err conn_keep_cut(struct conn *conn, const struct ff_slice copies[2],
                          const struct conn_pinned *pinned)
{
    size_t len = copies[0].len + copies[1].len;
    size_t cap = pool_round(sizeof(struct cut_frame) + len);
    struct cut_frame *cut = pool_alloc(&conn->net->pool, cap);

    FF_CHECK(!conn->cut_frame);
    if (!cut)
        return FF_ENOMEM;
    *cut = (struct cut_frame){.len = (uint32_t)len, .cap = (uint32_t)cap};
    if (copies[0].len)
        memcpy(cut->bytes, copies[0].at, copies[0].len);
    if (copies[1].len)
        memcpy(cut->bytes + copies[0].len, copies[1].at, copies[1].len);
    if (pinned)
        cut->pinned = *pinned;
    conn->cut_frame = cut;
    return FF_OK;
}

void conn_finish(struct conn *conn, const void *bytes, size_t len)
{
    if (conn->state != CONN_OPEN)
        return;
    if (len && conn_send_over(conn, bytes, len, NULL, 0)) {
        conn_abort(conn);
        return;
    }
    conn->state = CONN_CLOSING;
    conn_set_late(conn, false);
    notify_end(conn);
    ff_list_append(&conn->net->closing, &conn->group);
    if (!conn->is_feeding)
        input_drop_stash(conn);
    wheel_set(&conn->net->wheel, &conn->timer, conn->net->close_ms);
    watch(conn);
    conn_mark(conn);
}

void conn_pause(struct conn *conn, unsigned reason)
{
    conn->pauses |= (uint8_t)reason;
    watch(conn);
}

void conn_resume(struct conn *conn, unsigned reason)
{
    if (!(conn->pauses & reason))
        return;
    conn->pauses &= (uint8_t)~reason;
    if (conn->pauses || conn->state != CONN_OPEN)
        return;
    conn->heard_at = net_tick(conn->net); /* its clock stood while we did not read */
    watch(conn);
    if (conn->stash || conn->is_kept || conn_transport(conn)->has_more(conn))
        input_yield(conn);
}

void conn_set_timer(struct conn *conn, uint64_t after_ms)
{
    if (conn->state == CONN_OPEN)
        wheel_set(&conn->net->wheel, &conn->timer, after_ms);
}

static void plan_own(const struct conn *conn, struct plan *plan)
{
    const struct cut_frame *cut = conn->cut_frame;
    const struct outbox *outbox = conn->outbox;

    plan->count = 0;
    plan->bytes = 0;
    plan->max_bytes = conn_transport(conn)->max_send;
    plan->range_count = 0;
    plan->is_last = false;
    if (cut && cut->len)
        plan_add(plan, cut->bytes + cut->start, cut->len);
    if (cut && cut->pinned.len)
        plan_add(plan, cut->pinned.bytes, cut->pinned.len);
    if (outbox)
        plan_add(plan, outbox->bytes + outbox->start, outbox->len);
    plan->own = plan->bytes;
}

/* Takes what was sent off the cut frame and the outbox; returns what is left of `sent`. */
static size_t take_own(struct conn *conn, size_t sent)
{
    struct cut_frame *cut = conn->cut_frame;
    struct outbox *outbox = conn->outbox;

    if (cut) {
        size_t part = sent < cut->len ? sent : cut->len;

        cut->start += (uint32_t)part;
        cut->len -= (uint32_t)part;
        sent -= part;
        part = sent < cut->pinned.len ? sent : cut->pinned.len;
        if (part) {
            cut->pinned.is_whole_frame = false;
            cut->pinned.touch(cut->pinned.arg, net_tick(conn->net));
        }
        cut->pinned.bytes = part ? cut->pinned.bytes + part : cut->pinned.bytes;
        cut->pinned.len -= part;
        sent -= part;
        if (cut->len == 0 && cut->pinned.len == 0)
            drop_cut_frame(conn);
    }
    if (outbox) {
        size_t part = sent < outbox->len ? sent : outbox->len;

        outbox_take(&conn->outbox, &conn->net->pool, part);
        sent -= part;
        if (!has_much_to_send(conn)) {
            conn->has_large = false;
            conn_resume(conn, PAUSE_OUTBOX);
        }
    }
    return sent;
}

static void set_blocked(struct conn *conn, bool is_blocked)
{
    if (conn->is_blocked == is_blocked)
        return;
    conn->is_blocked = is_blocked;
    watch(conn);
    if (!is_blocked)
        return;
    conn->took_at = net_tick(conn->net);
    if (conn->state == CONN_OPEN)
        conn->net->ops->blocked(conn);
}

bool conn_send_queue_is_empty(struct conn *conn)
{
    bool is_empty = !conn_is_holding(conn) && socket_unsent(conn_fd(conn)) == 0;

    if (conn->awaits_empty_send_queue == !is_empty)
        return is_empty;
    conn->awaits_empty_send_queue = !is_empty;
    socket_set_low_water(conn_fd(conn), is_empty ? SOCKET_LOW_WATER : 1);
    return is_empty;
}

/* All that was owed is out. */
static void finish_flush(struct conn *conn)
{
    set_blocked(conn, false);
    if (conn->state != CONN_CLOSING)
        return;
    if (conn->is_peer_done) {
        close_broken(conn);
        return;
    }
    conn_transport(conn)->shutdown(conn);
    conn->state = CONN_LINGERING;
}

void conn_let_go(struct conn *conn)
{
    if (!conn->is_held)
        return;
    conn->is_held = false;
    conn_mark(conn);
}

bool conn_offer(struct conn *conn, struct plan *plan)
{
    if (conn->is_held && conn->state == CONN_OPEN)
        return false;
    plan_own(conn, plan);
    if (conn->awaits_empty_send_queue)
        (void)conn_send_queue_is_empty(conn);
    if (conn->state == CONN_OPEN && !plan_is_full(plan)) {
        conn->net->ops->collect(conn, plan);
        if (conn->state == CONN_CLOSING) /* the outbox may have moved */
            plan_own(conn, plan);
        else if (conn->state == CONN_DEAD)
            return false;
    }
    conn->is_offered = plan->bytes > 0;
    if (conn->is_offered)
        return true;
    if (conn->awaits_empty_send_queue && conn->state == CONN_OPEN)
        set_blocked(conn, true);
    else
        finish_flush(conn);
    return false;
}

bool conn_account_sent(struct conn *conn, const struct plan *plan, long sent)
{
    size_t left;

    conn->is_offered = false;
    if (sent == TRANSPORT_GONE) {
        close_broken(conn);
        return false;
    }
    if (sent > 0) {
        conn->sent_at = conn->took_at = net_tick(conn->net);
        conn->net->sent_bytes += (size_t)sent;
    }
    sent = sent < 0 ? 0 : sent;
    /* Before `taken`, which marks the connection again if more is owed. */
    set_blocked(conn, ((size_t)sent < plan->bytes && (size_t)sent < plan->max_bytes) ||
                          conn_is_holding(conn) || conn->awaits_empty_send_queue);
    left = plan->own ? take_own(conn, (size_t)sent) : (size_t)sent;
    conn->has_sent_data |= plan->bytes > plan->own || plan->own > OUTBOX_LITTLE;
    if (plan->bytes > plan->own)
        conn->net->ops->taken(conn, plan, left);
    if (conn->state == CONN_DEAD || conn->is_blocked)
        return false;
    return conn->state == CONN_CLOSING || plan_is_full(plan);
}

/* One sendmsg. True if there may be more to send at once. */
static bool flush_once(struct conn *conn, size_t *total)
{
    struct iovec ranges[PLAN_IOVECS];
    struct plan plan; /* conn_offer() sets all the rest */
    long sent;

    plan.iov = ranges;
    plan.is_first = true;
    if (!conn_offer(conn, &plan))
        return false;
    sent = conn_transport(conn)->send(conn, plan.iov, plan.count);
    *total += sent > 0 ? (size_t)sent : 0;
    return conn_account_sent(conn, &plan, sent);
}

static void flush(struct conn *conn)
{
    size_t total = 0;
    long pushed;

    if (conn->state == CONN_DEAD || conn->state == CONN_LINGERING)
        return;
    pushed = conn->tls ? transport_tls.push(conn) : 0;
    if (pushed == TRANSPORT_GONE) {
        close_broken(conn);
        return;
    }
    if (pushed == TRANSPORT_AGAIN) {
        set_blocked(conn, true);
        return;
    }
    while (flush_once(conn, &total)) {
        if (total < TURN_SENT)
            continue;
        set_blocked(conn, false); /* the others first */
        conn_mark(conn);
        return;
    }
}

void conn_flush(struct conn *conn)
{
    if (!conn->is_blocked)
        flush(conn);
}
