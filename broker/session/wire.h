/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - what a session says and hears, as bytes on its connection.
 *
 * A session says messages, a close with a code, and asks whether its peer lives;
 * it hears messages. How that looks is its wire's business: WebSocket frames today
 * (websocket.c). What it is sent from logs is ready for its wire already (topic/kind.h).
 */
#ifndef SESSION_WIRE_H
#define SESSION_WIRE_H

#include "protocol/message/message.h"
#include "protocol/websocket/frame.h"

struct session;

enum {
    WIRE_HEAD_MAX = FF_FRAME_HEAD_MAX,
    WIRE_CONTROL_MAX = FF_FRAME_HEAD_MAX + FF_CONTROL_MAX,
};

struct wire {
    /* The head of a message of `len` octets; its size. */
    size_t (*write_head)(uint8_t out[WIRE_HEAD_MAX], enum ff_encoding encoding, size_t len);
    /* The last thing that is said; its size. `reason` is cut where it is too long; NULL: none. */
    size_t (*write_close)(uint8_t out[WIRE_CONTROL_MAX], int code, const char *reason);
    /* Something that a peer who lives answers; its size. */
    size_t (*write_ping)(uint8_t out[WIRE_CONTROL_MAX]);
    /* What came in; how much of it was consumed (net/conn.h, struct conn_ops). */
    size_t (*input)(struct session *session, uint8_t *bytes, size_t len);
};

extern const struct wire wire_websocket;

#endif
