/* SPDX-License-Identifier: Apache-2.0 */
/* Servers for which a message is a frame: what one sends, all others of the topic get. */
#include "bench/load/dialect.h"

static void raw_publish(struct ff_buf *out, struct ff_slice topic, struct ff_slice payload)
{
    (void)topic;
    put(out, payload.at, payload.len);
}

static size_t raw_take(const char *bytes, size_t len, struct event *event)
{
    event->kind = EVENT_DELIVERY;
    event->payload = (struct ff_slice){bytes, len};
    return len;
}

const struct dialect dialect_raw = {
    .name = "raw",
    .about = "a broadcast server: /?topic=TOPIC, each frame goes to all who are there",
    .listen_path = "/?topic=%s",
    .publish_path = "/?topic=%s&publish=1",
    .opcode = FF_OP_TEXT,
    .publish = raw_publish,
    .take = raw_take,
};

/* A publisher is told of each message what became of it. */
static size_t nchan_take(const char *bytes, size_t len, struct event *event)
{
    static const struct ff_slice told = {"queued messages:", 16};

    if (len >= told.len && memcmp(bytes, told.at, told.len) == 0)
        return len;
    return raw_take(bytes, len, event);
}

const struct dialect dialect_nchan = {
    .name = "nchan",
    .about = "nginx with nchan: /sub/TOPIC and /pub/TOPIC",
    .listen_path = "/sub/%s",
    .publish_path = "/pub/%s",
    .opcode = FF_OP_TEXT,
    .publish = raw_publish,
    .take = nchan_take,
};
