/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscriber.h - who reads from logs as a session does, into a socket that takes
 * as much as a test says. For tests of the topic floor: what was collected, cut,
 * copied and pinned arrives as messages, whole and in order, or the test fails.
 */
#ifndef SUPPORT_SUBSCRIBER_H
#define SUPPORT_SUBSCRIBER_H

#include "broker/topic/router.h"
#include "protocol/websocket/reader.h"
#include "tests/support/test.h"

struct subscriber {
    struct ff_list pending;
    struct ff_reader reader;
    uint64_t tag;
    enum ff_encoding encoding;
    size_t room; /* octets that its socket takes */
    bool is_blocked;
    uint8_t *copied; /* what is left of a cut frame */
    size_t copied_len;
    size_t copied_at;
    struct cursor_cut pinned;
    struct pin_hold *pin;
    /* A MESSAGE or a GAP came. */
    void (*received)(struct subscriber *who, const struct ff_message *m);
    /* One with the rule `close` has lost its place: it must be unsubscribed. */
    void (*overrun)(struct subscription *s);
    /* The overflow or rate rule chose a range's place; NULL: nobody wants to know. */
    void (*chosen)(const struct flush_range *range);
};

/* `received` and `overrun` must be set. */
void subscriber_init(struct subscriber *who, uint64_t tag, enum ff_encoding encoding);

/* Its subscriptions are gone; what was cut is let go. */
void subscriber_deinit(struct subscriber *who);

/* Is something left of a frame that was cut? */
static inline bool subscriber_has_rest(const struct subscriber *who)
{
    return who->copied || who->pinned.len;
}

/* Sends what its subscriptions are owed, as far as there is room. */
void subscriber_flush(struct subscriber *who, struct router *router);

/* The router's `ready`: there is something for one of its subscriptions, whose owner it is. */
bool subscriber_ready(void *arg, struct subscription *s);

/* The number that a payload [NUMBER,"padding"] begins with. */
uint64_t subscriber_number(const struct ff_payload *payload);

#endif
