/* SPDX-License-Identifier: Apache-2.0 */
/* HELLO, WELCOME and the heartbeat message. A token is accepted, ignored and never logged. */
#include <stdio.h>

#include "broker/session/session.h"

enum { HEARTBEAT_LEAST_S = 5, HEARTBEAT_MOST_S = 300 };

void session_welcome(struct session *session, struct ticket ticket)
{
    const struct settings *settings = gateway_of(session)->settings;
    const struct ff_pair limits[] = {
        {"message", session->reader.max_message}, /* what it began with, after a reload too */
        {"topics", settings->max_subscriptions},
        {"buffered", settings->max_buffered},
    };
    struct ff_writer w = session_begin_message(session, FF_TYPE_WELCOME);
    char id[17];

    (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)session_id(session));
    if (ticket.has_id)
        ff_writer_integer(&w, FF_FIELD_ID, ticket.id);
    ff_writer_string(&w, FF_FIELD_SESSION, ff_slice_of(id));
    ff_writer_string(&w, FF_FIELD_NODE, ff_slice_of(gateway_of(session)->shared->node));
    ff_writer_integer(&w, FF_FIELD_HEARTBEAT, session->heartbeat_s);
    ff_writer_map(&w, FF_FIELD_LIMITS, limits, FF_COUNT(limits));
    ff_writer_string(&w, FF_FIELD_SERVER, FF_SLICE("fanfared/" FF_VERSION));
    session_end_message(session, &w);
}

void session_hello(struct session *session, const struct ff_message *m)
{
    if (ff_message_has(m, FF_FIELD_USER) && session->mode == SESSION_TYPED &&
        !session_set_user(session, session_ticket_of(session, m), m->values[FF_FIELD_USER].text))
        return;
    if (ff_message_has(m, FF_FIELD_HEARTBEAT)) {
        uint64_t wanted = m->values[FF_FIELD_HEARTBEAT].integer;

        session->heartbeat_s = wanted < HEARTBEAT_LEAST_S  ? HEARTBEAT_LEAST_S
                               : wanted > HEARTBEAT_MOST_S ? HEARTBEAT_MOST_S
                                                           : (uint16_t)wanted;
        heartbeat_start(session);
        socket_set_user_timeout(conn_fd(&session->conn),
                                session->heartbeat_s * (unsigned)HEARTBEAT_LOST_MS);
    }
    if (session->mode == SESSION_TYPED)
        session_welcome(session, session_ticket_of(session, m));
}

void session_heartbeat(struct session *session, const struct ff_message *m)
{
    struct ff_writer w;

    if (!ff_message_has(m, FF_FIELD_ID))
        return;
    w = session_begin_message(session, FF_TYPE_HEARTBEAT);
    ff_writer_integer(&w, FF_FIELD_ID, m->values[FF_FIELD_ID].integer);
    ff_writer_integer(&w, FF_FIELD_BUFFERED, session_buffered(session));
    session_end_message(session, &w);
}
