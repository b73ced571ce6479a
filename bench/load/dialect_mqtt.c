/* SPDX-License-Identifier: Apache-2.0 */
/* MQTT 3.1.1 over WebSocket, QoS 0 (OASIS, sections 2.2 and 3). */
#include <stdio.h>

#include "bench/load/dialect.h"
#include "bench/load/options.h"

enum { CONNACK = 2, PUBLISH = 3, SUBACK = 9, PINGRESP = 13, LENGTH_MAX = 4 };

static void put_packet(struct ff_buf *out, uint8_t head, size_t len)
{
    put(out, &head, 1);
    do {
        uint8_t seven = (uint8_t)(len & 127);

        len >>= 7;
        seven |= len ? 128 : 0;
        put(out, &seven, 1);
    } while (len);
}

static void put_string(struct ff_buf *out, struct ff_slice s)
{
    char len[2];

    ff_store_u16(len, (uint16_t)s.len);
    put(out, len, sizeof(len));
    put(out, s.at, s.len);
}

/* A clean session, no keep-alive, and a name that nobody else has. */
static void mqtt_greet(struct ff_buf *out)
{
    static unsigned count;
    char name[32];
    int len = snprintf(name, sizeof(name), "bench%u", count++);

    put_packet(out, 0x10, 10 + 2 + (size_t)len);
    put(out, "\0\4MQTT\4\2\0\0", 10);
    put_string(out, (struct ff_slice){name, (size_t)len});
}

static void mqtt_subscribe(struct ff_buf *out, struct ff_slice topic)
{
    put_packet(out, 0x82, 2 + 2 + topic.len + 1);
    put(out, "\0\1", 2);
    put_string(out, topic);
    put(out, "\0", 1);
}

static void mqtt_publish(struct ff_buf *out, struct ff_slice topic, struct ff_slice payload)
{
    put_packet(out, 0x30, 2 + topic.len + payload.len);
    put_string(out, topic);
    put(out, payload.at, payload.len);
}

static void mqtt_ask(struct ff_buf *out)
{
    put(out, "\xc0\0", 2);
}

/* The remaining length; 0: it is cut. */
static size_t take_length(const uint8_t *at, size_t len, size_t *value)
{
    *value = 0;
    for (size_t i = 0; i < len && i < LENGTH_MAX; i++) {
        *value |= (size_t)(at[i] & 127) << (7 * i);
        if (at[i] < 128)
            return i + 1;
    }
    return 0;
}

static size_t mqtt_take(const char *bytes, size_t len, struct event *event)
{
    const uint8_t *at = (const uint8_t *)bytes;
    size_t size;
    size_t head = len < 2 ? 0 : take_length(at + 1, len - 1, &size);
    const char *body = bytes + 1 + head;

    if (!head || len - 1 - head < size)
        return 0;
    switch (at[0] >> 4) {
    case PUBLISH:
        event->kind = EVENT_DELIVERY;
        event->topic = (struct ff_slice){body + 2, ff_load_u16(body)};
        event->payload =
            (struct ff_slice){event->topic.at + event->topic.len, size - 2 - event->topic.len};
        break;
    case PINGRESP:
        event->kind = EVENT_ANSWER;
        break;
    case CONNACK:
        if (body[1])
            die("CONNACK refuses with code %d", body[1]);
        break;
    case SUBACK:
        if (body[2] < 0)
            die("SUBACK refuses");
        break;
    default:
        break;
    }
    return 1 + head + size;
}

const struct dialect dialect_mqtt = {
    .name = "mqtt",
    .about = "MQTT 3.1.1 over WebSocket, QoS 0",
    .subprotocol = "mqtt",
    .opcode = FF_OP_BINARY,
    .greet = mqtt_greet,
    .subscribe = mqtt_subscribe,
    .publish = mqtt_publish,
    .ask = mqtt_ask,
    .take = mqtt_take,
};
