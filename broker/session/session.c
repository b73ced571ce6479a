/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - a session's life from accept to free, and the trunk of what comes in:
 * connection callbacks, the switch over message types, typed frames. What each
 * message means is in one file for each family (session.h lists them).
 */
#include "broker/session/session.h"

#include "broker/session/admission.h"
#include "broker/session/answers.h"
#include "broker/session/bucket.h"
#include "broker/session/deferred.h"
#include "broker/session/parting.h"
#include "broker/session/trace.h"
#include "protocol/base/mem.h"
#include "protocol/message/decode.h"
#include "protocol/message/json.h"

enum {
    MINUTE_TICKS = 60 * WHEEL_TICKS_A_SECOND,
};

static size_t on_input(struct conn *conn, uint8_t *bytes, size_t len);

static void on_timer(struct conn *conn)
{
    struct session *session = session_of(conn);

    if (session->is_parting) {
        parting_end(session);
    } else if (session->mode != SESSION_HTTP) {
        heartbeat_timer(session);
    } else if (conn->is_in_handshake) {
        conn_abort(conn);
    } else {
        upgrade_late(session);
    }
}

static void on_peer_end(struct conn *conn)
{
    parting_begin(session_of(conn), NULL, 0);
}

static void on_end(struct conn *conn)
{
    struct session *session = session_of(conn);

    /* A command may be under way: what it works with is freed when the turn ends. */
    session_leave_all(session);
    deferred_drop(session);
    parting_drop(session); /* these two leave conn.group, which else means that it is half open */
    gateway_forget(gateway_of(session), session);
    bucket_free(session->bucket);
    session->bucket = NULL;
    gateway_of(session)->lean_count -= session->reader.may_lean;
    session->reader.may_lean = false;
}

static void on_gone(struct conn *conn)
{
    trace_end(session_of(conn));
}

static void on_free(struct conn *conn)
{
    struct session *session = session_of(conn);

    session_free_all(session);
    ff_reader_deinit(&session->reader);
    if (session_has_topic_text(session))
        ff_mem_free(session->name.topic);
    if (session->name_kind == NAME_USER)
        ff_mem_free(session->name.user);
    ff_mem_free(session);
}

const struct conn_ops session_conn_ops = {
    .input = on_input,
    .collect = delivery_collect,
    .taken = delivery_taken,
    .timer = on_timer,
    .peer_end = on_peer_end,
    .blocked = delivery_blocked,
    .end = on_end,
    .gone = on_gone,
    .free = on_free,
};

bool session_is_memory_short(const struct session *session)
{
    struct ff_budget *budget = &session->conn.net->budget;

    if (ff_budget_level(budget) < FF_MEMORY_FULL)
        return false;
    LOG_SESSION(LOG_WARN, "memory_used_up", session, LOG_NUM("used", ff_budget_used(budget)),
                LOG_NUM("max_memory", budget->max));
    return true;
}

void session_close_for_memory(struct session *session)
{
    session_close(session, FF_CLOSE_TRY_LATER, "memory is limited to %llu bytes",
                  (unsigned long long)gateway_of(session)->settings->max_memory);
}

void session_accept(struct gateway *gateway, const struct newcomer *newcomer)
{
    const struct settings *settings = gateway->settings;
    struct session *session = ff_mem_zalloc(sizeof(*session));
    const struct address *peer = &newcomer->peer;
    bool is_tls = newcomer->is_tls;
    int fd = newcomer->fd;
    void *tls = NULL;

    if (session && is_tls)
        tls = gateway->tls ? tls_accept(gateway->tls, fd) : NULL;
    if (!session || (is_tls && !tls) || !gateway_admit(gateway, session)) {
        /* `tls` cannot be there when only the place was missing: it comes last. */
        if (tls)
            tls_discard(tls);
        ff_mem_free(session);
        socket_reset(fd);
        return;
    }
    socket_set_up(fd);
    socket_set_user_timeout(fd, settings->heartbeat_s * HEARTBEAT_LOST_MS);
    session->heartbeat_s = (uint16_t)settings->heartbeat_s;
    subscriptions_init(&session->subscriptions);
    ff_list_init(&session->pending);
    conn_init(&session->conn, &gateway->worker->net, fd, tls);
    gateway_enter_half_open(gateway, session);
    session->http.accepted_at = net_tick(session->conn.net);
    conn_set_timer(&session->conn, settings->handshake_ms);
    session->is_named = newcomer->is_named;
    session->is_of_proxy = newcomer->is_named &&
                           address_is_listed(peer, settings->proxies.at, settings->proxies.count);
    session->refusal = admission_check(session);
    admission_count_address(session, peer);
    if (newcomer->is_named)
        trace_client(session, peer);
    trace_connect(session);
}

/* What was agreed upon about permessage-deflate. */
static void take_terms(struct session *session, const struct ff_deflate_terms *terms)
{
    if (!terms->server_bits)
        return;
    session->window_bits = terms->server_bits & 15U;
    if (session->window_bits >= gateway_of(session)->window_bits)
        session->kind = log_kinds[session->kind].deflated; /* one window for all who read it */
    ff_reader_inflate(&session->reader, terms->client_bits, !terms->client_forgets);
    gateway_of(session)->lean_count += !terms->client_forgets;
}

void session_open(struct session *session, enum session_mode mode, enum log_kind kind,
                  const struct ff_deflate_terms *terms)
{
    const struct settings *settings = gateway_of(session)->settings;

    gateway_leave_half_open(gateway_of(session), session);
    session->conn.is_new = false;
    session->mode = mode;
    session->encoding = log_kinds[kind].encoding;
    session->kind = kind;
    ff_reader_init(&session->reader, FF_ROLE_SERVER, settings->max_message);
    take_terms(session, terms);
    heartbeat_start(session);
    admission_close_refused(session);
    if (!session_is_open(session))
        return;
    if (settings->messages_per_second || settings->bytes_per_second) {
        session->bucket = bucket_new(session);
        if (!session->bucket) {
            session_close(session, FF_CLOSE_INTERNAL, "out of memory");
            return;
        }
    }
    if (mode == SESSION_TYPED)
        session_welcome(session, session_ticket(session));
    else if (mode == SESSION_PLAIN)
        deferred_handle_plain(session, FF_OP_TEXT, (struct ff_slice){NULL, 0});
}

void session_send(struct session *session, const void *frame, size_t len)
{
    enum ff_err err = conn_send(&session->conn, frame, len);

    if (err)
        session_fail_send(session, err);
}

struct ticket session_ticket_of(const struct session *session, const struct ff_message *m)
{
    struct ticket ticket = session_ticket(session);

    ticket.id = m->values[FF_FIELD_ID].integer;
    ticket.has_id = ff_message_has(m, FF_FIELD_ID);
    return ticket;
}

uint64_t session_id(const struct session *session)
{
    /* The finalizer of SplitMix64 (Steele, Lea, Flood, 2014): no two tags give the same. */
    uint64_t bits = session->tag + gateway_of(session)->id_seed;

    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9U;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebU;
    return bits ^ bits >> 31;
}

/* What is wrong with a message, and where. */
static void tell_fault(struct session *session, struct ticket ticket, enum ff_error error,
                       const char *reason, size_t fault_at)
{
    if (fault_at == FF_NOWHERE)
        session_error(session, ticket, error, "%s", reason);
    else
        session_error(session, ticket, error, "octet %zu: %s", fault_at, reason);
}

void session_malformed(struct session *session, struct ticket ticket, const char *reason,
                       size_t fault_at)
{
    uint32_t now = net_tick(session->conn.net);

    tell_fault(session, ticket, FF_ERROR_MALFORMED, reason, fault_at);
    if (session->errors == 0 || now - session->errors_at > MINUTE_TICKS) {
        session->errors = 0;
        session->errors_at = now;
    }
    if (++session->errors >= CLOSE_AFTER_ERRORS)
        session_close(session, FF_CLOSE_POLICY, "%d malformed messages in a minute",
                      CLOSE_AFTER_ERRORS);
}

static uint64_t add_up_pending(const struct session *session)
{
    uint64_t octets = 0;

    for (const struct ff_list *node = session->pending.next; node != &session->pending;
         node = node->next)
        octets += subscription_behind(FF_CONTAINER_CONST(node, struct subscription, pending));
    return octets;
}

uint64_t session_buffered(const struct session *session)
{
    struct known_backlog *backlog = &gateway_of(session)->backlog;
    uint64_t turn = session->conn.net->turns;

    if (backlog->tag != session->tag || backlog->turn != turn)
        *backlog = (struct known_backlog){session->tag, turn, add_up_pending(session)};
    return conn_outbox_bytes(&session->conn) + conn_cut_size(&session->conn) + backlog->octets;
}

enum request_outcome session_handle(struct session *session, const struct ff_message *m)
{
    struct ticket ticket = session_ticket_of(session, m);

    if (m->error == FF_ERROR_MALFORMED && !m->lacks_type) {
        session_malformed(session, ticket, m->reason, m->fault_at);
        return REQUEST_DONE;
    }
    if (m->error) {
        tell_fault(session, ticket, m->error, m->reason, m->fault_at);
        return REQUEST_DONE;
    }
    session->errors = 0;
    switch (m->type) {
    case FF_TYPE_HEARTBEAT:
        session_heartbeat(session, m);
        break;
    case FF_TYPE_HELLO:
        session_hello(session, m);
        break;
    case FF_TYPE_SUBSCRIBE:
        return session_subscribe(session, m);
    case FF_TYPE_UNSUBSCRIBE:
        return session_unsubscribe(session, m);
    case FF_TYPE_PUBLISH:
        return session_publish(session, m);
    case FF_TYPE_MESSAGE:
        session_error(session, ticket, FF_ERROR_NOT_FOUND,
                      "MESSAGE is the broker's to send: publish with type 7");
        break;
    case FF_TYPE_PRESENCE:
        return session_presence(session, m);
    case FF_TYPE_HISTORY:
        return session_recall(session, m);
    default: /* the decoder lets no other pass */
        session_error(session, ticket, FF_ERROR_NOT_FOUND, "type %u is none of a client's",
                      m->type);
        break;
    }
    return REQUEST_DONE;
}

bool session_is_keepalive(struct ff_slice text)
{
    struct ff_json j = ff_json_of(text);

    ff_json_skip_space(&j);
    return j.at == j.end || ff_slice_is_equal(text, FF_SLICE("ping"));
}

/* A whole frame of a typed session. */
static void typed_message(struct session *session, enum ff_opcode opcode, struct ff_slice frame)
{
    struct gateway *gateway = gateway_of(session);
    struct ff_decoder decoder = {
        .encoding = session->encoding, .sender = FF_CLIENT, .unescape_buf = &gateway->unescape_buf};
    bool is_text = opcode == FF_OP_TEXT;
    const char *reason;
    size_t fault_at;

    if (is_text != (session->encoding == FF_JSON)) {
        session_close(session, FF_CLOSE_UNSUPPORTED,
                      is_text ? "text frames are not for fanfare.v1.msgpack"
                              : "binary frames are not for fanfare.v1.json");
        return;
    }
    if (is_text && session_is_keepalive(frame))
        return;
    if (ff_decode_begin(&decoder, frame, &reason, &fault_at)) {
        session_malformed(session, session_ticket(session), reason, fault_at);
        return;
    }
    deferred_handle(session, &decoder);
}

void session_take_message(struct session *session, enum ff_opcode opcode, struct ff_slice bytes)
{
    if (session->bucket)
        bucket_take(session->bucket, bytes.len);
    if (session->mode == SESSION_TYPED)
        typed_message(session, opcode, bytes);
    else if (session->mode == SESSION_PLAIN)
        deferred_handle_plain(session, opcode, bytes);
    else
        echo_message(session, opcode, bytes);
}

static size_t on_input(struct conn *conn, uint8_t *bytes, size_t len)
{
    struct session *session = session_of(conn);

    if (session->mode == SESSION_HTTP) {
        size_t at = upgrade_input(session, bytes, len);

        if (at < len && session->mode != SESSION_HTTP)
            input_yield(conn); /* newcomers come first, but not what they ask */
        return at;
    }
    if (conn->is_kept && !deferred_go_on(session))
        return 0; /* what it keeps came before */
    return len ? session_wire(session)->input(session, bytes, len) : 0;
}
