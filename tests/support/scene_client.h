/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scene_client.h - the clients of a scene, and the turns of its broker.
 *
 * What a client does is exempt from what fails. Each step ends when nothing
 * happens any more and nothing is on its way, however long that takes.
 */
#ifndef SUPPORT_SCENE_CLIENT_H
#define SUPPORT_SCENE_CLIENT_H

#include <openssl/ssl.h>

#include "broker/app/server.h"
#include "tests/support/scene.h"

enum {
    CROWD = URING_LEAST + 4, /* some may be lost to a fault, the others still go out by one call */
    CLIENTS = 8 + CROWD,
    BUFFER = 1 << 16,
    TEXT = 8192,
};

struct client {
    int fd;
    int listener; /* the one that it connected to */
    uint16_t port;
    SSL *ssl;
    char bytes[BUFFER];
    size_t len;
    bool is_open;
    bool was_accepted;
    bool is_stalled; /* it does not read */
};

extern struct client scene_clients[CLIENTS];
extern struct server scene_server;
extern SSL_CTX *scene_client_ctx;
extern struct scene_fault scene_played; /* what fails in this scene */
extern unsigned scene_steps;

/* The calls and allocations of now are a client's. */
void act_as_client(bool on);

void client_close(struct client *c);

/* Turns of the broker, until nothing happens any more and nothing is on its way. */
void pump(void);

void pass_ms(uint64_t ms);
void client_write(struct client *c, const void *bytes, size_t len);
void client_connect(struct client *c, size_t listener, int receive_buffer);
void client_secure(struct client *c);
void client_upgrade(struct client *c, const char *path, const char *protocol);
void client_frame(struct client *c, uint8_t first, const void *bytes, size_t len);
void client_send(struct client *c, const char *text);
void client_publish_many(struct client *c, const char *topic, int size, int count);
void client_publish(struct client *c, const char *topic, int size);

/* This came, and what was before it is forgotten; only a strict scene insists on it. */
void expect_bytes(struct client *c, const void *text, size_t len);
void expect(struct client *c, const char *text);

#endif
