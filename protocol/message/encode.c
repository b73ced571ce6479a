/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/encode.h"

#include "protocol/message/json.h"
#include "protocol/message/msgpack.h"
#include "protocol/websocket/frame.h"

static const char json_begin[] = "{\"type\":2,\"topic\":";
static const char json_message[] = ",\"message\":";
static const char json_data[] = ",\"data\":\"";
static const char json_filter[] = ",\"filter\":";

enum { MSGPACK_STR_HEAD = 2 }; /* d9 and one octet: topics are at most 255 long */

static size_t json_size(const struct ff_delivery *d)
{
    bool is_data = d->payload.kind == FF_PAYLOAD_BASE64;
    size_t size = sizeof(json_begin) - 1 + ff_json_quoted_size(d->topic);

    size += is_data ? sizeof(json_data) : sizeof(json_message) - 1; /* a quote behind data */
    size += d->payload.bytes.len;
    if (d->filter.at)
        size += sizeof(json_filter) - 1 + ff_json_quoted_size(d->filter);
    return size + 1;
}

static char *put(char *out, const void *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

static void json_write(char *out, const struct ff_delivery *d)
{
    bool is_data = d->payload.kind == FF_PAYLOAD_BASE64;

    out = put(out, json_begin, sizeof(json_begin) - 1);
    out = ff_json_write_quoted(out, d->topic);
    if (is_data)
        out = put(out, json_data, sizeof(json_data) - 1);
    else
        out = put(out, json_message, sizeof(json_message) - 1);
    out = put(out, d->payload.bytes.at, d->payload.bytes.len);
    if (is_data)
        *out++ = '"';
    if (d->filter.at) {
        out = put(out, json_filter, sizeof(json_filter) - 1);
        out = ff_json_write_quoted(out, d->filter);
    }
    *out = '}';
}

static size_t msgpack_str_size(struct ff_slice s)
{
    return s.len + (s.len > 31 ? MSGPACK_STR_HEAD : 1);
}

static size_t msgpack_size(const struct ff_delivery *d)
{
    size_t size = 2 + msgpack_str_size(d->topic) + d->payload.bytes.len;

    return d->filter.at ? size + 2 + msgpack_str_size(d->filter) : size;
}

static char *msgpack_put_str(char *out, struct ff_slice s)
{
    out = ff_msgpack_write_head(out, FF_MSGPACK_STR, (uint32_t)s.len);
    return put(out, s.at, s.len);
}

static void msgpack_write(char *out, const struct ff_delivery *d)
{
    out = ff_msgpack_write_head(out, FF_MSGPACK_ARRAY, d->filter.at ? 6 : 3);
    *out++ = FF_TYPE_MESSAGE;
    out = msgpack_put_str(out, d->topic);
    out = put(out, d->payload.bytes.at, d->payload.bytes.len);
    if (d->filter.at) {
        *out++ = (char)0xc0; /* offset and epoch */
        *out++ = (char)0xc0;
        (void)msgpack_put_str(out, d->filter);
    }
}

static size_t body_size(enum ff_encoding encoding, const struct ff_delivery *delivery)
{
    return encoding == FF_JSON ? json_size(delivery) : msgpack_size(delivery);
}

size_t ff_delivery_size(enum ff_encoding encoding, const struct ff_delivery *delivery)
{
    size_t size = body_size(encoding, delivery);

    return size + ff_frame_head_size(size);
}

void ff_delivery_write(uint8_t *out, enum ff_encoding encoding, const struct ff_delivery *delivery)
{
    size_t size = body_size(encoding, delivery);

    if (encoding == FF_JSON) {
        out += ff_frame_write_head(out, FF_OP_TEXT, size);
        json_write((char *)out, delivery);
    } else {
        out += ff_frame_write_head(out, FF_OP_BINARY, size);
        msgpack_write((char *)out, delivery);
    }
}

static void append(struct ff_writer *w, const void *bytes, size_t len)
{
    if (!w->err)
        w->err = ff_buf_append(w->out, bytes, len);
}

/* printf() would cost more than all the rest of an ACK. */
static void put_integer(struct ff_writer *w, uint64_t v)
{
    char room[20];
    char *at = room + sizeof(room);

    if (w->encoding == FF_MSGPACK) {
        append(w, room, (size_t)(ff_msgpack_write_uint(room, v) - room));
        return;
    }
    do {
        *--at = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    append(w, at, (size_t)(room + sizeof(room) - at));
}

void ff_writer_begin(struct ff_writer *w, struct ff_buf *out, enum ff_encoding encoding,
                     enum ff_sender sender, enum ff_type type)
{
    *w = (struct ff_writer){.out = out, .encoding = encoding, .head_at = out->len};
    w->layout = ff_layout(sender, type, &w->count);
    FF_CHECK(w->layout);
    if (encoding == FF_JSON) {
        append(w, "{\"type\":", 8);
        put_integer(w, type);
    } else {
        char head[2] = {0, (char)type};

        append(w, head, sizeof(head));
    }
}

/* Up to the field's place; JSON writes its name, MessagePack nil for what was left out. */
static void go_to(struct ff_writer *w, enum ff_field field)
{
    while (w->next < w->count && w->layout[w->next] != field) {
        w->next++;
        if (w->encoding == FF_MSGPACK)
            append(w, "\xc0", 1);
    }
    FF_CHECK(w->next < w->count); /* fields come in the layout's order */
    w->next++;
    if (w->encoding == FF_JSON) {
        struct ff_slice name = ff_field_name(field);

        append(w, ",\"", 2);
        append(w, name.at, name.len);
        append(w, "\":", 2);
    }
}

static void put_string(struct ff_writer *w, struct ff_slice v)
{
    size_t size = w->encoding == FF_JSON ? ff_json_quoted_size(v) : v.len + 5;
    char *at;
    char *end;

    if (!w->err)
        w->err = ff_buf_reserve(w->out, size);
    if (w->err)
        return;
    at = w->out->data + w->out->len;
    if (w->encoding == FF_JSON) {
        end = ff_json_write_quoted(at, v);
    } else {
        end = ff_msgpack_write_head(at, FF_MSGPACK_STR, (uint32_t)v.len);
        end = v.len ? put(end, v.at, v.len) : end;
    }
    w->out->len += (size_t)(end - at);
}

void ff_writer_integer(struct ff_writer *w, enum ff_field field, uint64_t v)
{
    go_to(w, field);
    put_integer(w, v);
}

void ff_writer_string(struct ff_writer *w, enum ff_field field, struct ff_slice v)
{
    go_to(w, field);
    put_string(w, v);
}

void ff_writer_bool(struct ff_writer *w, enum ff_field field, bool v)
{
    go_to(w, field);
    if (w->encoding == FF_MSGPACK)
        append(w, v ? "\xc3" : "\xc2", 1);
    else
        append(w, v ? "true" : "false", v ? 4 : 5);
}

void ff_writer_raw(struct ff_writer *w, enum ff_field field, struct ff_slice raw)
{
    go_to(w, field);
    append(w, raw.at, raw.len);
}

void ff_writer_map(struct ff_writer *w, enum ff_field field, const struct ff_pair *pairs,
                   size_t count)
{
    char head[5];

    go_to(w, field);
    if (w->encoding == FF_MSGPACK)
        append(w, head,
               (size_t)(ff_msgpack_write_head(head, FF_MSGPACK_MAP, (uint32_t)count) - head));
    for (size_t i = 0; i < count; i++) {
        if (w->encoding == FF_JSON)
            append(w, i ? "," : "{", 1);
        put_string(w, ff_slice_of(pairs[i].name));
        if (w->encoding == FF_JSON)
            append(w, ":", 1);
        put_integer(w, pairs[i].v);
    }
    if (w->encoding == FF_JSON)
        append(w, "}", 1);
}

enum ff_err ff_writer_end(struct ff_writer *w)
{
    if (w->encoding == FF_JSON)
        append(w, "}", 1);
    else if (!w->err) /* at most 13 fields: a fixarray */
        w->out->data[w->head_at] = (char)(0x90 | (w->next + 1));
    return w->err;
}
