/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON message: the object's members are taken once, as raw slices; what
 * they mean is judged afterwards, because `type` may stand anywhere. Of a
 * doubled field the last counts, a null one is missing.
 */
#include "protocol/base/base64.h"
#include "protocol/message/fields.h"
#include "protocol/message/json.h"
#include "protocol/message/number.h"

enum { LONGEST_NAME = 16, RAW_TYPE = FF_FIELDS, RAW_DATA, RAW_COUNT };

/* Every field of an object that has a name we know. */
struct raws {
    uint64_t seen;
    struct ff_raw at[RAW_COUNT];
};

static unsigned find_field(struct ff_slice name)
{
    char plain[LONGEST_NAME * 6];

    if (ff_json_has_escape(name)) {
        if (name.len > sizeof(plain))
            return FF_FIELD_NONE;
        name.len = ff_json_unescape(plain, name);
        name.at = plain;
    }
    if (ff_slice_is_equal(name, FF_SLICE("type")))
        return RAW_TYPE;
    if (ff_slice_is_equal(name, FF_SLICE("data")))
        return RAW_DATA;
    for (unsigned i = FF_FIELD_NONE + 1; i < FF_FIELDS; i++)
        if (ff_slice_is_equal(name, ff_field_name((enum ff_field)i)))
            return i;
    return FF_FIELD_NONE;
}

static enum ff_err take_members(struct ff_json *j, struct raws *raws)
{
    if (!ff_json_take_char(j, '{'))
        return FF_EINVAL;
    if (ff_json_take_char(j, '}'))
        return FF_OK;
    do {
        struct ff_slice name;
        struct ff_raw raw = {.faults = 0};
        unsigned name_faults = 0;
        unsigned field;
        enum ff_err err = FF_EINVAL;

        if (ff_json_take_string(j, &name, &name_faults) || !ff_json_take_char(j, ':') ||
            (err = ff_json_take(j, &raw.bytes, &raw.faults)))
            return err;
        field = name_faults ? FF_FIELD_NONE : find_field(name);
        raws->seen |= 1ULL << field;
        raws->at[field] = raw;
    } while (ff_json_take_char(j, ','));
    return ff_json_take_char(j, '}') ? FF_OK : FF_EINVAL;
}

static bool is_null(struct ff_slice raw)
{
    return raw.at[0] == 'n';
}

static bool has_raw(const struct raws *raws, unsigned field)
{
    return raws->seen >> field & 1 && !is_null(raws->at[field].bytes);
}

/* What stands between the quotes, escapes undone. */
static bool read_string(struct ff_message *m, struct ff_slice raw, struct ff_slice *out)
{
    if (raw.at[0] != '"')
        return false;
    *out = (struct ff_slice){raw.at + 1, raw.len - 2};
    if (!ff_json_has_escape(*out))
        return true;
    if (out->len > sizeof(m->scratch) - m->scratch_len)
        return false;
    raw = *out;
    out->at = m->scratch + m->scratch_len;
    out->len = ff_json_unescape(m->scratch + m->scratch_len, raw);
    m->scratch_len += out->len;
    return true;
}

/* {"epoch":"...","offset":n} */
static bool read_position(struct ff_slice object, struct ff_position *out)
{
    struct ff_json j = ff_json_enter(object);
    char room[FF_EPOCH_MAX * 6];
    struct ff_slice key;
    struct ff_slice value;
    bool has_epoch = false;
    bool has_offset = false;

    while (ff_json_next(&j, &key, &value)) {
        if (ff_slice_is_equal(key, FF_SLICE("epoch"))) {
            has_epoch = value.at[0] == '"' && value.len <= sizeof(room) + 2;
            if (!has_epoch)
                continue;
            value = (struct ff_slice){value.at + 1, value.len - 2};
            value = (struct ff_slice){room, ff_json_unescape(room, value)};
            has_epoch = ff_epoch_is_valid(value);
            out->epoch = ff_epoch_read(value);
        }
        if (ff_slice_is_equal(key, FF_SLICE("offset")))
            has_offset = ff_number_read_integer(value, &out->offset);
    }
    return has_epoch && has_offset;
}

static bool read_since(struct ff_slice raw, struct ff_since *out)
{
    *out = (struct ff_since){.is_position = raw.at[0] == '{'};
    return out->is_position ? read_position(raw, &out->position)
                            : ff_number_read_integer(raw, &out->count);
}

static bool read_value(struct ff_message *m, enum ff_field_kind kind, struct ff_slice raw,
                       struct ff_value *out)
{
    struct ff_number number;
    char c = raw.at[0];

    out->text = raw;
    switch (kind) {
    case FF_KIND_INTEGER:
        return ff_number_read_integer(raw, &out->integer);
    case FF_KIND_NUMBER:
        number = ff_number_read(raw);
        out->number = number.d;
        return number.kind != FF_NUMBER_NONE;
    case FF_KIND_STRING:
        return read_string(m, raw, &out->text);
    case FF_KIND_OPAQUE:
        return c == '"';
    case FF_KIND_BOOL:
        out->flag = c == 't';
        return c == 't' || c == 'f';
    case FF_KIND_SINCE:
        return read_since(raw, &m->since);
    case FF_KIND_OBJECT:
        return c == '{';
    case FF_KIND_ARRAY:
        return c == '[';
    case FF_KIND_ANY:
    case FF_KIND_PAYLOAD:
        return true;
    }
    FF_UNREACHABLE();
}

static void read_field(const struct ff_decoder *d, struct ff_message *m, enum ff_field field,
                       const struct ff_raw *raw)
{
    bool is_topic = field == FF_FIELD_TOPIC && raw->bytes.at[0] == '"';

    if (!raw->faults && read_value(m, ff_field_kind(field), raw->bytes, &m->values[field]))
        m->present |= 1ULL << field;
    else if (is_topic)
        ff_message_fail_topic(m);
    else
        ff_message_fail_field(m, field, raw->faults, ff_decoder_at(d, raw->bytes.at));
}

static void read_data(struct ff_decoder *d, struct ff_message *m, struct ff_slice raw)
{
    size_t size;

    if (raw.at[0] != '"') {
        ff_message_fail(m, FF_ERROR_MALFORMED, "the field 'data' must be a string");
        return;
    }
    raw = (struct ff_slice){raw.at + 1, raw.len - 2};
    if (ff_json_has_escape(raw)) {
        d->unescape_buf->len = 0;
        if (ff_buf_reserve(d->unescape_buf, raw.len)) {
            ff_message_fail(m, FF_ERROR_INTERNAL, "out of memory");
            return;
        }
        raw.len = ff_json_unescape(d->unescape_buf->data, raw);
        raw.at = d->unescape_buf->data;
    }
    m->payload = (struct ff_payload){FF_PAYLOAD_BASE64, raw};
    if (ff_base64_decode(NULL, &size, raw.at, raw.len))
        ff_message_fail(m, FF_ERROR_BAD_CONTENT, "the field 'data' is not strict base64");
}

static void read_payload(struct ff_decoder *d, struct ff_message *m, const struct raws *raws)
{
    const struct ff_raw *message = &raws->at[FF_FIELD_MESSAGE];
    bool has_message = raws->seen >> FF_FIELD_MESSAGE & 1;
    bool has_data = has_raw(raws, RAW_DATA);

    if (has_message && has_data) {
        ff_message_fail(m, FF_ERROR_MALFORMED, "both 'message' and 'data' are there");
    } else if (has_message) {
        m->payload = (struct ff_payload){FF_PAYLOAD_JSON, message->bytes};
        if (message->faults)
            ff_message_fail(m, FF_ERROR_BAD_CONTENT, ff_fault_text(message->faults));
    } else if (has_data && raws->at[RAW_DATA].faults) {
        m->payload = (struct ff_payload){FF_PAYLOAD_BASE64, {"", 0}};
        ff_message_fail(m, FF_ERROR_BAD_CONTENT, "the field 'data' is not strict base64");
    } else if (has_data) {
        read_data(d, m, raws->at[RAW_DATA].bytes);
    }
}

/* Whatever else is wrong: an error is labelled with the id where it could be read. */
static void take_id(struct ff_message *m, const struct raws *raws)
{
    if (has_raw(raws, FF_FIELD_ID) &&
        ff_number_read_integer(raws->at[FF_FIELD_ID].bytes, &m->values[FF_FIELD_ID].integer))
        m->present |= 1ULL << FF_FIELD_ID;
}

static void read_fields(struct ff_decoder *d, struct ff_message *m, const struct raws *raws)
{
    size_t count;
    const uint8_t *layout;
    uint64_t type;

    take_id(m, raws);
    if (!has_raw(raws, RAW_TYPE)) {
        m->lacks_type = true;
        ff_message_fail(m, FF_ERROR_MALFORMED, "the field 'type' is missing");
        return;
    }
    if (!ff_number_read_integer(raws->at[RAW_TYPE].bytes, &type)) {
        ff_message_fail_at(m, FF_ERROR_NOT_FOUND, "the field 'type' must be an integer",
                           ff_decoder_at(d, raws->at[RAW_TYPE].bytes.at));
        return;
    }
    m->type = type < FF_TYPES ? (unsigned)type : FF_TYPES;
    layout = ff_layout(d->sender, m->type, &count);
    if (!layout) {
        ff_message_fail(m, FF_ERROR_NOT_FOUND, "this type of message is not taken here");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (layout[i] == FF_FIELD_MESSAGE)
            read_payload(d, m, raws);
        else if (layout[i] != FF_FIELD_NONE && has_raw(raws, layout[i]))
            read_field(d, m, layout[i], &raws->at[layout[i]]);
    }
    ff_message_validate(m, d->sender);
}

void ff_decode_json_message(struct ff_decoder *d, struct ff_message *m)
{
    struct ff_json j = ff_json_of(d->rest);
    struct raws raws;
    bool is_object = j.at < j.end && *j.at == '{';
    enum ff_err err;

    raws.seen = 0;
    err = take_members(&j, &raws);
    if (err == FF_ELIMIT) { /* too deep to be read on: this is all of the frame */
        take_id(m, &raws);
        ff_message_fail(m, FF_ERROR_BAD_CONTENT, ff_fault_text(FF_FAULT_DEEP));
        j.at = j.end;
    } else if (err) {
        take_id(m, &raws);
        ff_message_fail_at(m, FF_ERROR_MALFORMED,
                           is_object ? ff_json_malformed_text(&j) : "a message is a JSON object",
                           ff_decoder_at(d, j.at));
    } else {
        read_fields(d, m, &raws);
    }
    d->rest = (struct ff_slice){j.at, (size_t)(j.end - j.at)};
}
