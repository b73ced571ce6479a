/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/parting.h"

#include <stdarg.h>
#include <stdio.h>

#include "broker/session/deferred.h"
#include "broker/session/trace.h"
#include "protocol/base/mem.h"

/* Found as a deferred request is: conn.group of its session is alone in a list of it. */
struct parting {
    struct ff_list session;
    size_t len;
    uint8_t frame[];
};

/* NULL: nothing waits. */
static struct parting *take(struct session *session)
{
    struct ff_list *group = &session->conn.group;
    struct parting *parting;

    if (!session->is_parting)
        return NULL;
    parting = FF_CONTAINER(group->next, struct parting, session);
    ff_list_remove(group);
    session->is_parting = false;
    return parting;
}

void parting_begin(struct session *session, const void *frame, size_t len)
{
    struct conn *conn = &session->conn;
    struct parting *parting;

    if (!session_is_open(session))
        return;
    parting = session->awaited ? ff_mem_alloc(sizeof(*parting) + len) : NULL;
    if (!parting) {
        conn_finish(conn, frame, len);
        return;
    }
    parting->len = len;
    if (len)
        memcpy(parting->frame, frame, len);
    deferred_drop(session);
    session_leave_all(session);
    ff_list_init(&parting->session);
    ff_list_append(&parting->session, &conn->group);
    session->is_parting = true;
    conn_pause(conn, PAUSE_PARTING);
    conn_set_timer(conn, conn->net->close_ms);
}

void parting_end(struct session *session)
{
    struct parting *parting = take(session);

    if (!parting)
        return;
    conn_finish(&session->conn, parting->frame, parting->len);
    ff_mem_free(parting);
}

void parting_drop(struct session *session)
{
    ff_mem_free(take(session));
}

void session_close(struct session *session, int code, const char *format, ...)
{
    uint8_t frame[WIRE_CONTROL_MAX];
    char reason[REASON_MAX];
    va_list args;

    if (!session_is_open(session))
        return;
    if (session->mode == SESSION_HTTP) {
        conn_abort(&session->conn);
        return;
    }
    va_start(args, format);
    (void)vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    LOG_SESSION(LOG_DEBUG, "close", session, LOG_NUM("code", code), LOG_TEXT("reason", reason));
    trace_code(session, code);
    parting_begin(session, frame, session_wire(session)->write_close(frame, code, reason));
}

void session_fail_send(struct session *session, enum ff_err err)
{
    if (err == FF_ELIMIT)
        session_close(session, FF_CLOSE_SLOW_CONSUMER, "outbox is over %u bytes",
                      session->conn.net->outbox_max);
    else
        session_close(session, FF_CLOSE_INTERNAL, "out of memory");
    parting_end(session); /* more answers would fail like this one */
}
