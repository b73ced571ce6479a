/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hand.h - workers of one broker whose turns are made by hand, in one thread,
 * and clients of them at the other end of socket pairs.
 */
#ifndef SUPPORT_HAND_H
#define SUPPORT_HAND_H

#include "broker/app/config.h"
#include "broker/session/session.h"

enum { HAND_WORKERS = 8, HAND_FRAME = 65536 };

extern struct config *hand_config;
extern struct shared hand_shared;
extern struct worker hand_workers[HAND_WORKERS];
extern struct gateway hand_gateways[HAND_WORKERS];

/* The default configuration, with so many workers. */
void hand_begin(uint32_t workers);

/* Ends all sessions; nothing may be left on the heap. */
int hand_end(void **state);

/* The end of the turn before, then what came meanwhile. */
void hand_turn(uint32_t worker);

/* One of each worker. */
void hand_turn_all(void);

/* A listener's answer; the client's end of the socket. */
int hand_accept(struct gateway *gateway);

/* The `n`-th name that a worker owns, as worker 0 sees it: a number at the end of `prefix`. */
struct ff_slice hand_name(uint32_t owner, uint32_t n, char out[64]);

struct hand_client {
    int fd;
    struct session *session; /* of the broker; gone when the client is */
    struct ff_buf out;       /* what the socket has not taken */
    struct ff_buf in;        /* what was read of it and not taken yet */
    size_t taken;
    bool is_at_end; /* the broker ended its side */
};

/* A client of a worker, whose handshake is over; `protocol` NULL: a plain one. */
void hand_connect(struct hand_client *client, uint32_t worker, const char *path,
                  const char *protocol);
void hand_disconnect(struct hand_client *client);

/* Puts a frame behind what is still to be sent, and sends what the socket takes. */
void hand_put(struct hand_client *client, uint8_t first, const void *bytes, size_t len);
void hand_put_text(struct hand_client *client, const char *text);
void hand_send(struct hand_client *client);

/* Reads all that has come. */
void hand_read(struct hand_client *client);

/* The next frame of what was read: its first octet, 0: there is none. The payload gets a NUL. */
uint8_t hand_next(struct hand_client *client, char *payload, size_t *len);

#endif
