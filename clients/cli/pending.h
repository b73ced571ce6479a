/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending.h - what was published and has not been answered.
 *
 * When the connection is lost nobody knows which of these the broker took. They
 * are sent again on the next one, in their order: one that arrives twice can be
 * seen, one that is missing cannot. Ids count up from 1 and are never used
 * twice. At most PENDING_MAX messages are kept, and 16 MiB unless one alone is larger.
 */
#ifndef CLI_PENDING_H
#define CLI_PENDING_H

#include "clients/c/client.h"
#include "protocol/base/buf.h"

enum { PENDING_MAX = 256 };

struct pending {
    struct ff_slice topic; /* borrowed */
    bool is_retained;      /* what is published: its topic is to keep it */
    struct ff_buf messages[PENDING_MAX];
    bool is_open[PENDING_MAX]; /* not answered */
    uint64_t first;            /* id of the oldest that is kept */
    uint64_t next;             /* id of the next one */
    uint64_t unsent;           /* from this id on none was sent on any connection */
    size_t bytes;
    size_t count; /* of those that are not answered */
};

void pending_init(struct pending *pending, struct ff_slice topic, bool is_retained);
void pending_deinit(struct pending *pending);

bool pending_has_room(const struct pending *pending, size_t bytes);

/* Keeps a copy, to be sent. Room must have been found. 0: out of memory, else its id. */
FF_MUST_CHECK uint64_t pending_add(struct pending *pending, struct ff_slice json);

/* Sends what was added and not sent yet. False: the connection is over. */
bool pending_send(struct pending *pending, struct ff_client *client);

/* Sends all that has no answer, as to a broker that knows none of it. False: as above. */
bool pending_send_again(struct pending *pending, struct ff_client *client);

/* The broker answered; false: it was not asked. */
bool pending_answer(struct pending *pending, uint64_t id);

/* The message of an id that has no answer; {NULL, 0} else. Valid until it is answered. */
struct ff_slice pending_find(const struct pending *pending, uint64_t id);

/* How many were sent and have no answer. */
size_t pending_sent_count(const struct pending *pending);

/*
 * Where the broker closed because a message was too large (1009): forgets what was
 * sent, for it would be refused again, and returns how many that were.
 */
size_t pending_forget_too_large(struct pending *pending, const struct ff_client *client);

#endif
