/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/kind.h"

#include "protocol/base/base64.h"
#include "protocol/base/codes.h"
#include "protocol/base/utf8.h"
#include "protocol/message/json.h"

static size_t measure_json(const struct ff_delivery *message)
{
    return ff_delivery_size(FF_JSON, message);
}

static void write_json(uint8_t *out, const struct ff_delivery *message, size_t size)
{
    ff_delivery_write(out, FF_JSON, message, size);
}

static size_t measure_msgpack(const struct ff_delivery *message)
{
    return ff_delivery_size(FF_MSGPACK, message);
}

static void write_msgpack(uint8_t *out, const struct ff_delivery *message, size_t size)
{
    ff_delivery_write(out, FF_MSGPACK, message, size);
}

/* Appends what base64 stands for: `*octets`. It was checked before it got here, all the same. */
static enum ff_err decode(struct ff_slice text, struct ff_buf *buf, struct ff_slice *octets)
{
    size_t size;
    enum ff_err err = ff_buf_reserve(buf, text.len / 4 * 3 + 3);

    if (err)
        return err;
    err = ff_base64_decode((uint8_t *)buf->data, &size, text.at, text.len);
    *octets = (struct ff_slice){buf->data, err ? 0 : size};
    buf->len = octets->len;
    return err;
}

/* Appends a text as a JSON string, which becomes the payload. */
static enum ff_err quote(struct ff_slice text, struct ff_buf *buf, struct ff_payload *payload)
{
    size_t size = ff_json_quoted_size(text);
    size_t from = buf->len;
    size_t text_at = from ? (size_t)(text.at - buf->data) : 0;
    enum ff_err err = ff_buf_reserve(buf, size);

    if (err)
        return err;
    if (from) /* what is quoted stands in the buffer, which may have moved */
        text.at = buf->data + text_at;
    (void)ff_json_write_quoted(buf->data + from, text);
    buf->len += size;
    *payload = (struct ff_payload){FF_PAYLOAD_JSON, {buf->data + from, size}};
    return FF_OK;
}

/* A string as it is, another value as its JSON text, octets as text where they are. */
static enum ff_err render_text(struct ff_payload *payload, struct ff_buf *buf)
{
    struct ff_slice octets;
    enum ff_err err;

    buf->len = 0;
    if (payload->kind == FF_PAYLOAD_JSON)
        return payload->bytes.at[0] == '"' ? FF_OK : quote(payload->bytes, buf, payload);
    err = decode(payload->bytes, buf, &octets);
    if (err || !ff_utf8_is_valid(octets.at, octets.len))
        return err;
    return quote(octets, buf, payload);
}

/* The octets themselves: of a string what stands between its quotes. */
static enum ff_err render_raw(struct ff_payload *payload, struct ff_buf *buf)
{
    struct ff_slice *bytes = &payload->bytes;
    enum ff_err err;

    buf->len = 0;
    if (payload->kind != FF_PAYLOAD_JSON) {
        payload->kind = FF_PAYLOAD_BYTES;
        return decode(*bytes, buf, bytes);
    }
    if (bytes->at[0] != '"' || bytes->len < 2)
        return FF_OK;
    *bytes = (struct ff_slice){bytes->at + 1, bytes->len - 2};
    if (!ff_json_has_escape(*bytes))
        return FF_OK;
    err = ff_buf_reserve(buf, bytes->len);
    if (err)
        return err;
    buf->len = ff_json_unescape(buf->data, *bytes);
    *bytes = ff_buf_slice(buf);
    return FF_OK;
}

static size_t measure_raw(const struct ff_delivery *message)
{
    size_t size = message->payload.bytes.len;

    return ff_frame_head_size(size) + size;
}

static void write_raw(uint8_t *out, const struct ff_delivery *message, size_t size)
{
    const struct ff_payload *payload = &message->payload;
    enum ff_opcode opcode = payload->kind == FF_PAYLOAD_BYTES ? FF_OP_BINARY : FF_OP_TEXT;

    (void)size;
    out += ff_frame_write_head(out, opcode, payload->bytes.len);
    if (payload->bytes.len)
        memcpy(out, payload->bytes.at, payload->bytes.len);
}

const struct kind_ops log_kinds[KINDS] = {
    [KIND_JSON] = {KIND_JSON, KIND_JSON_DEFLATED, FF_JSON, FF_OP_TEXT, NULL, measure_json,
                   write_json},
    [KIND_MSGPACK] = {KIND_MSGPACK, KIND_MSGPACK, FF_MSGPACK, FF_OP_BINARY, NULL, measure_msgpack,
                      write_msgpack},
    [KIND_TEXT] = {KIND_TEXT, KIND_TEXT_DEFLATED, FF_JSON, FF_OP_TEXT, render_text, measure_json,
                   write_json},
    [KIND_RAW] = {KIND_RAW, KIND_RAW, FF_JSON, FF_OP_CLOSE, render_raw, measure_raw, write_raw},
    [KIND_JSON_DEFLATED] = {KIND_JSON, KIND_JSON_DEFLATED, FF_JSON, FF_OP_TEXT, NULL, measure_json,
                            write_json},
    [KIND_TEXT_DEFLATED] = {KIND_TEXT, KIND_TEXT_DEFLATED, FF_JSON, FF_OP_TEXT, NULL, measure_json,
                            write_json},
};

enum log_kind kind_of(enum ff_encoding encoding)
{
    return encoding == FF_JSON ? KIND_JSON : KIND_MSGPACK;
}

static size_t write_close_for_gap(char out[GAP_MAX])
{
    uint8_t body[FF_CONTROL_MAX];
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t body_len = ff_frame_write_close(body, FF_CLOSE_SLOW_CONSUMER, "messages are missing");
    size_t head_len = ff_frame_write_head(head, FF_OP_CLOSE, body_len);

    memcpy(out, head, head_len);
    memcpy(out + head_len, body, body_len);
    return head_len + body_len;
}

/* Behind the room for its head: guaranteed to fit, because of how GAP_MAX is made. */
static struct ff_buf begin_frame(char out[GAP_MAX])
{
    return (struct ff_buf){.data = out + FF_FRAME_HEAD_MAX,
                           .cap = GAP_MAX - FF_FRAME_HEAD_MAX,
                           .max = GAP_MAX - FF_FRAME_HEAD_MAX};
}

/* Its head, with no room between them. */
static size_t end_frame(enum log_kind kind, const struct ff_buf *body, char out[GAP_MAX])
{
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t head_len = ff_frame_write_head(head, log_kinds[kind].opcode, body->len);

    memmove(out + head_len, body->data, body->len);
    memcpy(out, head, head_len);
    return head_len + body->len;
}

size_t kind_write_count(enum log_kind kind, struct ff_slice topic, uint32_t members,
                        char out[GAP_MAX])
{
    struct ff_buf body = begin_frame(out);
    struct ff_writer w;

    ff_writer_begin(&w, &body, log_kinds[kind].encoding, FF_BROKER, FF_TYPE_PRESENCE);
    ff_writer_string(&w, FF_FIELD_TOPIC, topic);
    ff_writer_integer(&w, FF_FIELD_COUNT, members);
    FF_CHECK(ff_writer_end(&w) == FF_OK);
    return end_frame(kind, &body, out);
}

size_t kind_write_gap(enum log_kind kind, const struct gap *gap, char out[GAP_MAX])
{
    struct ff_buf body = begin_frame(out);
    struct ff_writer w;

    if (kind == KIND_RAW)
        return write_close_for_gap(out);
    ff_writer_begin(&w, &body, log_kinds[kind].encoding, FF_BROKER, FF_TYPE_GAP);
    ff_writer_string(&w, FF_FIELD_TOPIC, gap->topic);
    ff_writer_string(&w, FF_FIELD_CAUSE, ff_slice_of(gap->cause));
    if (gap->skipped || gap->from)
        ff_writer_integer(&w, FF_FIELD_SKIPPED, gap->skipped);
    if (gap->from) {
        ff_writer_integer(&w, FF_FIELD_FROM, gap->from);
        ff_writer_integer(&w, FF_FIELD_TO, gap->to);
    }
    if (gap->epoch) {
        ff_writer_epoch(&w, FF_FIELD_EPOCH, gap->epoch);
        ff_writer_integer(&w, FF_FIELD_OFFSET, gap->offset);
    }
    FF_CHECK(ff_writer_end(&w) == FF_OK);
    return end_frame(kind, &body, out);
}
