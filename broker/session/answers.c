/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/answers.h"

#include <stdarg.h>
#include <stdio.h>

#include "broker/session/parting.h"

struct ff_writer session_begin_message(struct session *session, enum ff_type type)
{
    struct ff_buf *scratch = &gateway_of(session)->scratch;
    struct ff_writer w;

    scratch->len = 0;
    if (ff_buf_reserve(scratch, WIRE_HEAD_MAX) == FF_OK)
        scratch->len = WIRE_HEAD_MAX; /* the frame's head goes here when the size is known */
    ff_writer_begin(&w, scratch, session->encoding, FF_BROKER, type);
    if (scratch->len < WIRE_HEAD_MAX)
        w.err = FF_ENOMEM;
    return w;
}

/* Puts the head before the message. Not FF_OK: the session ends of it. */
static enum ff_err end_frame(struct session *session, struct ff_writer *w, struct ff_slice *frame)
{
    struct ff_buf *scratch = w->out;
    enum ff_err err = ff_writer_end(w);
    uint8_t head[WIRE_HEAD_MAX];
    size_t head_len;
    size_t body_len;
    char *at;

    if (err) {
        session_fail_send(session, err);
        return err;
    }
    body_len = scratch->len - WIRE_HEAD_MAX;
    head_len = session_wire(session)->write_head(head, session->encoding, body_len);
    at = scratch->data + WIRE_HEAD_MAX - head_len;
    memcpy(at, head, head_len);
    *frame = (struct ff_slice){at, head_len + body_len};
    return FF_OK;
}

void session_end_message(struct session *session, struct ff_writer *w)
{
    struct ff_slice frame;

    if (end_frame(session, w, &frame) == FF_OK)
        session_send(session, frame.at, frame.len);
}

void session_end_large_message(struct session *session, struct ff_writer *w)
{
    struct ff_slice frame;
    enum ff_err err = end_frame(session, w, &frame);

    if (err)
        return;
    err = conn_send_large(&session->conn, frame.at, frame.len);
    if (err)
        session_fail_send(session, err);
}

__attribute__((format(printf, 4, 0))) static struct ff_writer
begin_error(struct session *session, struct ticket ticket, enum ff_error code, const char *format,
            va_list args)
{
    struct ff_writer w = session_begin_message(session, FF_TYPE_ERROR);
    char reason[REASON_MAX];

    (void)vsnprintf(reason, sizeof(reason), format, args);
    if (ticket.has_id)
        ff_writer_integer(&w, FF_FIELD_ID, ticket.id);
    ff_writer_integer(&w, FF_FIELD_CODE, (uint64_t)code);
    ff_writer_string(&w, FF_FIELD_REASON, ff_slice_of(reason));
    if (ff_error_can_retry((int)code))
        ff_writer_bool(&w, FF_FIELD_RETRY, true);
    return w;
}

/* It knows no ERROR: its reason is that of the close frame. */
__attribute__((format(printf, 3, 0))) static void
close_raw(struct session *session, enum ff_error code, const char *format, va_list args)
{
    char reason[REASON_MAX];

    (void)vsnprintf(reason, sizeof(reason), format, args);
    session_close(session,
                  ff_error_can_retry((int)code) || code == FF_ERROR_TOO_MANY ? FF_CLOSE_TRY_LATER
                  : code == FF_ERROR_NOT_ALLOWED                             ? FF_CLOSE_NOT_ALLOWED
                                                                             : FF_CLOSE_POLICY,
                  "%s", reason);
}

void session_error(struct session *session, struct ticket ticket, enum ff_error code,
                   const char *format, ...)
{
    struct ff_writer w;
    va_list args;

    if (session_is_raw(session)) {
        va_start(args, format);
        close_raw(session, code, format, args);
        va_end(args);
        return;
    }
    va_start(args, format);
    w = begin_error(session, ticket, code, format, args);
    va_end(args);
    session_end_message(session, &w);
}

void answers_error(struct session *session, struct ticket ticket, struct ff_slice name,
                   enum ff_error code, const char *format, ...)
{
    struct ff_writer w;
    va_list args;

    if (session_is_raw(session)) { /* it asks for nothing whose answers could be out of turn */
        va_start(args, format);
        close_raw(session, code, format, args);
        va_end(args);
        return;
    }
    va_start(args, format);
    w = begin_error(session, ticket, code, format, args);
    va_end(args);
    answers_end_in_turn(session, &w, ticket, name, NULL);
}

/*
 * Octets that may be set aside. Who is owed OUTBOX_PAUSE is not read from: what
 * is left of the outbox above that is for answers on their way, but for a
 * quarter, which is for what nobody asked for (HEARTBEAT, PING, GAP, GOODBYE).
 */
static uint32_t find_limit(struct session *session)
{
    struct net *net = session->conn.net;
    uint32_t limit = (net->outbox_max - OUTBOX_PAUSE) / 4 * 3;

    switch (ff_budget_level(&net->budget)) {
    case FF_MEMORY_FREE:
    case FF_MEMORY_TIGHT:
        return limit;
    case FF_MEMORY_FULL:
        return FF_BUDGET_SMALL;
    case FF_MEMORY_OVER:
        return 0;
    }
    FF_UNREACHABLE();
}

/* What waits for its turn may become an ERROR, if it shares the fate of a subscription. */
static uint32_t answer_in_turn(struct ff_slice frame)
{
    return frame.len > ANSWER_TO_SUBSCRIBE ? (uint32_t)frame.len : ANSWER_TO_SUBSCRIBE;
}

void answers_await(struct session *session, uint32_t octets)
{
    session->awaited += octets;
}

bool answers_may_await(struct session *session, uint32_t octets)
{
    if (session->awaited == 0 || session->awaited + octets <= find_limit(session))
        return true;
    conn_pause(&session->conn, PAUSE_ANSWERS);
    return false;
}

static void pause_if_full(struct session *session)
{
    if (session->awaited && session->awaited > find_limit(session))
        conn_pause(&session->conn, PAUSE_ANSWERS);
}

enum request_outcome answers_asked(struct session *session, uint32_t octets, bool is_taken)
{
    if (!is_taken) {
        session->awaited -= octets;
        return REQUEST_DEFERRED;
    }
    pause_if_full(session);
    return REQUEST_DONE;
}

void answers_came(struct session *session, uint32_t octets)
{
    FF_CHECK(octets <= session->awaited);
    session->awaited -= octets;
    if (session->awaited == 0)
        parting_end(session); /* if it waits for that */
    if (session->conn.pauses & PAUSE_ANSWERS && session->awaited <= find_limit(session) / 2)
        conn_resume(&session->conn, PAUSE_ANSWERS);
}

bool answers_have_room(struct session *session, struct ff_slice name)
{
    return session->awaited == 0 || carrier_has_room(gateway_of(session)->carrier, name,
                                                     ff_topic_kind(name) == FF_TOPIC_FILTER);
}

void answers_end_in_turn(struct session *session, struct ff_writer *w, struct ticket ticket,
                         struct ff_slice name, struct subscription *s)
{
    struct carrier_turn turn = {.name = name, .subscription = s};

    if (end_frame(session, w, &turn.frame))
        return;
    if (session->awaited == 0) { /* nothing is before it */
        session_send(session, turn.frame.at, turn.frame.len);
        return;
    }
    turn.is_filter = ff_topic_kind(name) == FF_TOPIC_FILTER;
    answers_await(session, answer_in_turn(turn.frame));
    carrier_await_turn(gateway_of(session)->carrier, &turn, ticket);
    pause_if_full(session);
}

void answers_on_turn(void *arg, struct ticket ticket, struct ff_slice frame, enum ff_err err)
{
    struct session *session = gateway_find(arg, ticket);

    if (!session)
        return;
    if (err)
        session_refuse_subscription(session, ticket, err);
    else
        session_send(session, frame.at, frame.len);
    answers_came(session, answer_in_turn(frame));
}
