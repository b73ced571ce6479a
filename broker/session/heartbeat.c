/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two clocks of a connection. Sent: nothing was sent for one interval, so
 * a HEARTBEAT goes; in plain mode each `plain_heartbeat` seconds, whatever else is
 * sent. Heard: nothing came for one interval, so a PING goes, whatever else is
 * being sent. A session is ended when its PING had 1.5 intervals, or 4 where other
 * data was sent since the last sign of life, behind which the PING may wait in
 * kernels and proxies; and when its full socket took nothing for 2.5.
 *
 * The clocks go by the loop's time, which stands while the broker does (net/loop.h),
 * and are only judged when the timer is due, after sockets were read: nobody is
 * closed for what the broker slept through, or had not read.
 *
 * Ticks are 32 bits and come again after 497 days, so they are compared by their
 * ages, and the timer, which is due every few minutes, lets no mark of its session
 * get so old that it would look new.
 */
#include "broker/session/session.h"
#include "broker/session/trace.h"

enum {
    OLD_TICKS = 1 << 30, /* a mark of this age is no longer told from older ones */
    LONGEST_WAIT_TICKS = 300 * WHEEL_TICKS_A_SECOND, /* marks of 16 bits come again after 655 s */
    FLUSH_TICKS = 1, /* what is sent so soon after a PING was queued is that PING */
};

static uint32_t later(uint32_t now, uint32_t a, uint32_t b)
{
    return now - a < now - b ? a : b;
}

static uint32_t sooner(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What else a session compares with the present tick: see session.c and plain.c. */
static void keep_marks_young(struct session *session, uint32_t now)
{
    uint32_t *marks[] = {&session->conn.sent_at, &session->conn.heard_at, &session->conn.took_at,
                         &session->errors_at,    &session->control_at,    &session->talk.pinged_at};

    for (size_t i = 0; i < FF_COUNT(marks); i++)
        if (now - *marks[i] > OLD_TICKS)
            *marks[i] = now - OLD_TICKS;
    if (session->mode == SESSION_PLAIN)
        plain_forget_answer(session, now);
}

/*
 * A clock stands while we do not read from its connection, unless it is the connection's own
 * fault: one that takes nothing of the answers it is owed is dead by the clock of what it took.
 * (TCP_USER_TIMEOUT would end it, too, but not where it came by a Unix socket.)
 */
static bool is_waited_for(const struct conn *conn)
{
    if (conn->is_ready || (conn->is_late && ff_list_is_in(&conn->link)))
        return true; /* it stands in a line of ours */
    return conn->pauses && !((conn->pauses & PAUSE_OUTBOX) && conn->is_blocked);
}

static void send_ping(struct session *session)
{
    uint8_t ping[WIRE_CONTROL_MAX];

    session_send(session, ping, session_wire(session)->write_ping(ping));
}

static void send_heartbeat(struct session *session)
{
    struct ff_writer w;

    if (session->conn.is_blocked)
        return;
    w = session_begin_message(session, FF_TYPE_HEARTBEAT);
    session_end_message(session, &w);
}

/* Has a PING gone out since something came? */
static bool is_pinged(const struct session *session)
{
    return (int32_t)(session->talk.pinged_at - session->conn.heard_at) > 0;
}

/* How long the peer may stay silent behind a PING. */
static uint32_t patience(const struct session *session, uint32_t interval)
{
    return session->conn.has_sent_data ? interval * 4 : interval * 3 / 2;
}

/* Ticks until the heard clock is to be looked at again. 0: the peer is dead. */
static uint32_t judge_heard(struct session *session, uint32_t now, uint32_t interval)
{
    struct conn *conn = &session->conn;
    uint32_t most = interval * 5 / 2;
    uint32_t waited;

    if (is_waited_for(conn))
        conn->heard_at = now;
    if (conn->is_blocked) { /* a PING would only wait behind the rest: its reading is what tells */
        waited = now - later(now, conn->heard_at, conn->took_at);
        return waited < most ? sooner(most - waited, interval) : 0;
    }
    if (now - conn->heard_at < interval)
        return interval - (now - conn->heard_at);
    if (!is_pinged(session)) {
        send_ping(session);
        session->talk.pinged_at = now;
    }
    waited = now - session->talk.pinged_at;
    most = patience(session, interval);
    return waited < most ? most - waited : 0;
}

/* Ticks until the sent clock is to be looked at again. */
static uint32_t judge_sent(struct session *session, uint32_t now, uint32_t interval)
{
    const struct conn *conn = &session->conn;
    uint32_t quiet = now - conn->sent_at;
    bool was_ping = is_pinged(session) && now - session->talk.pinged_at > FLUSH_TICKS &&
                    conn->sent_at - session->talk.pinged_at <= FLUSH_TICKS;

    if (quiet < interval && !was_ping) /* a PING never stands for a HEARTBEAT */
        return interval - quiet;
    send_heartbeat(session);
    return interval;
}

/* The same in plain mode, whose HEARTBEATs are counted from each other. */
static uint32_t judge_plain(struct session *session, uint32_t now)
{
    uint32_t interval =
        gateway_of(session)->settings->plain_heartbeat_s * (uint32_t)WHEEL_TICKS_A_SECOND;
    uint16_t passed = (uint16_t)(now - session->talk.beat_at);

    if (interval == 0 || session_is_raw(session))
        return LONGEST_WAIT_TICKS;
    if (passed < interval)
        return interval - passed;
    send_heartbeat(session);
    session->talk.beat_at = (uint16_t)now;
    return interval;
}

void heartbeat_start(struct session *session)
{
    session->talk.pinged_at = session->conn.heard_at;
    if (session->mode == SESSION_PLAIN)
        session->talk.beat_at = (uint16_t)net_tick(session->conn.net);
    heartbeat_timer(session);
}

void heartbeat_timer(struct session *session)
{
    struct conn *conn = &session->conn;
    uint32_t now = net_tick(conn->net);
    uint32_t interval = session->heartbeat_s * (uint32_t)WHEEL_TICKS_A_SECOND;
    uint32_t next;

    keep_marks_young(session, now);
    next = judge_heard(session, now, interval);
    if (next == 0) {
        uint32_t silent_s = (now - conn->heard_at) / WHEEL_TICKS_A_SECOND;

        LOG_SESSION(LOG_INFO, "heartbeat_lost", session, LOG_NUM("seconds", silent_s));
        session_close(session, FF_CLOSE_HEARTBEAT_LOST, "nothing was heard for %u s", silent_s);
        return;
    }
    if (session->mode == SESSION_TYPED)
        next = sooner(next, judge_sent(session, now, interval));
    else if (session->mode == SESSION_PLAIN)
        next = sooner(next, judge_plain(session, now));
    if (session_is_open(session)) /* else its timer is the close's */
        conn_set_timer(conn, (uint64_t)sooner(next, LONGEST_WAIT_TICKS) * WHEEL_TICK_MS);
}
