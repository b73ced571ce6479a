/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/fields.h"

#include "protocol/message/json.h"

enum { NAME_MAX_BYTES = 64 };

void ff_message_reset(struct ff_message *m)
{
    m->type = 0;
    m->present = 0;
    m->error = FF_ERROR_NONE;
    m->reason = "";
    m->fault_at = FF_NOWHERE;
    m->lacks_type = false;
    m->scratch_len = 0;
    m->payload = (struct ff_payload){FF_PAYLOAD_JSON, {NULL, 0}};
}

void ff_message_fail_at(struct ff_message *m, enum ff_error error, const char *reason, size_t at)
{
    if (m->error && (error != FF_ERROR_MALFORMED || m->error == FF_ERROR_MALFORMED))
        return;
    m->error = error;
    m->reason = reason;
    m->fault_at = at;
}

void ff_message_fail(struct ff_message *m, enum ff_error error, const char *reason)
{
    ff_message_fail_at(m, error, reason, FF_NOWHERE);
}

void ff_message_fail_field(struct ff_message *m, enum ff_field field, unsigned faults, size_t at)
{
    if (faults & FF_FAULT_FINITE)
        ff_message_fail_at(m, FF_ERROR_BAD_CONTENT, ff_fault_text(FF_FAULT_FINITE), at);
    else
        ff_message_fail_at(m, FF_ERROR_MALFORMED, ff_field_fault(field), at);
}

void ff_message_fail_topic(struct ff_message *m)
{
    m->values[FF_FIELD_TOPIC].text = (struct ff_slice){"", 0};
    m->present |= 1ULL << FF_FIELD_TOPIC;
    ff_message_fail(m, FF_ERROR_BAD_CONTENT, "the topic is no valid text");
}

const char *ff_field_fault(enum ff_field field)
{
    static const char *const faults[FF_FIELDS] = {
#define FF_FIELD(name, wire, kind) [FF_FIELD_##name] = "the field '" #wire "' has a wrong value",
#include "protocol/message/message.def"
    };

    if (field == FF_FIELD_RATE)
        return "the field 'rate' must be -1 (all), 0 (none) or up to 100 messages a second";
    if (field == FF_FIELD_OVERFLOW)
        return "the field 'overflow' must be skip, latest or close";
    if (field == FF_FIELD_SINCE)
        return "the field 'since' must be {epoch, offset} or how many of the newest";
    if (field == FF_FIELD_KEY)
        return "the field 'key' holds a text of 1 to 64 bytes";
    if (field == FF_FIELD_USER)
        return "the field 'user' holds a text of up to 64 bytes";
    return faults[field];
}

static bool is_one_of(struct ff_slice text, const char *const *words)
{
    for (; *words; words++)
        if (ff_slice_is_equal(text, ff_slice_of(*words)))
            return true;
    return false;
}

static bool is_good_value(const struct ff_message *m, enum ff_field field)
{
    static const char *const rules[] = {"skip", "latest", "close", NULL};
    const struct ff_value *v = &m->values[field];

    if (!ff_message_has(m, field))
        return true;
    if (field == FF_FIELD_OVERFLOW)
        return is_one_of(v->text, rules);
    if (field == FF_FIELD_RATE)
        return v->number == -1 || (v->number >= 0 && v->number <= 100);
    if (field == FF_FIELD_KEY && v->text.len == 0) /* else all who leave it empty had one key */
        return false;
    return v->text.len <= NAME_MAX_BYTES; /* key and user */
}

void ff_message_validate(struct ff_message *m, enum ff_sender sender)
{
    static const uint8_t checked[] = {FF_FIELD_OVERFLOW, FF_FIELD_RATE, FF_FIELD_KEY,
                                      FF_FIELD_USER};
    size_t count;
    const uint8_t *layout = ff_layout(sender, m->type, &count);

    if (sender == FF_BROKER)
        return;
    for (size_t i = 0; i < FF_COUNT(checked); i++)
        if (!is_good_value(m, checked[i]))
            ff_message_fail(m, FF_ERROR_MALFORMED, ff_field_fault(checked[i]));
    for (size_t i = 0; i < count; i++)
        if (layout[i] == FF_FIELD_TOPIC && m->type != FF_TYPE_MESSAGE &&
            !ff_message_has(m, FF_FIELD_TOPIC))
            ff_message_fail(m, FF_ERROR_MALFORMED, "the field 'topic' is missing");
    if (m->type == FF_TYPE_PUBLISH && !m->payload.bytes.at)
        ff_message_fail(m, FF_ERROR_MALFORMED, "the field 'message' is missing");
}
