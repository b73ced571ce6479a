/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/parcel.h"

#include "protocol/base/base64.h"
#include "protocol/base/utf8.h"
#include "protocol/message/json.h"
#include "protocol/message/msgpack.h"
#include "protocol/message/topic.h"

enum { DIGITS_MAX = 20, OFFSET_BITS = 53 };

enum { FLAG_RETAIN = 1 };

/* Where a head has what. */
enum { AT_VERSION, AT_LEAST, AT_SIZE, AT_FLAGS, AT_NODE, AT_SESSION = 12, AT_KIND = 20 };

enum ff_err parcel_write(struct ff_buf *out, const struct publication *p, uint64_t node)
{
    uint8_t head[PARCEL_HEAD] = {[AT_VERSION] = PARCEL_VERSION,
                                 [AT_LEAST] = PARCEL_VERSION,
                                 [AT_SIZE] = PARCEL_HEAD,
                                 [AT_KIND] = (uint8_t)p->payload.kind};
    enum ff_err err = ff_buf_reserve(out, sizeof(head) + p->payload.bytes.len);

    if (err)
        return err;
    head[AT_FLAGS] = p->retain ? FLAG_RETAIN : 0;
    ff_store_u64(head + AT_NODE, node);
    ff_store_u64(head + AT_SESSION, p->publisher);
    err = ff_buf_append(out, head, sizeof(head));
    return err ? err : ff_buf_append(out, p->payload.bytes.at, p->payload.bytes.len);
}

bool parcel_take_number(struct ff_slice *rest, char separator, uint64_t *number)
{
    uint64_t n = 0;
    size_t i = 0;

    for (; i < rest->len && i <= DIGITS_MAX && rest->at[i] >= '0' && rest->at[i] <= '9'; i++)
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(rest->at[i] - '0'), &n))
            return false;
    if (i == 0 || (separator ? i >= rest->len || rest->at[i] != separator : i < rest->len))
        return false;
    i += separator != '\0';
    rest->at += i;
    rest->len -= i;
    *number = n;
    return true;
}

static bool is_whole_json(struct ff_slice text)
{
    struct ff_json j = ff_json_of(text);
    struct ff_slice value;
    unsigned faults = 0;

    return text.len && ff_json_take(&j, &value, &faults) == FF_OK && !faults && j.at == j.end &&
           ff_utf8_is_valid(text.at, text.len);
}

static bool is_whole_msgpack(struct ff_slice bytes)
{
    struct ff_msgpack m = ff_msgpack_of(bytes);
    struct ff_slice value;
    unsigned faults = 0;

    return bytes.len && ff_msgpack_take(&m, &value, &faults) == FF_OK && !faults && m.at == m.end;
}

/* What a decoder would have let through. */
static bool is_payload(const struct ff_payload *payload)
{
    size_t len;

    switch (payload->kind) {
    case FF_PAYLOAD_JSON:
        return is_whole_json(payload->bytes);
    case FF_PAYLOAD_MSGPACK:
        return is_whole_msgpack(payload->bytes);
    case FF_PAYLOAD_BASE64:
        return ff_base64_decode(NULL, &len, payload->bytes.at, payload->bytes.len) == FF_OK;
    case FF_PAYLOAD_BYTES:
        return true;
    }
    return false;
}

enum parcel_fault parcel_read(struct ff_slice text, struct parcel *parcel)
{
    const uint8_t *head;

    if (!parcel_take_number(&text, ':', &parcel->at.epoch) ||
        !parcel_take_number(&text, ':', &parcel->at.offset) ||
        !parcel_take_number(&text, ':', &parcel->wall_ms) || text.len < PARCEL_HEAD ||
        parcel->at.offset >> OFFSET_BITS || (parcel->at.epoch && !parcel->at.offset))
        return PARCEL_BAD;
    head = (const uint8_t *)text.at;
    if (head[AT_LEAST] > PARCEL_VERSION)
        return PARCEL_NEWER;
    if (head[AT_SIZE] < PARCEL_HEAD || head[AT_SIZE] > text.len)
        return PARCEL_BAD;
    parcel->retain = head[AT_FLAGS] & FLAG_RETAIN;
    parcel->node = ff_load_u64(head + AT_NODE);
    parcel->session = ff_load_u64(head + AT_SESSION);
    parcel->payload = (struct ff_payload){(enum ff_payload_kind)head[AT_KIND],
                                          {text.at + head[AT_SIZE], text.len - head[AT_SIZE]}};
    return is_payload(&parcel->payload) ? PARCEL_GOOD : PARCEL_BAD;
}

enum parcel_fault parcel_read_named(struct ff_slice text, struct ff_slice *topic,
                                    struct parcel *parcel)
{
    uint64_t len;

    if (!parcel_take_number(&text, ':', &len) || len > text.len || len > FF_TOPIC_MAX)
        return PARCEL_BAD;
    *topic = (struct ff_slice){text.at, len};
    if (ff_topic_kind(*topic) != FF_TOPIC_NAME)
        return PARCEL_BAD;
    return parcel_read((struct ff_slice){text.at + len, text.len - len}, parcel);
}
