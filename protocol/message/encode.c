/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/encode.h"

#include "protocol/message/json.h"
#include "protocol/message/msgpack.h"
#include "protocol/websocket/frame.h"

static const char json_begin[] = "{\"type\":2,\"topic\":";
static const char json_message[] = ",\"message\":";
static const char json_data[] = ",\"data\":\"";
static const char json_offset[] = ",\"offset\":";
static const char json_epoch[] = ",\"epoch\":\"";
static const char json_filter[] = ",\"filter\":";

enum { MSGPACK_STR_HEAD = 2, /* d9 and one octet: topics are at most 255 long */ DIGITS = 20 };

/* printf() would cost more than all the rest of an ACK. Returns where the digits begin in `room`.
 */
static char *write_digits(char room[DIGITS], uint64_t v)
{
    char *at = room + DIGITS;

    while (v >= 100) { /* two at a time: a division costs as much as several of all else here */
        unsigned two = (unsigned)(v % 100);

        v /= 100;
        *--at = (char)('0' + two % 10);
        *--at = (char)('0' + two / 10);
    }
    *--at = (char)('0' + v % 10);
    if (v >= 10)
        *--at = (char)('0' + v / 10);
    return at;
}

static size_t count_digits(uint64_t v)
{
    static const uint64_t powers[] = {
        10ULL,
        100ULL,
        1000ULL,
        10000ULL,
        100000ULL,
        1000000ULL,
        10000000ULL,
        100000000ULL,
        1000000000ULL,
        10000000000ULL,
        100000000000ULL,
        1000000000000ULL,
        10000000000000ULL,
        100000000000000ULL,
        1000000000000000ULL,
        10000000000000000ULL,
        100000000000000000ULL,
        1000000000000000000ULL,
        10000000000000000000ULL,
    };
    size_t count = 0;

    while (count < FF_COUNT(powers) && v >= powers[count])
        count++;
    return count + 1;
}

/* What stands before the payload, and between it and the filter. */
static size_t json_prefix_size(struct ff_slice topic, bool is_data)
{
    return sizeof(json_begin) - 1 + ff_json_quoted_size(topic) +
           (is_data ? sizeof(json_data) : sizeof(json_message)) - 1;
}

static size_t json_suffix_size(uint64_t offset, uint64_t epoch, bool is_data)
{
    size_t size = is_data; /* a quote behind data */

    if (offset)
        size += sizeof(json_offset) - 1 + count_digits(offset);
    if (epoch)
        size += sizeof(json_epoch) - 1 + FF_EPOCH_TEXT + 1;
    return size;
}

static size_t json_size(const struct ff_delivery *d)
{
    bool is_data = d->payload.kind == FF_PAYLOAD_BASE64;
    size_t size = json_prefix_size(d->topic, is_data) + d->payload.bytes.len +
                  json_suffix_size(d->offset, d->epoch, is_data);

    if (d->filter.at)
        size += sizeof(json_filter) - 1 + ff_json_quoted_size(d->filter);
    return size + 1;
}

static char *put(char *out, const void *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

static char *json_put_position(char *out, const struct ff_delivery *d)
{
    if (d->offset) {
        char room[DIGITS];
        char *at = write_digits(room, d->offset);

        out = put(out, json_offset, sizeof(json_offset) - 1);
        out = put(out, at, (size_t)(room + DIGITS - at));
    }
    if (d->epoch) {
        out = put(out, json_epoch, sizeof(json_epoch) - 1);
        ff_epoch_write(out, d->epoch);
        out[FF_EPOCH_TEXT] = '"';
        out += FF_EPOCH_TEXT + 1;
    }
    return out;
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
    out = json_put_position(out, d);
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

static size_t msgpack_integer_size(uint64_t v)
{
    char room[9];

    return (size_t)(ff_msgpack_write_uint(room, v) - room);
}

/* Elements behind the payload; what is missing before the last one is nil. */
static unsigned msgpack_elements(const struct ff_delivery *d)
{
    if (d->filter.at)
        return 3;
    return d->epoch ? 2 : d->offset ? 1 : 0;
}

static size_t msgpack_size(const struct ff_delivery *d)
{
    unsigned more = msgpack_elements(d);
    size_t size = 2 + msgpack_str_size(d->topic) + d->payload.bytes.len;

    if (more >= 1)
        size += d->offset ? msgpack_integer_size(d->offset) : 1;
    if (more >= 2)
        size += d->epoch ? FF_EPOCH_TEXT + 1 : 1;
    if (more >= 3)
        size += msgpack_str_size(d->filter);
    return size;
}

static char *msgpack_put_str(char *out, struct ff_slice s)
{
    out = ff_msgpack_write_head(out, FF_MSGPACK_STR, (uint32_t)s.len);
    return put(out, s.at, s.len);
}

static char *msgpack_put_epoch(char *out, uint64_t epoch)
{
    out = ff_msgpack_write_head(out, FF_MSGPACK_STR, FF_EPOCH_TEXT);
    ff_epoch_write(out, epoch);
    return out + FF_EPOCH_TEXT;
}

static void msgpack_write(char *out, const struct ff_delivery *d)
{
    static const char nil = (char)0xc0;
    unsigned more = msgpack_elements(d);

    out = ff_msgpack_write_head(out, FF_MSGPACK_ARRAY, 3 + more);
    *out++ = FF_TYPE_MESSAGE;
    out = msgpack_put_str(out, d->topic);
    out = put(out, d->payload.bytes.at, d->payload.bytes.len);
    if (more >= 1)
        out = d->offset ? ff_msgpack_write_uint(out, d->offset) : put(out, &nil, 1);
    if (more >= 2)
        out = d->epoch ? msgpack_put_epoch(out, d->epoch) : put(out, &nil, 1);
    if (more >= 3)
        (void)msgpack_put_str(out, d->filter);
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

void ff_delivery_write(uint8_t *out, enum ff_encoding encoding, const struct ff_delivery *delivery,
                       size_t size)
{
    size -= ff_frame_head_within(size);
    if (encoding == FF_JSON) {
        out += ff_frame_write_head(out, FF_OP_TEXT, size);
        json_write((char *)out, delivery);
    } else {
        out += ff_frame_write_head(out, FF_OP_BINARY, size);
        msgpack_write((char *)out, delivery);
    }
}

struct ff_payload ff_delivery_payload(enum ff_encoding encoding, struct ff_slice frame,
                                      struct ff_slice topic, uint64_t offset)
{
    struct ff_payload payload = {FF_PAYLOAD_MSGPACK, {NULL, 0}};
    size_t before = 2 + msgpack_str_size(topic);
    size_t behind = offset ? msgpack_integer_size(offset) : 0;
    struct ff_frame_head parsed;
    size_t head = (size_t)ff_frame_parse_head(&parsed, (const uint8_t *)frame.at, frame.len);

    if (encoding == FF_JSON) {
        const char *at = frame.at + head + sizeof(json_begin) - 1 + ff_json_quoted_size(topic);
        bool is_data = at[2] == json_data[2];

        payload.kind = is_data ? FF_PAYLOAD_BASE64 : FF_PAYLOAD_JSON;
        before = json_prefix_size(topic, is_data);
        behind = json_suffix_size(offset, 0, is_data) + 1;
    }
    payload.bytes = (struct ff_slice){frame.at + head + before, frame.len - head - before - behind};
    return payload;
}

static void append(struct ff_writer *w, const void *bytes, size_t len)
{
    if (!w->err)
        w->err = ff_buf_append(w->out, bytes, len);
}

static void put_integer(struct ff_writer *w, uint64_t v)
{
    char room[DIGITS];
    char *at;

    if (w->encoding == FF_MSGPACK) {
        append(w, room, (size_t)(ff_msgpack_write_uint(room, v) - room));
        return;
    }
    at = write_digits(room, v);
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

void ff_writer_epoch(struct ff_writer *w, enum ff_field field, uint64_t epoch)
{
    char text[FF_EPOCH_TEXT];

    ff_epoch_write(text, epoch);
    ff_writer_string(w, field, (struct ff_slice){text, sizeof(text)});
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
