/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MessagePack message: an array that begins with the type; the fields
 * stand in the order of its layout. Everything is walked once, so that counts
 * and depths hold for elements we do not know, too.
 */
#include "protocol/message/fields.h"
#include "protocol/message/msgpack.h"

static bool read_integer(const struct ff_msgpack_item *item, uint64_t *out)
{
    if (item->kind == FF_MSGPACK_DOUBLE) {
        if (!(item->d >= 0 && item->d <= (double)FF_INTEGER_MAX))
            return false;
        *out = (uint64_t)item->d;
        return (double)*out == item->d;
    }
    *out = item->u;
    return item->kind == FF_MSGPACK_UINT && item->u <= FF_INTEGER_MAX;
}

static bool read_number(const struct ff_msgpack_item *item, double *out)
{
    if (item->kind == FF_MSGPACK_DOUBLE)
        *out = item->d;
    else if (item->kind == FF_MSGPACK_UINT)
        *out = (double)item->u;
    else
        *out = (double)item->i;
    return item->kind == FF_MSGPACK_DOUBLE || item->kind == FF_MSGPACK_UINT ||
           item->kind == FF_MSGPACK_INT;
}

/* {"epoch": "...", "offset": n} */
static bool read_position(struct ff_slice map, struct ff_position *out)
{
    struct ff_msgpack m = ff_msgpack_of(map);
    struct ff_msgpack_item item;
    bool has_epoch = false;
    bool has_offset = false;

    if (ff_msgpack_take_item(&m, &item))
        return false;
    for (uint32_t left = item.count; left > 0; left--) {
        struct ff_msgpack_item key;
        struct ff_slice raw;
        struct ff_msgpack value;
        unsigned faults = 0;

        if (ff_msgpack_take_item(&m, &key) || key.kind != FF_MSGPACK_STR ||
            ff_msgpack_take(&m, &raw, &faults))
            return false;
        value = ff_msgpack_of(raw);
        if (ff_msgpack_take_item(&value, &item))
            return false;
        if (ff_slice_is_equal(key.bytes, FF_SLICE("epoch"))) {
            has_epoch = item.kind == FF_MSGPACK_STR && ff_epoch_is_valid(item.bytes);
            out->epoch = has_epoch ? ff_epoch_read(item.bytes) : 0;
        }
        if (ff_slice_is_equal(key.bytes, FF_SLICE("offset")))
            has_offset = read_integer(&item, &out->offset);
    }
    return has_epoch && has_offset;
}

static bool read_since(const struct ff_msgpack_item *item, struct ff_slice raw,
                       struct ff_since *out)
{
    *out = (struct ff_since){.is_position = item->kind == FF_MSGPACK_MAP};
    return out->is_position ? read_position(raw, &out->position) : read_integer(item, &out->count);
}

static bool read_value(struct ff_message *m, enum ff_field_kind kind,
                       const struct ff_msgpack_item *item, struct ff_value *out)
{
    switch (kind) {
    case FF_KIND_INTEGER:
        return read_integer(item, &out->integer);
    case FF_KIND_NUMBER:
        return read_number(item, &out->number);
    case FF_KIND_STRING:
    case FF_KIND_OPAQUE:
        out->text = item->bytes;
        return item->kind == FF_MSGPACK_STR;
    case FF_KIND_BOOL:
        out->flag = item->kind == FF_MSGPACK_BOOL && item->b;
        return item->kind == FF_MSGPACK_BOOL;
    case FF_KIND_SINCE:
        return read_since(item, out->text, &m->since);
    case FF_KIND_OBJECT:
        return item->kind == FF_MSGPACK_MAP;
    case FF_KIND_ARRAY:
        return item->kind == FF_MSGPACK_ARRAY;
    case FF_KIND_ANY:
    case FF_KIND_PAYLOAD:
        return true;
    }
    FF_UNREACHABLE();
}

/* Of a type that is not taken only the id counts, and only if it is one. */
static void read_id(struct ff_message *m, struct ff_slice raw)
{
    struct ff_msgpack at = ff_msgpack_of(raw);
    struct ff_msgpack_item item;

    if (ff_msgpack_take_item(&at, &item) == FF_OK &&
        read_integer(&item, &m->values[FF_FIELD_ID].integer))
        m->present |= 1ULL << FF_FIELD_ID;
}

static void read_field(const struct ff_decoder *d, struct ff_message *m, enum ff_field field,
                       struct ff_slice raw, unsigned faults)
{
    struct ff_msgpack at = ff_msgpack_of(raw);
    struct ff_msgpack_item item;

    if (field == FF_FIELD_MESSAGE) {
        m->payload = (struct ff_payload){FF_PAYLOAD_MSGPACK, raw};
        if (faults)
            ff_message_fail(m, FF_ERROR_BAD_CONTENT, ff_fault_text(faults));
        return;
    }
    if (ff_msgpack_take_item(&at, &item) || item.kind == FF_MSGPACK_NIL)
        return;
    m->values[field].text = raw;
    if (!faults && read_value(m, ff_field_kind(field), &item, &m->values[field]))
        m->present |= 1ULL << field;
    else if (field == FF_FIELD_TOPIC && item.kind == FF_MSGPACK_STR)
        ff_message_fail_topic(m);
    else
        ff_message_fail_field(m, field, faults, ff_decoder_at(d, raw.at));
}

/* The type, and where its fields are; NULL: it is malformed or not taken. */
static const uint8_t *read_type(struct ff_decoder *d, struct ff_message *m, struct ff_msgpack *at,
                                size_t *count)
{
    struct ff_msgpack_item item;
    struct ff_msgpack first;
    struct ff_slice raw;
    unsigned faults = 0;
    uint64_t type;

    *count = 0;
    if (ff_msgpack_take(at, &raw, &faults)) {
        ff_message_fail_at(m, FF_ERROR_MALFORMED, "this is not MessagePack",
                           ff_decoder_at(d, at->at));
        return NULL;
    }
    first = ff_msgpack_of(raw);
    if (ff_msgpack_take_item(&first, &item) || item.kind == FF_MSGPACK_NIL) {
        ff_message_fail(m, FF_ERROR_MALFORMED, "a message begins with its type, an integer");
        return NULL;
    }
    if (!read_integer(&item, &type)) {
        m->type = FF_TYPES;
        return NULL;
    }
    m->type = type < FF_TYPES ? (unsigned)type : FF_TYPES;
    if (d->sender == FF_CLIENT && m->type == FF_TYPE_MESSAGE)
        return NULL; /* plain mode's, which is JSON */
    return ff_layout(d->sender, m->type, count);
}

/* The fields behind the type, by the layout; with none only the id counts. */
static enum ff_err read_fields(const struct ff_decoder *d, struct ff_message *m,
                               struct ff_msgpack *at, uint32_t fields, const uint8_t *layout,
                               size_t count)
{
    for (uint32_t i = 0; i < fields; i++) {
        struct ff_slice raw;
        unsigned faults = 0;
        enum ff_err err = ff_msgpack_take(at, &raw, &faults);

        if (err)
            return err;
        if (!layout && i == 0)
            read_id(m, raw);
        if (layout && i < count && layout[i] != FF_FIELD_NONE)
            read_field(d, m, layout[i], raw, faults);
    }
    return FF_OK;
}

void ff_decode_msgpack_message(struct ff_decoder *d, struct ff_message *m)
{
    struct ff_msgpack at = ff_msgpack_of(d->rest);
    struct ff_msgpack_item item;
    const uint8_t *layout;
    size_t count;
    enum ff_err err;

    if (ff_msgpack_take_item(&at, &item) || item.kind != FF_MSGPACK_ARRAY || item.count == 0) {
        ff_message_fail_at(m, FF_ERROR_MALFORMED,
                           "a message is a MessagePack array that is not empty",
                           ff_decoder_at(d, d->rest.at));
        return;
    }
    layout = read_type(d, m, &at, &count);
    if (m->error)
        return;
    err = read_fields(d, m, &at, item.count - 1, layout, count);
    if (err) { /* not to be read on: this is all of the frame */
        ff_message_fail_at(m, err == FF_ELIMIT ? FF_ERROR_BAD_CONTENT : FF_ERROR_MALFORMED,
                           err == FF_ELIMIT ? ff_fault_text(FF_FAULT_DEEP)
                                            : "this is not MessagePack",
                           ff_decoder_at(d, at.at));
        at.at = at.end;
    }
    d->rest = (struct ff_slice){at.at, (size_t)(at.end - at.at)};
    if (err)
        return;
    if (!layout) {
        ff_message_fail(m, FF_ERROR_NOT_FOUND, "this type of message is not taken here");
        return;
    }
    if (m->type == FF_TYPE_PUBLISH && !m->payload.bytes.at)
        m->payload = (struct ff_payload){FF_PAYLOAD_MSGPACK, FF_SLICE("\xc0")};
    ff_message_validate(m, d->sender);
}
