/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/transcode.h"

#include <inttypes.h>
#include <math.h>
#include <msgpack.h>

#include "protocol/base/base64.h"
#include "protocol/base/utf8.h"
#include "protocol/message/json.h"
#include "protocol/message/msgpack.h"
#include "protocol/message/number.h"

/* msgpack-c's packer writes through this. */
static int pack_write(void *data, const char *bytes, size_t len)
{
    return ff_buf_append(data, bytes, len);
}

static int pack_number(msgpack_packer *packer, struct ff_slice raw)
{
    struct ff_number number = ff_number_read(raw);

    switch (number.kind) {
    case FF_NUMBER_NONE:
        return FF_EINVAL;
    case FF_NUMBER_UINT:
        return msgpack_pack_uint64(packer, number.u);
    case FF_NUMBER_INT:
        return msgpack_pack_int64(packer, number.i);
    case FF_NUMBER_DOUBLE:
        return isinf(number.d) ? FF_EINVAL : msgpack_pack_double(packer, number.d);
    }
    FF_UNREACHABLE();
}

/* A string's inside, escapes undone straight into the output. */
static int pack_string(msgpack_packer *packer, struct ff_slice inside)
{
    struct ff_buf plain;
    int err;

    if (!ff_json_has_escape(inside))
        return msgpack_pack_str_with_body(packer, inside.at, inside.len);
    ff_buf_init(&plain, inside.len + 1);
    err = ff_buf_reserve(&plain, inside.len);
    if (!err) {
        plain.len = ff_json_unescape(plain.data, inside);
        err = msgpack_pack_str_with_body(packer, plain.data, plain.len);
    }
    ff_buf_deinit(&plain);
    return err;
}

static int pack_scalar(msgpack_packer *packer, struct ff_slice raw)
{
    switch (raw.at[0]) {
    case '"':
        return pack_string(packer, (struct ff_slice){raw.at + 1, raw.len - 2});
    case 't':
        return msgpack_pack_true(packer);
    case 'f':
        return msgpack_pack_false(packer);
    case 'n':
        return msgpack_pack_nil(packer);
    default:
        return pack_number(packer, raw);
    }
}

/* How many members or elements a raw object or array has. */
static uint32_t count_members(struct ff_slice raw)
{
    struct ff_json j = ff_json_enter(raw);
    struct ff_slice key;
    struct ff_slice value;
    uint32_t count = 0;

    while (ff_json_next(&j, &key, &value))
        count++;
    return count;
}

static int pack_open(msgpack_packer *packer, struct ff_slice raw)
{
    uint32_t count = count_members(raw);

    return raw.at[0] == '{' ? msgpack_pack_map(packer, count) : msgpack_pack_array(packer, count);
}

/*
 * Containers are counted before they are entered: each level is scanned once
 * more than the one above, at most 24 times. `raw` is one whole value.
 */
static int pack_value(struct ff_buf *out, struct ff_slice raw)
{
    struct ff_json nest[FF_DEPTH_MAX];
    unsigned depth = 0;
    msgpack_packer packer;
    struct ff_slice key = {NULL, 0};
    int err = 0;

    msgpack_packer_init(&packer, out, pack_write);
    for (;;) {
        if (key.at)
            err = pack_string(&packer, key);
        if (!err && (raw.at[0] == '{' || raw.at[0] == '[')) {
            err = depth < FF_DEPTH_MAX ? pack_open(&packer, raw) : FF_EINVAL;
            if (!err)
                nest[depth++] = ff_json_enter(raw);
        } else if (!err) {
            err = pack_scalar(&packer, raw);
        }
        while (depth && !err && !ff_json_next(&nest[depth - 1], &key, &raw))
            depth--;
        if (err || depth == 0)
            return err;
    }
}

static int json_to_msgpack(struct ff_buf *out, struct ff_slice raw)
{
    struct ff_json j = ff_json_of(raw);
    struct ff_slice value;
    unsigned faults = 0;

    if (ff_json_take(&j, &value, &faults) || faults || j.at != j.end ||
        !ff_utf8_is_valid(raw.at, raw.len))
        return FF_EINVAL;
    return pack_value(out, value);
}

static int put_quoted(struct ff_buf *out, const char *text, size_t len)
{
    struct ff_slice s = {text, len};
    int err = ff_buf_reserve(out, ff_json_quoted_size(s));

    if (!err)
        out->len = (size_t)(ff_json_write_quoted(out->data + out->len, s) - out->data);
    return err;
}

static int put_scalar(struct ff_buf *out, const msgpack_object *o)
{
    char text[32];

    switch ((int)o->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return o->via.boolean ? ff_buf_append(out, "true", 4) : ff_buf_append(out, "false", 5);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return ff_buf_printf(out, "%" PRIu64, o->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return ff_buf_printf(out, "%" PRId64, o->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        if (!isfinite(o->via.f64))
            return FF_EINVAL;
        return ff_buf_append(out, text, ff_number_write(text, o->via.f64));
    case MSGPACK_OBJECT_STR:
        return put_quoted(out, o->via.str.ptr, o->via.str.size);
    case MSGPACK_OBJECT_NIL:
        return ff_buf_append(out, "null", 4);
    default: /* ext, and bin below the top */
        return FF_EINVAL;
    }
}

/* A container under way: which of its elements comes next. */
struct open {
    const msgpack_object *object;
    uint32_t next;
};

static uint32_t open_count(const struct open *open)
{
    return open->object->type == MSGPACK_OBJECT_MAP ? open->object->via.map.size
                                                    : open->object->via.array.size;
}

static int put_key(struct ff_buf *out, const msgpack_object *key)
{
    return key->type == MSGPACK_OBJECT_STR ? put_scalar(out, key) : FF_EINVAL;
}

/* Steps to the next element of a container, writing what stands before it; NULL at its end. */
static const msgpack_object *open_next(struct open *open, struct ff_buf *out, int *err)
{
    bool is_map = open->object->type == MSGPACK_OBJECT_MAP;
    uint32_t i = open->next++;

    if (i == open_count(open)) {
        *err = ff_buf_append(out, is_map ? "}" : "]", 1);
        return NULL;
    }
    if (i)
        *err = ff_buf_append(out, ",", 1);
    if (!is_map)
        return &open->object->via.array.ptr[i];
    if (!*err)
        *err = put_key(out, &open->object->via.map.ptr[i].key);
    if (!*err)
        *err = ff_buf_append(out, ":", 1);
    return &open->object->via.map.ptr[i].val;
}

static int object_to_json(struct ff_buf *out, const msgpack_object *object)
{
    struct open nest[FF_DEPTH_MAX];
    unsigned depth = 0;
    int err = 0;

    while (object && !err) {
        if (object->type == MSGPACK_OBJECT_MAP || object->type == MSGPACK_OBJECT_ARRAY) {
            if (depth == FF_DEPTH_MAX)
                return FF_EINVAL;
            err = ff_buf_append(out, object->type == MSGPACK_OBJECT_MAP ? "{" : "[", 1);
            nest[depth++] = (struct open){object, 0};
        } else {
            err = put_scalar(out, object);
        }
        object = NULL;
        while (depth && !object && !err) {
            object = open_next(&nest[depth - 1], out, &err);
            if (!object)
                depth--;
        }
    }
    return err;
}

/* FF_EINVAL: not one whole value that a decoder lets through. (msgpack-c counts on what it is
 * told.) */
static int check_msgpack(struct ff_slice raw)
{
    struct ff_msgpack m = ff_msgpack_of(raw);
    struct ff_slice value;
    unsigned faults = 0;

    return ff_msgpack_take(&m, &value, &faults) || faults || m.at != m.end ? FF_EINVAL : FF_OK;
}

static int msgpack_to_json(struct ff_buf *out, struct ff_slice raw)
{
    msgpack_unpacked unpacked;
    size_t at = 0;
    int err = check_msgpack(raw);

    if (err)
        return err;
    msgpack_unpacked_init(&unpacked);
    err = FF_ENOMEM;
    if (msgpack_unpack_next(&unpacked, raw.at, raw.len, &at) == MSGPACK_UNPACK_SUCCESS)
        err = object_to_json(out, &unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
    return err;
}

static int put_base64(struct ff_buf *out, struct ff_slice octets)
{
    size_t size = ff_base64_encoded_len(octets.len);
    int err = ff_buf_reserve(out, size + 1);

    if (!err) {
        ff_base64_encode(out->data + out->len, octets.at, octets.len);
        out->len += size;
    }
    return err;
}

static int put_bin(struct ff_buf *out, struct ff_slice octets)
{
    char head[5];
    int err = ff_buf_append(
        out, head,
        (size_t)(ff_msgpack_write_head(head, FF_MSGPACK_BIN, (uint32_t)octets.len) - head));

    return err ? err : (int)ff_buf_append(out, octets.at, octets.len);
}

static int base64_to_bin(struct ff_buf *out, struct ff_slice text)
{
    char head[5];
    size_t size = 0;
    int err = ff_base64_decode(NULL, &size, text.at, text.len);

    if (!err)
        err = ff_buf_append(
            out, head,
            (size_t)(ff_msgpack_write_head(head, FF_MSGPACK_BIN, (uint32_t)size) - head));
    if (!err)
        err = ff_buf_reserve(out, size + 1);
    if (err)
        return err;
    err = ff_base64_decode((uint8_t *)out->data + out->len, &size, text.at, text.len);
    out->len += size;
    return err;
}

static int to_json(struct ff_payload *payload, struct ff_buf *out)
{
    struct ff_msgpack m = ff_msgpack_of(payload->bytes);
    struct ff_msgpack_item item;

    if (payload->kind == FF_PAYLOAD_BYTES) {
        payload->kind = FF_PAYLOAD_BASE64;
        return put_base64(out, payload->bytes);
    }
    if (ff_msgpack_take_item(&m, &item))
        return FF_EINVAL;
    payload->kind = item.kind == FF_MSGPACK_BIN ? FF_PAYLOAD_BASE64 : FF_PAYLOAD_JSON;
    return item.kind == FF_MSGPACK_BIN ? put_base64(out, item.bytes)
                                       : msgpack_to_json(out, payload->bytes);
}

static int to_msgpack(struct ff_payload *payload, struct ff_buf *out)
{
    enum ff_payload_kind from = payload->kind;

    payload->kind = FF_PAYLOAD_MSGPACK;
    if (from == FF_PAYLOAD_BYTES)
        return put_bin(out, payload->bytes);
    return from == FF_PAYLOAD_BASE64 ? base64_to_bin(out, payload->bytes)
                                     : json_to_msgpack(out, payload->bytes);
}

enum ff_err ff_transcode(struct ff_payload *payload, enum ff_encoding encoding,
                         struct ff_buf *spare)
{
    enum ff_payload_kind kind = payload->kind;
    int err;

    if (encoding == FF_JSON ? kind == FF_PAYLOAD_JSON || kind == FF_PAYLOAD_BASE64
                            : kind == FF_PAYLOAD_MSGPACK)
        return FF_OK;
    spare->len = 0;
    err = encoding == FF_JSON ? to_json(payload, spare) : to_msgpack(payload, spare);
    payload->bytes = ff_buf_slice(spare);
    if (!payload->bytes.at)
        payload->bytes.at = ""; /* `bin` of no octets: an empty text */
    return (enum ff_err)err;
}
