/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publication.h - a message on its way into its topic, and what became of it.
 *
 * A message may be retained: it stays for who asks for the past, whatever goes of its topic's
 * history, until the next such message: in the log of the kind that it came in, and in those of
 * other kinds once somebody asked for it there (log.h, past.h).
 */
#ifndef TOPIC_PUBLICATION_H
#define TOPIC_PUBLICATION_H

#include "broker/topic/kind.h"
#include "protocol/message/message.h"

/*
 * Where a message has its place already, given by an engine that keeps the order elsewhere. Its
 * topic's log, if it is to go there, stands right before it.
 */
struct placement {
    struct ff_position at; /* epoch 0: its topic keeps no history */
    uint64_t wall_ms;      /* when it was published; 0: now */
    bool skips_topic;      /* only filters have not had it yet, */
    bool skips_filters;    /* or only the topic has not */
};

struct publication {
    struct ff_slice topic; /* a name */
    struct ff_payload payload;
    uint64_t publisher;  /* the publishing session's tag, 0: the broker itself */
    struct ff_slice key; /* of an idempotent publish; .at NULL: none */
    bool retain; /* it is the topic's retained message from here on; null: there is none then */
    const struct placement *placement; /* NULL: it takes the next place, now */
};

/* Messages of a topic that nobody has any more: in its logs they are one GAP, in their place. */
struct hole {
    struct ff_slice topic;
    const char *cause; /* on the wire: kind.h, struct gap */
    uint64_t count;    /* of messages */
    bool skips_filters;
    bool is_uncounted; /* nobody knows how many; `count` is 1, then */
    /*
     * Not 0: behind it the topic goes on in this epoch. Then those from..to (0: none) are the
     * offsets of the epoch before that it may have told, and that are no part of the topic.
     */
    uint64_t epoch;
    uint64_t from;
    uint64_t to;
};

struct router;

/*
 * Makes of a payload, in any encoding, what a log of the kind holds; in the router's buffers where
 * it is not part of it. FF_OK, FF_ENOMEM, FF_ELIMIT (too large for that kind).
 */
FF_MUST_CHECK enum ff_err publication_render(struct router *router, struct ff_payload *payload,
                                             enum log_kind kind);

/* null, in its encoding, takes back what was retained. */
bool publication_is_null(const struct publication *p);

/* Is it over its topic's own limit? */
bool publication_is_too_big(const struct router *router, const struct publication *p);

struct receipt {
    uint32_t receivers; /* subscriptions that matched, filters included */
    uint64_t buffered;  /* how far the slowest was behind when the last turn ended, in octets */
    struct ff_position position; /* epoch 0: its topic keeps no history */
};

#endif
