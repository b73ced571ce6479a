/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - a first C client: one connection, typed JSON, blocking.
 *
 *   char why[FF_CLIENT_WHY];
 *   struct ff_client *c = ff_client_open(&(struct ff_client_options){.url = url}, why);
 *   ff_client_subscribe(c, 1, "room/1");
 *   while (ff_client_next(c, &m, -1) > 0) ...
 *
 * While it writes it also reads, so that two sides that wait for each other
 * cannot stand still. Pings are answered inside. Not for several threads.
 */
#ifndef C_CLIENT_H
#define C_CLIENT_H

#include "clients/c/url.h"
#include "protocol/message/message.h"

enum { FF_CLIENT_WHY = 512 };

struct ff_client_options {
    const char *url;
    const char *ca_file; /* NULL: the system's */
    bool is_insecure;
};

struct ff_client;

/* Connects and waits for WELCOME. NULL: `why` says what is wrong and what to do. */
struct ff_client *ff_client_open(const struct ff_client_options *options, char why[FF_CLIENT_WHY]);

/* Says goodbye if it still can. NULL is allowed. */
void ff_client_free(struct ff_client *client);

/*
 * The next message but heartbeats without an id; it is valid until the next
 * call, `*raw` (may be NULL) is its JSON text. 1: a message; 0: none came in
 * `timeout_ms` (-1: for ever); -1: the connection is over, ff_client_why()
 * says how.
 */
int ff_client_next(struct ff_client *client, struct ff_message *m, struct ff_slice *raw,
                   int timeout_ms);

/* What a SUBSCRIBE says beside the topic. A NULL text is not said. */
struct ff_subscribe {
    const char *since; /* a position or a number, in JSON */
    const char *overflow;
    const char *rate;     /* a number of JSON */
    const char *buffered; /* octets, an integer of JSON */
};

/* Requests. False: the connection is over. An id of 0 sends none. `how` may be NULL. */
bool ff_client_subscribe(struct ff_client *client, uint64_t id, struct ff_slice topic,
                         const struct ff_subscribe *how);
bool ff_client_publish(struct ff_client *client, uint64_t id, struct ff_slice topic,
                       struct ff_slice json, bool is_retained);
bool ff_client_heartbeat(struct ff_client *client, uint64_t id);

const char *ff_client_why(const struct ff_client *client);

/* The code that the broker closed with; 1006: it ended without one, or is not over. */
int ff_client_close_code(const struct ff_client *client);

/* How long the broker asked in a GOODBYE to stay away, in milliseconds; -1: it did not. */
int64_t ff_client_retry_ms(const struct ff_client *client);

/* Would the broker refuse this publication because its frame is over WELCOME's limits.message? */
bool ff_client_is_too_large(const struct ff_client *client, uint64_t id, struct ff_slice topic,
                            struct ff_slice json, bool is_retained);
uint64_t ff_client_message_limit(const struct ff_client *client);

/* WELCOME's limits.buffered. */
uint64_t ff_client_buffered_limit(const struct ff_client *client);

/* For poll(): readable means that ff_client_next() has something to do. */
int ff_client_fd(const struct ff_client *client);

/* Has ff_client_next() something to do without waiting? */
bool ff_client_has_input(const struct ff_client *client);

#endif
