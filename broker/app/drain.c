/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/app/drain.h"

#include "broker/net/logger.h"
#include "broker/session/session.h"

enum {
    STEP_MS = 20,
    LEAST_A_STEP = 50,
    PARTING_MS = 500,
    SPREAD_MS_A_CLIENT = 1,
    LEAST_SPREAD_MS = 1000,
    MOST_SPREAD_MS = 20000
};

/* Clients that all come back at once would be an attack of our own making. */
static uint64_t spread(const struct drain *drain)
{
    uint64_t ms = (uint64_t)drain->all * SPREAD_MS_A_CLIENT;

    return ms < LEAST_SPREAD_MS ? LEAST_SPREAD_MS : ms > MOST_SPREAD_MS ? MOST_SPREAD_MS : ms;
}

static void say_goodbye(void *arg, struct session *session)
{
    struct drain *drain = arg;
    struct ff_writer w;
    uint64_t ms = gateway_random(drain->gateway) % spread(drain);

    if (session->mode == SESSION_HTTP) {
        conn_abort(&session->conn);
        return;
    }
    if (session->mode == SESSION_ECHO || session_is_raw(session) || session->is_parting)
        return;
    w = session_begin_message(session, FF_TYPE_GOODBYE);
    ff_writer_integer(&w, FF_FIELD_WITHIN, drain->end_ms - drain->begin_ms);
    ff_writer_integer(&w, FF_FIELD_RETRY, ms);
    ff_writer_string(&w, FF_FIELD_REASON, ff_slice_of(drain->reason));
    session_end_message(session, &w);
}

/* Something is on its way to it, or was asked by it. */
static bool is_owed(const struct session *session)
{
    return session_buffered(session) > 0 || session->awaited || session->conn.is_kept;
}

/*
 * Closes sessions in the order of their places, up to the share that is due by
 * now. Who is still owed something is passed over, and met again.
 */
static void close_some(struct drain *drain, bool is_last)
{
    struct gateway *gateway = drain->gateway;

    for (uint32_t looked = 0;
         looked < gateway->slot_count && (is_last || drain->visited < drain->to_close); looked++) {
        struct session *session;

        if (drain->next_slot >= gateway->slot_count)
            drain->next_slot = 0;
        session = gateway_at(gateway, drain->next_slot++);
        if (!session || !session_is_open(session) || (!is_last && is_owed(session)))
            continue;
        drain->visited++;
        session_close(session, FF_CLOSE_RESTARTING, "%s", drain->reason);
    }
}

/*
 * Everybody got what they were owed: nobody is open, every socket is shut on
 * our side, and the peers had a moment to say their own goodbye.
 */
static bool is_done(struct drain *drain)
{
    const struct net *net = &drain->gateway->worker->net;

    if (net->connections == 0)
        return true;
    if (drain->gateway->session_count || !net_is_shut(net)) {
        drain->shut_ms = 0;
        return false;
    }
    if (drain->shut_ms == 0)
        drain->shut_ms = net->loop.now_ms;
    return net->loop.now_ms - drain->shut_ms >= PARTING_MS;
}

static void on_step(struct wheel_timer *timer)
{
    struct drain *drain = FF_CONTAINER(timer, struct drain, timer);
    struct net *net = &drain->gateway->worker->net;
    uint64_t now = net->loop.now_ms;
    uint64_t half = (drain->end_ms - drain->begin_ms) / 2;
    bool is_last = now >= drain->begin_ms + half;

    if (now >= drain->end_ms || is_done(drain)) {
        drain->done(drain->arg);
        return;
    }
    /* Closing is paced over the first half; the second is for what is on its way. */
    drain->to_close += LEAST_A_STEP + (uint32_t)(drain->total * (uint64_t)STEP_MS / (half + 1));
    close_some(drain, is_last);
    wheel_set(&net->wheel, &drain->timer, STEP_MS);
}

void drain_init(struct drain *drain, struct gateway *gateway, void (*done)(void *arg), void *arg)
{
    *drain = (struct drain){.gateway = gateway, .done = done, .arg = arg};
    wheel_timer_init(&drain->timer, on_step);
}

void drain_begin(struct drain *drain, uint32_t seconds, const char *reason)
{
    struct net *net = &drain->gateway->worker->net;

    drain->is_running = true;
    drain->reason = reason;
    drain->begin_ms = net->loop.now_ms;
    drain->end_ms = drain->begin_ms + seconds * 1000ULL;
    drain->total = drain->gateway->session_count;
    drain->all = atomic_load_explicit(&drain->gateway->shared->sessions, memory_order_relaxed);
    gateway_each(drain->gateway, say_goodbye, drain);
    wheel_set(&net->wheel, &drain->timer, STEP_MS);
}
