/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dialect.h - what a server speaks inside its WebSocket frames.
 *
 * A dialect writes the payloads of frames and reads events out of them. A
 * frame may hold several events, and holds whole ones.
 */
#ifndef LOAD_DIALECT_H
#define LOAD_DIALECT_H

#include "protocol/base/buf.h"
#include "protocol/websocket/frame.h"

enum event_kind {
    EVENT_NONE,      /* nothing that matters */
    EVENT_DELIVERY,  /* `payload` of `topic` */
    EVENT_ANSWER,    /* to ask() */
    EVENT_HEARTBEAT, /* wants heartbeat() */
    EVENT_SKIPPED,   /* the server says that it left `skipped` messages out */
    EVENT_ERROR,     /* `payload` says why */
};

struct event {
    enum event_kind kind;
    struct ff_slice payload;
    struct ff_slice topic; /* .at NULL: the dialect does not say */
    uint64_t skipped;
};

struct dialect {
    const char *name;
    const char *about;
    const char *subprotocol; /* NULL: none */
    const char *listen_path; /* with the topic for %s; NULL: the URL's own */
    const char *publish_path;
    enum ff_opcode opcode;             /* of what is sent */
    void (*greet)(struct ff_buf *out); /* NULL: nothing is said after the upgrade */
    void (*subscribe)(struct ff_buf *out, struct ff_slice topic);
    void (*publish)(struct ff_buf *out, struct ff_slice topic, struct ff_slice payload);
    /* Subscribes, and asks for the newest `count` messages; NULL: it keeps none. */
    void (*recover)(struct ff_buf *out, struct ff_slice topic, uint32_t count);
    void (*attend)(struct ff_buf *out, struct ff_slice topic);
    void (*ask)(struct ff_buf *out); /* what is answered in order; NULL: a WebSocket ping */
    void (*heartbeat)(struct ff_buf *out);

    /* The next event; returns the octets it took, 0: there must come more. */
    size_t (*take)(const char *bytes, size_t len, struct event *event);
};

extern const struct dialect dialect_fanfare_json;
extern const struct dialect dialect_fanfare_msgpack;
extern const struct dialect dialect_fanfare_plain;
extern const struct dialect dialect_raw;
extern const struct dialect dialect_nchan;
extern const struct dialect dialect_mqtt;
extern const struct dialect dialect_nats;

/* Ends with NULL. */
extern const struct dialect *const dialects[];

/* Appends; ends the program when there is no memory. */
void put(struct ff_buf *out, const void *bytes, size_t len);
void put_text(struct ff_buf *out, const char *text);

#endif
