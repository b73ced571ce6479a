/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier.h - where a topic's order comes from.
 *
 * An carrier is asked and answers later, by a callback given at its creation: a
 * session may be gone by then, so every request carries a ticket, and the
 * session is looked up again by its tag. `direct` answers at once, before the
 * request returns; `sharded` does so for the names that its own worker owns,
 * and asks the owners of all others.
 *
 * Answers to requests of one session about one name or filter come in the order
 * of the requests. A session that can answer by itself (an UNSUBSCRIBE) has its
 * answer wait for its turn there: carrier_await_turn().
 *
 * A subscription to a name is one `struct subscription`, one to a filter is an
 * array of them: a cursor for each worker that owns topics (carrier_cursor_count()).
 */
#ifndef CARRIER_CARRIER_H
#define CARRIER_CARRIER_H

#include "broker/topic/router.h"
#include "broker/worker/qsbr.h"

/* Who asked, and what the answer is to be labelled with. */
struct ticket {
    uint64_t id;
    uint64_t session_tag;   /* names the session, now and for ever */
    uint32_t session_place; /* where it is found */
    bool has_id;
    bool is_filter; /* of a subscription */
};

struct carrier_receipt {
    enum ff_err err; /* FF_OK: it has its place in the topic's order */
    struct receipt receipt;
    /*
     * Publishes of this session that this answers: the ticket's, and before it
     * others that were taken and have no id. Each is answered once.
     */
    uint32_t count;
};

struct carrier_events {
    void (*published)(void *arg, struct ticket ticket, const struct carrier_receipt *receipt);
    /*
     * FF_OK: `s` is tied to its topic; NULL: it was unsubscribed meanwhile. Not
     * FF_OK: `s` is tied to nothing and its owner's to free, if it is not NULL.
     * `name`: what was asked for, borrowed.
     */
    void (*subscribed)(void *arg, struct ticket ticket, struct subscription *s,
                       struct ff_slice name, enum ff_err err);
    /*
     * The answer `frame`, borrowed, has waited for its turn. Not FF_OK: what it
     * is about, a subscription that was asked for, was refused with this.
     */
    void (*turn_came)(void *arg, struct ticket ticket, struct ff_slice frame, enum ff_err err);
    /* What was not taken because this queue had no room may be tried again: carrier->full. */
    void (*room)(void *arg, uint32_t queue);
};

/* Queues of those that wait for room: one for each owner, and behind them one for all owners. */
enum { CARRIER_QUEUES = WORKERS_MAX + 1 };

/* An answer that the session has ready. */
struct carrier_turn {
    struct ff_slice name;
    bool is_filter;
    /* The subscription that it is about, if it is still asked for: NULL, or they share its fate. */
    struct subscription *subscription;
    struct ff_slice frame;
};

struct carrier;

struct carrier_ops {
    bool (*publish)(struct carrier *carrier, const struct publication *p, struct ticket ticket);
    bool (*subscribe)(struct carrier *carrier, struct subscription *s, struct ff_slice name,
                      enum ff_encoding encoding, struct ticket ticket);
    void (*unsubscribe)(struct carrier *carrier, struct subscription *s);
    bool (*has_room)(struct carrier *carrier, struct ff_slice name, bool is_filter);
    void (*await_turn)(struct carrier *carrier, const struct carrier_turn *turn,
                       struct ticket ticket);
    void (*notify)(struct carrier *carrier);
    void (*release_idle)(struct carrier *carrier);
    void (*free)(struct carrier *carrier);
};

struct carrier {
    const struct carrier_ops *ops;
    const struct carrier_events *events;
    void *arg;
    struct router *router;
    uint32_t owners; /* workers that own topics */
    uint32_t full;   /* the queue in which to wait, when a request was not taken just now */
};

/*
 * False: there is no room for it now. Nothing was done; `events->room` tells
 * when to try again, with the queue that `carrier->full` names.
 */
FF_MUST_CHECK static inline bool carrier_publish(struct carrier *carrier,
                                                 const struct publication *p, struct ticket ticket)
{
    return carrier->ops->publish(carrier, p, ticket);
}

/* How many subscriptions in a row one to a filter, or to a name, is made of. */
static inline uint32_t carrier_cursor_count(const struct carrier *carrier, bool is_filter)
{
    return is_filter ? carrier->owners : 1;
}

/*
 * `s`: carrier_cursor_count() of them, with owner, rules and rate set. From here on
 * `s->link` is set, also while the answer is awaited. False: as for a publish.
 */
FF_MUST_CHECK static inline bool carrier_subscribe(struct carrier *carrier, struct subscription *s,
                                                   struct ff_slice name, enum ff_encoding encoding,
                                                   struct ticket ticket)
{
    return carrier->ops->subscribe(carrier, s, name, encoding, ticket);
}

/* At once; of one whose answer is not there yet, too. All of its cursors. */
static inline void carrier_unsubscribe(struct carrier *carrier, struct subscription *s)
{
    carrier->ops->unsubscribe(carrier, s);
}

/*
 * Is there room for one more request about a name or filter? False: as for a
 * publish. True: carrier_await_turn() may follow, if nothing else was asked.
 */
FF_MUST_CHECK static inline bool carrier_has_room(struct carrier *carrier, struct ff_slice name,
                                                  bool is_filter)
{
    return carrier->ops->has_room(carrier, name, is_filter);
}

/*
 * Has the session's own answer wait until all requests about the name that were
 * made before are answered; `turn_came` hands it back, perhaps at once. There
 * must be room: carrier_has_room().
 */
static inline void carrier_await_turn(struct carrier *carrier, const struct carrier_turn *turn,
                                      struct ticket ticket)
{
    carrier->ops->await_turn(carrier, turn, ticket);
}

/* The end of a turn's input: other workers are told of what they were asked. */
static inline void carrier_notify(struct carrier *carrier)
{
    carrier->ops->notify(carrier);
}

/* Once a second: memory that is not needed goes back. */
static inline void carrier_release_idle(struct carrier *carrier)
{
    carrier->ops->release_idle(carrier);
}

/* NULL is allowed. */
static inline void carrier_free(struct carrier *carrier)
{
    if (carrier)
        carrier->ops->free(carrier);
}

/* For carriers: a publish that this worker's own router orders, and its answer. */
void carrier_publish_own(struct carrier *carrier, const struct publication *p,
                         struct ticket ticket);

/* The embedded carrier: the router's own order, nothing stored. NULL: out of memory. */
FF_MUST_CHECK struct carrier *direct_new(struct router *router, const struct carrier_events *events,
                                         void *arg);

/* The same where several workers share the topics: see sharded.h. */

#endif
