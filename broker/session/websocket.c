/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket.c - a session's conversation in WebSocket frames (RFC 6455).
 *
 * What comes in is cut into messages and control frames by protocol/websocket's
 * reader; messages go to the session, pings, pongs and closes end here. They have
 * a limit of their own, because they cost and carry nothing.
 */
#include "broker/session/parting.h"
#include "broker/session/session.h"
#include "broker/session/trace.h"

static size_t write_head(uint8_t out[WIRE_HEAD_MAX], enum ff_encoding encoding, size_t len)
{
    return ff_frame_write_head(out, encoding == FF_JSON ? FF_OP_TEXT : FF_OP_BINARY, len);
}

static size_t write_close(uint8_t out[WIRE_CONTROL_MAX], int code, const char *reason)
{
    uint8_t body[FF_CONTROL_MAX];
    size_t body_len = ff_frame_write_close(body, code, reason);
    size_t head_len = ff_frame_write_head(out, FF_OP_CLOSE, body_len);

    memcpy(out + head_len, body, body_len);
    return head_len + body_len;
}

static size_t write_ping(uint8_t out[WIRE_CONTROL_MAX])
{
    return ff_frame_write_head(out, FF_OP_PING, 0);
}

/* False: it was one too many in this second, and the session ends. */
static bool admit_control(struct session *session)
{
    uint32_t limit = gateway_of(session)->settings->pings_per_second;
    uint32_t now = net_tick(session->conn.net);

    if (now - session->control_at >= WHEEL_TICKS_A_SECOND) {
        session->control_at = now;
        session->controls = 0;
    }
    if (session->controls++ < limit || limit == 0)
        return true;
    session_close(session, FF_CLOSE_RATE_LIMIT, "pings_per_second is %u", limit);
    return false;
}

static void on_ping(struct session *session, const struct ff_reader_event *event)
{
    uint8_t pong[FF_FRAME_HEAD_MAX + FF_CONTROL_MAX];
    size_t head_len = ff_frame_write_head(pong, FF_OP_PONG, event->len);
    enum ff_err err;

    if (!admit_control(session))
        return;
    if (event->len)
        memcpy(pong + head_len, event->bytes, event->len);
    err = conn_send_pong(&session->conn, pong, head_len + event->len);
    if (err)
        session_fail_send(session, err);
}

/* It is given back what it said, code and reason. */
static void on_close(struct session *session, const struct ff_reader_event *event)
{
    uint8_t body[FF_CONTROL_MAX];
    uint8_t frame[WIRE_CONTROL_MAX];
    size_t body_len = ff_frame_write_close(body, event->code, NULL);
    size_t head_len;

    trace_code(session, event->code);
    if (event->len)
        memcpy(body + body_len, event->bytes, event->len);
    body_len += event->len;
    head_len = ff_frame_write_head(frame, FF_OP_CLOSE, body_len);
    memcpy(frame + head_len, body, body_len);
    parting_begin(session, frame, head_len + body_len);
}

/* Half messages are what nobody else bounds: where memory is short their sessions pay. */
static void bound_half_message(struct session *session)
{
    static const uint32_t most[] = {[FF_MEMORY_FREE] = UINT32_MAX,
                                    [FF_MEMORY_TIGHT] = UINT32_MAX,
                                    [FF_MEMORY_FULL] = FF_BUDGET_SMALL,
                                    [FF_MEMORY_OVER] = INPUT_QUANTUM_LEAST};

    if (ff_reader_held(&session->reader) > most[ff_budget_level(&session->conn.net->budget)])
        session_close_for_memory(session);
}

static void on_event(struct session *session, const struct ff_reader_event *event)
{
    switch (event->kind) {
    case FF_READER_MESSAGE:
        session_take_message(
            session, event->opcode,
            (struct ff_slice){event->len ? (const char *)event->bytes : "", event->len});
        break;
    case FF_READER_PING:
        on_ping(session, event);
        break;
    case FF_READER_PONG:
        (void)admit_control(session);
        break;
    case FF_READER_CLOSE:
        on_close(session, event);
        break;
    case FF_READER_FAIL:
        if (event->code == FF_CLOSE_TOO_BIG)
            session_close(session, event->code, "message is over max_message, %u bytes",
                          session->reader.max_message);
        else
            session_close(session, event->code, "%s", event->reason);
        break;
    case FF_READER_MORE:
        bound_half_message(session);
        break;
    }
}

/* Until all is handled, something pauses the session, or the turn's input is over. */
static size_t input(struct session *session, uint8_t *bytes, size_t len)
{
    struct conn *conn = &session->conn;
    size_t at = 0;

    while (at < len && session_is_open(session) && !conn->pauses) {
        struct ff_reader_event event;
        size_t used;

        ff_reader_next(&session->reader, bytes + at, len - at, &used, &event);
        at += used;
        on_event(session, &event);
        if (conn_is_open(conn))
            ff_reader_release(&session->reader);
        else
            ff_reader_deinit(&session->reader);
        used += event.inflated;
        if (!input_spend(&conn->net->input, used) && at < len && conn_is_open(conn)) {
            input_yield(conn);
            break;
        }
    }
    return at;
}

const struct wire wire_websocket = {
    .write_head = write_head,
    .write_close = write_close,
    .write_ping = write_ping,
    .input = input,
};
