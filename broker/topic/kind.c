/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/kind.h"

static size_t measure_json(const struct ff_delivery *message)
{
    return ff_delivery_size(FF_JSON, message);
}

static void write_json(uint8_t *out, const struct ff_delivery *message)
{
    ff_delivery_write(out, FF_JSON, message);
}

static size_t measure_msgpack(const struct ff_delivery *message)
{
    return ff_delivery_size(FF_MSGPACK, message);
}

static void write_msgpack(uint8_t *out, const struct ff_delivery *message)
{
    ff_delivery_write(out, FF_MSGPACK, message);
}

const struct kind_ops log_kinds[KINDS] = {
    [KIND_JSON] = {FF_JSON, FF_OP_TEXT, measure_json, write_json},
    [KIND_MSGPACK] = {FF_MSGPACK, FF_OP_BINARY, measure_msgpack, write_msgpack},
};

enum log_kind kind_of(enum ff_encoding encoding)
{
    return encoding == FF_JSON ? KIND_JSON : KIND_MSGPACK;
}

size_t kind_write_gap(enum log_kind kind, const struct gap *gap, char out[GAP_MAX])
{
    struct ff_buf body = {.data = out + FF_FRAME_HEAD_MAX,
                          .cap = GAP_MAX - FF_FRAME_HEAD_MAX,
                          .max = GAP_MAX - FF_FRAME_HEAD_MAX};
    struct ff_writer w;
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t head_len;

    ff_writer_begin(&w, &body, log_kinds[kind].encoding, FF_BROKER, FF_TYPE_GAP);
    ff_writer_string(&w, FF_FIELD_TOPIC, gap->topic);
    ff_writer_string(&w, FF_FIELD_CAUSE, ff_slice_of(gap->cause));
    ff_writer_integer(&w, FF_FIELD_SKIPPED, gap->skipped);
    FF_CHECK(ff_writer_end(&w) == FF_OK); /* guaranteed to fit, because of how GAP_MAX is made */
    head_len = ff_frame_write_head(head, log_kinds[kind].opcode, body.len);
    memmove(out + head_len, body.data, body.len);
    memcpy(out, head, head_len);
    return head_len + body.len;
}
