/* SPDX-License-Identifier: Apache-2.0 */
/* The NATS client protocol over WebSocket: lines, and payloads of a size that a line names. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/load/dialect.h"
#include "bench/load/options.h"

static void nats_greet(struct ff_buf *out)
{
    put_text(out, "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true}\r\n");
}

/* A subject has dots where a topic has slashes. */
static void put_subject(struct ff_buf *out, struct ff_slice topic)
{
    put(out, topic.at, topic.len);
    for (size_t i = out->len - topic.len; i < out->len; i++)
        if (out->data[i] == '/')
            out->data[i] = '.';
}

static void nats_subscribe(struct ff_buf *out, struct ff_slice topic)
{
    put_text(out, "SUB ");
    put_subject(out, topic);
    put_text(out, " 1\r\n");
}

static void nats_publish(struct ff_buf *out, struct ff_slice topic, struct ff_slice payload)
{
    char size[32];

    put_text(out, "PUB ");
    put_subject(out, topic);
    (void)snprintf(size, sizeof(size), " %zu\r\n", payload.len);
    put_text(out, size);
    put(out, payload.at, payload.len);
    put_text(out, "\r\n");
}

static void nats_ask(struct ff_buf *out)
{
    put_text(out, "PING\r\n");
}

static void nats_heartbeat(struct ff_buf *out)
{
    put_text(out, "PONG\r\n");
}

/* MSG subject sid size: the payload follows the line. */
static size_t take_message(const char *bytes, size_t len, size_t line, struct event *event)
{
    const char *size_at = memrchr(bytes, ' ', line);
    size_t size = size_at ? strtoul(size_at + 1, NULL, 10) : 0;

    if (len < line + 1 + size + 2)
        return 0;
    event->kind = EVENT_DELIVERY;
    event->payload = (struct ff_slice){bytes + line + 1, size};
    return line + 1 + size + 2;
}

static size_t nats_take(const char *bytes, size_t len, struct event *event)
{
    const char *end = memchr(bytes, '\n', len);
    size_t line = end ? (size_t)(end - bytes) : 0;

    if (!end)
        return 0;
    event->payload = (struct ff_slice){bytes, line};
    if (bytes[0] == 'M')
        return take_message(bytes, len, line, event);
    if (line >= 4 && memcmp(bytes, "PONG", 4) == 0)
        event->kind = EVENT_ANSWER;
    else if (line >= 4 && memcmp(bytes, "PING", 4) == 0)
        event->kind = EVENT_HEARTBEAT;
    else if (bytes[0] == '-')
        event->kind = EVENT_ERROR;
    return line + 1;
}

const struct dialect dialect_nats = {
    .name = "nats",
    .about = "NATS over WebSocket",
    .opcode = FF_OP_BINARY,
    .greet = nats_greet,
    .subscribe = nats_subscribe,
    .publish = nats_publish,
    .ask = nats_ask,
    .heartbeat = nats_heartbeat,
    .take = nats_take,
};
