/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input.c - four queues of connections that are to be read, and what was read of
 * them and not consumed. A connection is in one queue at most; the functions stand
 * in the order of a turn from below: queues, stash, one connection, the turn.
 */
#include "broker/net/input.h"

#include <string.h>

#include "broker/net/conn.h"
#include "broker/net/loop.h"
#include "broker/net/turn.h"
#include "protocol/base/mem.h"

enum { REGULAR_TICKS = 2 * WHEEL_TICKS_A_SECOND /* between two things that are said */ };

struct stash {
    uint32_t start; /* octets consumed already */
    uint32_t len;   /* octets behind them */
    uint8_t bytes[];
};

void input_init(struct input *input)
{
    *input = (struct input){.is_over = false};
}

static void push(struct input_queue *queue, struct conn *conn)
{
    conn->io.data = NULL;
    if (queue->last)
        queue->last->io.data = conn;
    else
        queue->first = conn;
    queue->last = conn;
    queue->count++;
}

static struct conn *pop(struct input_queue *queue)
{
    struct conn *conn = queue->first;

    queue->first = conn->io.data;
    if (!queue->first)
        queue->last = NULL;
    queue->count--;
    conn->is_ready = false;
    if (conn->is_unwatched) {
        conn->heard_at = net_tick(conn->net); /* its clock stood while we did not read */
        conn_watch_input(conn, true);
    }
    return conn;
}

void input_add(struct conn *conn)
{
    struct input *input = &conn->net->input;

    if (conn->is_ready || conn->state == CONN_DEAD)
        return;
    conn->is_ready = true;
    push(conn->is_in_handshake   ? &input->handshakes
         : conn->is_new          ? &input->newcomers
         : conn_is_regular(conn) ? &input->regulars
                                 : &input->ready,
         conn);
}

/* In three seconds one after another: who has just come is none of them. */
static void note_talk(struct conn *conn)
{
    uint32_t now = net_tick(conn->net);

    if (now - conn->heard_at > REGULAR_TICKS || conn->is_new || conn->is_in_handshake)
        conn->talks = 0;
    else if (now / WHEEL_TICKS_A_SECOND != conn->heard_at / WHEEL_TICKS_A_SECOND &&
             !conn_is_regular(conn))
        conn->talks++;
}

/*
 * Whoever waits to be read is there to be read in each turn until then: ten thousand of them would
 * be told of again and again.
 */
void input_arrived(struct conn *conn)
{
    if (conn->is_ready) {
        conn_watch_input(conn, false);
        return;
    }
    note_talk(conn);
    conn->heard_at = net_tick(conn->net); /* whenever it will be its turn to be read */
    conn->has_sent_data = false;
    input_add(conn);
}

static void clear(struct input_queue *queue)
{
    while (queue->first)
        (void)pop(queue);
}

void input_clear(struct input *input)
{
    clear(&input->regulars);
    clear(&input->ready);
    clear(&input->newcomers);
    clear(&input->handshakes);
}

bool input_look(struct input *input)
{
    input->spent += input->unlooked;
    input->unlooked = 0;
    input->is_over = input->spent >= INPUT_OCTETS || loop_clock_us() >= input->until_us;
    return !input->is_over;
}

void input_yield(struct conn *conn)
{
    conn->is_fed_again = true;
    input_add(conn);
}

void input_drop_stash(struct conn *conn)
{
    ff_mem_free(conn->stash);
    conn->stash = NULL;
}

static void keep_stash(struct conn *conn, const uint8_t *bytes, size_t len)
{
    struct stash *stash = len ? ff_mem_alloc(sizeof(*stash) + len) : NULL;

    if (len && !stash) {
        conn_abort(conn);
        return;
    }
    if (stash) {
        *stash = (struct stash){.len = (uint32_t)len};
        memcpy(stash->bytes, bytes, len);
    }
    input_drop_stash(conn);
    conn->stash = stash;
}

/* Offers the stash where it lies; what is consumed of it is passed over. */
static void feed_stash(struct conn *conn)
{
    struct stash *stash = conn->stash; /* NULL: the owner keeps something */
    size_t used;

    conn->is_fed_again = false;
    conn->is_feeding = true;
    used = conn->net->ops->input(conn, stash ? stash->bytes + stash->start : NULL,
                                 stash ? stash->len : 0);
    conn->is_feeding = false;
    if (conn->state != CONN_DEAD && conn_transport(conn)->has_more(conn))
        input_add(conn); /* of what TLS holds no event tells */
    if (!stash)
        return;
    FF_CHECK(used <= stash->len);
    stash->start += (uint32_t)used;
    stash->len -= (uint32_t)used;
    if (stash->len == 0 || conn->state != CONN_OPEN)
        input_drop_stash(conn);
}

/* How much is read of a connection before the others of its queue have their turn. */
static size_t choose_room(const struct conn *conn, size_t kept)
{
    struct net *net = conn->net;
    enum ff_memory_level level = ff_budget_level(&net->budget);
    size_t room = net->input.quantum;

    if (level == FF_MEMORY_OVER) /* what is not consumed is kept */
        room = INPUT_QUANTUM_LEAST;
    else if (level == FF_MEMORY_FULL && room > FF_BUDGET_SMALL)
        room = FF_BUDGET_SMALL;
    return room < NET_RECEIVE_SIZE - kept ? room : NET_RECEIVE_SIZE - kept;
}

/* Hands on what was read, behind what was kept. */
static void feed(struct conn *conn, size_t len)
{
    uint8_t *bytes = conn->net->receive;
    size_t used = conn->net->ops->input(conn, bytes, len);

    FF_CHECK(used <= len);
    if (conn->state == CONN_OPEN)
        keep_stash(conn, bytes + used, len - used);
}

static void read_some(struct conn *conn)
{
    struct net *net = conn->net;
    size_t kept = conn->stash ? conn->stash->len : 0;
    size_t room = choose_room(conn, kept);
    long got = conn_recv(conn, net->receive + kept, room);

    if (got <= 0)
        return;
    if (conn->state == CONN_OPEN) { /* nothing that comes later is of interest */
        if (kept)
            memcpy(net->receive, conn->stash->bytes + conn->stash->start, kept);
        feed(conn, kept + (size_t)got);
    }
    /* Behind all that wait, and not where the next event would put it: that is what is fair. */
    if ((size_t)got == room || (conn->state != CONN_DEAD && conn_transport(conn)->has_more(conn)))
        input_add(conn);
}

static void work(struct conn *conn)
{
    if (conn->state == CONN_DEAD || (conn->state == CONN_OPEN && conn->pauses))
        return;
    if ((conn->stash || conn->is_kept) && conn->is_fed_again)
        feed_stash(conn);
    else if (!conn->is_peer_done)
        read_some(conn);
}

/* Of all that wait now, so that who is at the end of the queue gets no more than who is first. */
static size_t choose_quantum(const struct input_queue *queue)
{
    size_t quantum = INPUT_ROUND / (queue->count + 1U);

    return quantum > INPUT_QUANTUM_LEAST ? quantum : INPUT_QUANTUM_LEAST;
}

static void begin_part(struct input *input, const struct input_queue *queue, uint64_t until_us)
{
    input->until_us = until_us;
    input->quantum = choose_quantum(queue);
    input->spent = input->unlooked = 0;
    input->is_over = false;
}

/* Until all are read that wait in it now, or its part of the turn is over: then some are left. */
static void run_queue(struct input *input, struct input_queue *queue, uint64_t until_us)
{
    uint32_t left = queue->count;

    begin_part(input, queue, until_us);
    while (left > 0) {
        work(pop(queue));
        left--;
        if (!input_spend(input, INPUT_MESSAGE)) /* a read costs as much as a message or two */
            break;
    }
    input->is_behind |= left > 0;
}

static void run_newcomers(struct input *input, uint64_t until_us)
{
    begin_part(input, &input->newcomers, until_us);
    for (int i = 0; i < TURN_NEWCOMERS && input->newcomers.first; i++)
        work(pop(&input->newcomers));
}

static void run_handshakes(struct net *net)
{
    struct input *input = &net->input;
    uint64_t until_us = loop_clock_us() + turn_slice_us(TURN_HANDSHAKES, 0);

    begin_part(input, &input->handshakes, until_us);
    /* Who goes on with its handshake comes back by an event, behind those that wait. */
    for (uint32_t left = input->handshakes.count; left > 0; left--) {
        work(pop(&input->handshakes));
        if (loop_clock_us() >= until_us)
            break;
    }
    input->is_over = true;
}

/* Where nobody speaks all the time the others have the whole turn, else a part of it. */
static void run_others(struct input *input, uint64_t until_us)
{
    uint64_t now_us = loop_clock_us();
    uint64_t beside_us = input->others_at_us ? now_us - input->others_at_us : 0;

    if (input_has_regulars(input, now_us))
        until_us = now_us + turn_slice_us(TURN_OTHERS, beside_us);
    run_queue(input, &input->ready, until_us);
    input->others_at_us = input->ready.first ? loop_clock_us() : 0;
}

void input_run(struct net *net)
{
    struct input *input = &net->input;
    uint64_t begin_us;
    uint64_t until_us;

    input->spent_us = 0;
    input->is_behind = false;
    if (input_is_empty(input))
        return;
    begin_us = loop_clock_us();
    until_us = begin_us + turn_slice_us(TURN_INPUT, 0);
    if (input->regulars.first) {
        input->regulars_at_us = begin_us;
        run_queue(input, &input->regulars, until_us);
    }
    if (input->newcomers.first)
        run_newcomers(input, until_us);
    if (input->ready.first)
        run_others(input, until_us);
    input->is_over = true;
    input->spent_us = loop_clock_us() - begin_us;
    if (input->handshakes.count)
        run_handshakes(net);
}
