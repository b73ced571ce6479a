/* SPDX-License-Identifier: Apache-2.0 */
/* docs/protocol.md, as far as a load needs it: typed JSON, typed MessagePack, plain. */
#include <stdio.h>

#include "bench/load/dialect.h"
#include "bench/load/options.h"

static void json_subscribe(struct ff_buf *out, struct ff_slice topic)
{
    put_text(out, "{\"type\":5,\"topic\":\"");
    put(out, topic.at, topic.len);
    put_text(out, "\"}");
}

static void json_publish(struct ff_buf *out, struct ff_slice topic, struct ff_slice payload)
{
    put_text(out, "{\"type\":7,\"topic\":\"");
    put(out, topic.at, topic.len);
    put_text(out, "\",\"message\":\"");
    put(out, payload.at, payload.len);
    put_text(out, "\"}");
}

static void json_recover(struct ff_buf *out, struct ff_slice topic, uint32_t count)
{
    char text[64];

    put_text(out, "{\"type\":5,\"topic\":\"");
    put(out, topic.at, topic.len);
    (void)snprintf(text, sizeof(text), "\",\"since\":%u}", count);
    put_text(out, text);
}

static void json_attend(struct ff_buf *out, struct ff_slice topic)
{
    put_text(out, "{\"type\":5,\"topic\":\"");
    put(out, topic.at, topic.len);
    put_text(out, "\",\"presence\":true}");
}

static void json_ask(struct ff_buf *out)
{
    put_text(out, "{\"type\":1,\"id\":1}");
}

static void json_heartbeat(struct ff_buf *out)
{
    put_text(out, "{\"type\":1}");
}

static bool begins_with(const char *bytes, size_t len, struct ff_slice text)
{
    return len >= text.len && memcmp(bytes, text.at, text.len) == 0;
}

/* What is no delivery. */
static enum event_kind json_kind(const char *bytes, size_t len, struct event *event)
{
    const char *skipped = memmem(bytes, len, "\"skipped\":", 10);

    event->payload = (struct ff_slice){bytes, len};
    if (begins_with(bytes, len, FF_SLICE("{\"type\":1,\"id\"")))
        return EVENT_ANSWER;
    if (begins_with(bytes, len, FF_SLICE("{\"type\":1}")))
        return EVENT_HEARTBEAT;
    if (begins_with(bytes, len, FF_SLICE("{\"type\":9,")))
        return EVENT_ERROR;
    if (!begins_with(bytes, len, FF_SLICE("{\"type\":10,")) || !skipped)
        return EVENT_NONE;
    for (const char *at = skipped + 10; at < bytes + len && *at >= '0' && *at <= '9'; at++)
        event->skipped = event->skipped * 10 + (uint64_t)(*at - '0');
    return EVENT_SKIPPED;
}

/* Where `,"offset":17}` or `}` begins, at the end of a MESSAGE. */
static const char *json_find_tail(const char *bytes, size_t len)
{
    static const struct ff_slice offset = {",\"offset\":", 10};
    const char *at = bytes + len - 1;

    while (at > bytes && at[-1] >= '0' && at[-1] <= '9')
        at--;
    if ((size_t)(at - bytes) > offset.len && begins_with(at - offset.len, offset.len, offset))
        return at - offset.len;
    return bytes + len - 1;
}

static size_t json_take(const char *bytes, size_t len, struct event *event)
{
    static const struct ff_slice head = {"{\"type\":2,\"topic\":\"", 19};
    static const struct ff_slice middle = {"\",\"message\":\"", 13};
    const char *end;

    if (!begins_with(bytes, len, head)) {
        event->kind = json_kind(bytes, len, event);
        return len;
    }
    event->topic.at = bytes + head.len;
    end = memchr(event->topic.at, '"', len - head.len);
    if (!end || !begins_with(end, (size_t)(bytes + len - end), middle))
        die("a message that is none: %.*s", (int)len, bytes);
    event->topic.len = (size_t)(end - event->topic.at);
    event->kind = EVENT_DELIVERY;
    event->payload.at = end + middle.len;
    event->payload.len = (size_t)(json_find_tail(bytes, len) - 1 - event->payload.at);
    return len;
}

static void put_string(struct ff_buf *out, struct ff_slice s)
{
    char head[5] = {(char)0xdb};

    ff_store_u32(head + 1, (uint32_t)s.len);
    put(out, head, sizeof(head));
    put(out, s.at, s.len);
}

static void msgpack_subscribe(struct ff_buf *out, struct ff_slice topic)
{
    put(out, "\x93\x05\xc0", 3);
    put_string(out, topic);
}

static void msgpack_recover(struct ff_buf *out, struct ff_slice topic, uint32_t count)
{
    char number[5] = {(char)0xce};

    put(out, "\x94\x05\xc0", 3);
    put_string(out, topic);
    ff_store_u32(number + 1, count);
    put(out, number, sizeof(number));
}

static void msgpack_publish(struct ff_buf *out, struct ff_slice topic, struct ff_slice payload)
{
    put(out, "\x94\x07\xc0", 3);
    put_string(out, topic);
    put_string(out, payload);
}

static void msgpack_ask(struct ff_buf *out)
{
    put(out, "\x92\x01\x01", 3);
}

static void msgpack_heartbeat(struct ff_buf *out)
{
    put(out, "\x91\x01", 2);
}

/* A string of any format; false: it is none, or cut. */
static bool take_string(struct ff_slice *rest, struct ff_slice *s)
{
    const uint8_t *at = (const uint8_t *)rest->at;
    size_t head = 1;
    size_t len;

    if (rest->len < 6)
        return false;
    if ((at[0] & 0xe0) == 0xa0) {
        len = at[0] & 0x1f;
    } else {
        head = at[0] == 0xd9 ? 2 : at[0] == 0xda ? 3 : at[0] == 0xdb ? 5 : 0;
        len = head == 2 ? at[1] : head == 3 ? ff_load_u16(at + 1) : ff_load_u32(at + 1);
    }
    if (!head || rest->len - head < len)
        return false;
    *s = (struct ff_slice){rest->at + head, len};
    *rest = (struct ff_slice){rest->at + head + len, rest->len - head - len};
    return true;
}

static size_t msgpack_take(const char *bytes, size_t len, struct event *event)
{
    struct ff_slice rest = {bytes + 2, len - 2};
    unsigned type = len >= 2 ? (unsigned char)bytes[1] : 0;

    event->payload = (struct ff_slice){bytes, len};
    if (type == 2) {
        if (!take_string(&rest, &event->topic) || !take_string(&rest, &event->payload))
            die("a message that is none");
        event->kind = EVENT_DELIVERY;
    } else if (type == 1) {
        event->kind = len > 2 ? EVENT_ANSWER : EVENT_HEARTBEAT;
    } else if (type == 9) {
        event->kind = EVENT_ERROR;
    } else if (type == 10) { /* [10, topic, cause, skipped]: how many is the JSON dialect's */
        event->kind = EVENT_SKIPPED;
        event->skipped = 1;
    }
    return len;
}

const struct dialect dialect_fanfare_json = {
    .name = "fanfare-json",
    .about = "Fanfare's typed protocol",
    .subprotocol = "fanfare.v1.json",
    .opcode = FF_OP_TEXT,
    .subscribe = json_subscribe,
    .recover = json_recover,
    .attend = json_attend,
    .publish = json_publish,
    .ask = json_ask,
    .heartbeat = json_heartbeat,
    .take = json_take,
};

const struct dialect dialect_fanfare_msgpack = {
    .name = "fanfare-msgpack",
    .about = "the same in MessagePack",
    .subprotocol = "fanfare.v1.msgpack",
    .opcode = FF_OP_BINARY,
    .subscribe = msgpack_subscribe,
    .recover = msgpack_recover,
    .publish = msgpack_publish,
    .ask = msgpack_ask,
    .heartbeat = msgpack_heartbeat,
    .take = msgpack_take,
};

/* A tutorial's client: the topic is in the URL, what is sent is published there. */
static void plain_publish(struct ff_buf *out, struct ff_slice topic, struct ff_slice payload)
{
    (void)topic;
    put_text(out, "{\"type\":2,\"message\":\"");
    put(out, payload.at, payload.len);
    put_text(out, "\"}");
}

const struct dialect dialect_fanfare_plain = {
    .name = "fanfare-plain",
    .about = "Fanfare as a tutorial's client speaks to it",
    .listen_path = "/ws?topic=%s",
    .publish_path = "/ws?topic=%s",
    .opcode = FF_OP_TEXT,
    .publish = plain_publish,
    .ask = json_ask,
    .heartbeat = json_heartbeat,
    .take = json_take,
};
