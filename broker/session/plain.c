/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain mode: what clients from WebSocket tutorials send, taken in the order
 * that docs/protocol.md gives. The same JSON scanner as everywhere; nothing is
 * refused for being unknown: it is published as it is.
 */
#include "broker/session/session.h"
#include "protocol/message/decode.h"
#include "protocol/message/json.h"
#include "protocol/message/number.h"

enum {
    ANSWER_TICKS = WHEEL_TICKS_A_SECOND, /* one answer a second to heartbeats without an id */
    LONGEST_NAME = 8,
};

/* What tells the cases apart. Slices are raw JSON values, .at NULL: missing, or null. */
struct envelope {
    struct ff_slice type;
    struct ff_slice id;
    struct ff_slice topic;
    struct ff_slice message; /* null is a value here */
    struct ff_slice data;
    struct ff_slice token;
};

/* Where a member of this name belongs; NULL: it is none of those that matter. */
static struct ff_slice *find_field(struct envelope *envelope, struct ff_slice name)
{
    const struct {
        struct ff_slice name;
        struct ff_slice *value;
    } wanted[] = {
        {FF_SLICE("type"), &envelope->type},   {FF_SLICE("id"), &envelope->id},
        {FF_SLICE("topic"), &envelope->topic}, {FF_SLICE("message"), &envelope->message},
        {FF_SLICE("data"), &envelope->data},   {FF_SLICE("token"), &envelope->token},
    };
    char plain[LONGEST_NAME * 6];

    if (name.len > sizeof(plain))
        return NULL;
    if (ff_json_has_escape(name))
        name = (struct ff_slice){plain, ff_json_unescape(plain, name)};
    for (size_t i = 0; i < FF_COUNT(wanted); i++)
        if (ff_slice_is_equal(name, wanted[i].name))
            return wanted[i].value;
    return NULL;
}

static struct envelope read_envelope(struct ff_slice object)
{
    struct envelope envelope = {.type = {NULL, 0}};
    struct ff_json j = ff_json_enter(object);
    struct ff_slice key;
    struct ff_slice value;

    while (ff_json_next(&j, &key, &value)) {
        struct ff_slice *field = find_field(&envelope, key);

        if (!field)
            continue;
        *field = value;
        if (value.at[0] == 'n' && field != &envelope.message)
            *field = (struct ff_slice){NULL, 0};
    }
    return envelope;
}

/* A raw value that is the JSON string `text`, however it is written. */
static bool is_text(struct ff_slice raw, struct ff_slice text)
{
    char plain[LONGEST_NAME * 6];

    if (!raw.at || raw.len < 2 || raw.at[0] != '"' || raw.len - 2 > sizeof(plain))
        return false;
    raw = (struct ff_slice){raw.at + 1, raw.len - 2};
    return ff_slice_is_equal((struct ff_slice){plain, ff_json_unescape(plain, raw)}, text);
}

static bool is_string(struct ff_slice raw)
{
    return raw.at && raw.at[0] == '"';
}

/* Is it one of the typed requests that plain clients may make? */
static bool is_request(const struct envelope *envelope, uint64_t type)
{
    bool has_payload = envelope->message.at || envelope->data.at;

    switch (type) {
    case FF_TYPE_HELLO:
        return is_string(envelope->token) && !envelope->topic.at && !envelope->message.at;
    case FF_TYPE_SUBSCRIBE:
    case FF_TYPE_UNSUBSCRIBE:
    case FF_TYPE_PRESENCE:
    case FF_TYPE_HISTORY:
        return is_string(envelope->topic);
    case FF_TYPE_PUBLISH:
        return envelope->topic.at && has_payload;
    default:
        return false;
    }
}

void plain_forget_answer(struct session *session, uint32_t now)
{
    if ((uint16_t)(now - session->talk.answered_at) >= ANSWER_TICKS)
        session->has_answered = false;
}

/* May a heartbeat be answered? Clients that echo every one that has no id must not loop with us. */
static bool take_answer(struct session *session, bool has_id)
{
    uint32_t now = net_tick(session->conn.net);

    if (session_is_raw(session)) /* who is sent no envelopes has PINGs */
        return false;
    plain_forget_answer(session, now);
    if (session->has_answered && !has_id)
        return false;
    session->has_answered = true;
    session->talk.answered_at = (uint16_t)now;
    return true;
}

static void answer_heartbeat(struct session *session, struct ff_slice id)
{
    struct ff_writer w;
    uint64_t number;
    bool has_id = ff_number_read_integer(id, &number);

    if (!take_answer(session, has_id))
        return;
    w = session_begin_message(session, FF_TYPE_HEARTBEAT);
    if (has_id)
        ff_writer_integer(&w, FF_FIELD_ID, number);
    session_end_message(session, &w);
}

/* To {"type":"ping"}, which is nobody's protocol and many clients' habit. */
static void answer_ping(struct session *session)
{
    static const char pong[] = "{\"type\":\"pong\"}";
    uint8_t frame[WIRE_HEAD_MAX + sizeof(pong)];
    size_t head_len = session_wire(session)->write_head(frame, FF_JSON, sizeof(pong) - 1);

    if (!take_answer(session, false))
        return;
    memcpy(frame + head_len, pong, sizeof(pong) - 1);
    session_send(session, frame, head_len + sizeof(pong) - 1);
}

static enum request_outcome publish(struct session *session, struct ff_slice topic,
                                    struct ff_payload payload)
{
    struct publication p = {.topic = topic, .payload = payload};

    return session_ask_publish(session, session_ticket(session), &p);
}

/* What plain clients send has no id of its own to be labelled with. */
static enum request_outcome refuse(struct session *session, enum ff_error code, const char *reason)
{
    session_error(session, session_ticket(session), code, "%s", reason);
    return REQUEST_DONE;
}

/* {type: 2, message} is a publish; the topic it names, else the plain one, must be added. */
static enum request_outcome publish_data(struct session *session, struct ff_slice object)
{
    struct ff_message *m = gateway_of(session)->message;
    struct ff_decoder decoder = {.encoding = FF_JSON,
                                 .sender = FF_CLIENT,
                                 .unescape_buf = &gateway_of(session)->unescape_buf};
    struct ff_slice topic = session_plain_topic(session);
    const char *reason;
    size_t fault_at;

    if (ff_decode_begin(&decoder, object, &reason, &fault_at) || !ff_decode_next(&decoder, m))
        return REQUEST_DONE;
    if (m->error)
        return refuse(session, m->error, m->reason);
    if (ff_message_has(m, FF_FIELD_TOPIC))
        topic = m->values[FF_FIELD_TOPIC].text;
    return publish(session, topic, m->payload);
}

static enum request_outcome handle_request(struct session *session, struct ff_slice object)
{
    struct ff_message *m = gateway_of(session)->message;
    struct ff_decoder decoder = {.encoding = FF_JSON,
                                 .sender = FF_CLIENT,
                                 .unescape_buf = &gateway_of(session)->unescape_buf};
    const char *reason;
    size_t fault_at;

    if (ff_decode_begin(&decoder, object, &reason, &fault_at) || !ff_decode_next(&decoder, m))
        return REQUEST_DONE;
    return session_handle(session, m);
}

/* Text that is no JSON is published as a JSON string. */
static enum request_outcome publish_text(struct session *session, struct ff_slice text)
{
    struct ff_buf *buf = &gateway_of(session)->unescape_buf;
    size_t size = ff_json_quoted_size(text);

    buf->len = 0;
    if (ff_buf_reserve(buf, size))
        return refuse(session, FF_ERROR_INTERNAL, "out of memory");
    (void)ff_json_write_quoted(buf->data, text);
    buf->len = size;
    return publish(session, session_plain_topic(session),
                   (struct ff_payload){FF_PAYLOAD_JSON, ff_buf_slice(buf)});
}

/* What is none of the cases: a value as it is, or text where it is no JSON after all. */
static enum request_outcome publish_value(struct session *session, struct ff_slice text,
                                          struct ff_slice value, unsigned faults)
{
    bool is_bare = value.len == text.len && value.at[0] != '"';

    /* The words NaN and Infinity are text like any other; raw is sent back to the octet. */
    if (faults & FF_FAULT_FINITE || (session_is_raw(session) && !is_bare))
        return publish_text(session, text);
    if (faults)
        return refuse(session, FF_ERROR_BAD_CONTENT, ff_fault_text(faults));
    return publish(session, session_plain_topic(session),
                   (struct ff_payload){FF_PAYLOAD_JSON, value});
}

static enum request_outcome handle_object(struct session *session, struct ff_slice text,
                                          struct ff_slice object, unsigned faults)
{
    struct envelope envelope = read_envelope(object);
    uint64_t type;

    if (!ff_number_read_integer(envelope.type, &type))
        type = 0;
    if (type == FF_TYPE_HEARTBEAT) {
        answer_heartbeat(session, envelope.id);
        return REQUEST_DONE;
    }
    if (is_text(envelope.type, FF_SLICE("ping"))) {
        answer_ping(session);
        return REQUEST_DONE;
    }
    if (!session_is_raw(session) && type == FF_TYPE_MESSAGE &&
        (envelope.message.at || envelope.data.at))
        return publish_data(session, object);
    if (!session_is_raw(session) && is_request(&envelope, type))
        return handle_request(session, object);
    if (is_string(envelope.token) && !envelope.topic.at && !envelope.message.at)
        return REQUEST_DONE; /* a HELLO of whatever type: a token is never published */
    return publish_value(session, text, object, faults);
}

enum request_outcome plain_message(struct session *session, enum ff_opcode opcode,
                                   struct ff_slice bytes)
{
    struct ff_json j = ff_json_of(ff_json_without_mark(bytes));
    struct ff_slice value;
    unsigned faults = 0;
    enum ff_err err;

    if (bytes.len == 0 || (opcode == FF_OP_TEXT && session_is_keepalive(bytes))) {
        answer_heartbeat(session, (struct ff_slice){NULL, 0});
        return REQUEST_DONE;
    }
    if (opcode == FF_OP_BINARY)
        return publish(session, session_plain_topic(session),
                       (struct ff_payload){FF_PAYLOAD_BYTES, bytes});
    err = ff_json_take(&j, &value, &faults);
    if (err == FF_ELIMIT)
        return refuse(session, FF_ERROR_BAD_CONTENT, ff_fault_text(FF_FAULT_DEEP));
    if (err || j.at != j.end)
        return publish_text(session, bytes);
    if (value.at[0] == '{')
        return handle_object(session, bytes, value, faults);
    return publish_value(session, bytes, value, faults);
}
