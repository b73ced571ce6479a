/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two clocks of a connection. Sent: nothing was sent for one interval, so
 * a HEARTBEAT goes. Heard: nothing came for one interval, so a PING goes,
 * whatever else is being sent; dead is who was silent for 2.5 intervals and
 * whose full socket took nothing either. The clocks are only judged when the
 * timer is due, and sockets were read before that: nobody is closed for what
 * the broker had not read.
 *
 * Ticks are 32 bits and come again after 497 days, so they are compared by their
 * ages, and the timer, which is due every few minutes, lets no mark of its session
 * get so old that it would look new.
 */
#include "broker/net/logger.h"
#include "broker/session/session.h"

enum {
    PLAIN_SENT_TICKS = 5 * WHEEL_TICKS_A_SECOND,
    OLD_TICKS = 1 << 30, /* a mark of this age is no longer told from older ones */
};

static uint32_t later(uint32_t now, uint32_t a, uint32_t b)
{
    return now - a < now - b ? a : b;
}

/* What else a session compares with the present tick: see session.c and plain.c. */
static void keep_marks_young(struct session *session, uint32_t now)
{
    uint32_t *marks[] = {&session->conn.sent_at, &session->conn.heard_at, &session->conn.took_at,
                         &session->errors_at,    &session->control_at,    &session->answered_at};

    for (size_t i = 0; i < FF_COUNT(marks); i++)
        if (now - *marks[i] > OLD_TICKS)
            *marks[i] = now - OLD_TICKS;
}

/*
 * A clock stands while we do not read from its connection, unless it is the connection's own
 * fault: one that takes nothing of the answers it is owed is dead by the clock of what it took.
 * (TCP_USER_TIMEOUT would end it, too, but not where it came by a Unix socket.)
 */
static bool is_waited_for(const struct conn *conn)
{
    return conn->pauses && !((conn->pauses & PAUSE_OUTBOX) && conn->is_blocked);
}

static void send_ping(struct session *session)
{
    uint8_t ping[WIRE_CONTROL_MAX];

    if (session->conn.is_blocked)
        return; /* it would only wait behind the rest: its reading tells that it lives */
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

void heartbeat_start(struct session *session)
{
    session->pinged_at = session->conn.heard_at - 1;
    heartbeat_timer(session);
}

void heartbeat_timer(struct session *session)
{
    struct conn *conn = &session->conn;
    uint32_t now = net_tick(conn->net);
    uint32_t interval = session->heartbeat_s * (uint32_t)WHEEL_TICKS_A_SECOND;
    uint32_t sent_interval = session->mode == SESSION_PLAIN ? PLAIN_SENT_TICKS : interval;
    uint32_t next;
    uint32_t alive_at;

    keep_marks_young(session, now);
    if (is_waited_for(conn))
        conn->heard_at = now;
    alive_at = conn->is_blocked ? later(now, conn->heard_at, conn->took_at) : conn->heard_at;
    if (now - alive_at >= interval * 5 / 2) {
        LOG_EVENT(LOG_INFO, "heartbeat_lost", LOG_NUM("connection", session->tag));
        session_close(session, FF_CLOSE_HEARTBEAT_LOST, "nothing was heard for %g s",
                      session->heartbeat_s * 2.5);
        return;
    }
    if (now - conn->heard_at >= interval) {
        if (session->pinged_at != conn->heard_at)
            send_ping(session);
        session->pinged_at = conn->heard_at;
        next = interval * 5 / 2 - (now - alive_at);
    } else {
        session->pinged_at = conn->heard_at - 1; /* for none since then */
        next = interval - (now - conn->heard_at);
    }
    if (session->mode != SESSION_ECHO) {
        uint32_t quiet = now - conn->sent_at;

        if (quiet >= sent_interval) {
            send_heartbeat(session);
            quiet = 0;
        }
        if (sent_interval - quiet < next)
            next = sent_interval - quiet;
    }
    conn_set_timer(conn, (uint64_t)next * WHEEL_TICK_MS);
}
