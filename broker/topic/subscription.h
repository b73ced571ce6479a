/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscription.h - the tie of a session to a topic or filter: a cursor, and
 * what is to happen when it falls behind.
 *
 * Its owner (a session) keeps the memory and a list of those that have
 * something to send; the link knows where each stands.
 */
#ifndef TOPIC_SUBSCRIPTION_H
#define TOPIC_SUBSCRIPTION_H

#include "broker/topic/cursor.h"
#include "broker/topic/kind.h"
#include "protocol/base/list.h"
#include "protocol/base/map.h"
#include "protocol/message/message.h"

struct link;
struct rate;
struct idle_topic;

enum overflow_rule { OVERFLOW_SKIP, OVERFLOW_LATEST, OVERFLOW_CLOSE };

/* The zone of its link's array that a subscription is in. */
enum link_zone {
    ZONE_ACTIVE,  /* walked when there is something new */
    ZONE_WAITING, /* its socket was full since it last was at the head */
    ZONE_TIMED,   /* its rate says later, or never */
    ZONE_COUNT,
};

/* What a subscription is tied to; it says which members of the two unions hold. */
enum subscription_state {
    SUBSCRIPTION_DETACHED,  /* nothing, as at first */
    SUBSCRIPTION_REQUESTED, /* the owner was asked and has not answered: `request`, `waiter` */
    SUBSCRIPTION_IDLE,      /* its topic is idle, and it is at the head: `idle_topic`, `cursor` */
    SUBSCRIPTION_LINKED,    /* it is in a link's array, at `index`: `link`, `cursor` */
};

/* What a subscription is asked for, while nothing else knows its name. */
struct subscription_request {
    struct ff_slice name;
    bool is_filter;
};

enum { SUBSCRIPTION_CURSORS_MAX = 127 };
_Static_assert((int)WORKERS_MAX <= (int)SUBSCRIPTION_CURSORS_MAX,
               "a filter has a cursor for each owner");

struct subscription {
    union {
        struct link *link;
        const struct subscription_request *request;
        struct idle_topic *idle_topic;
    };
    void *owner;
    union {
        struct cursor cursor;
        void *waiter; /* the carrier's */
    };
    union { /* among its owner's subscriptions: as the owner keeps them */
        struct ff_list node;
        struct ff_map_node map_node;
    };
    uint64_t asked_byte;      /* up to here it asked for the past: no rule passes over that */
    struct ff_list pending;   /* among those of them that have something to send */
    struct rate *rate;        /* NULL: every message */
    uint32_t bound;           /* octets: its own backlog, with `has_bound` */
    uint32_t index;           /* in the link's array */
    uint8_t state;            /* enum subscription_state */
    uint8_t zone;             /* enum link_zone */
    uint8_t overflow;         /* enum overflow_rule */
    bool no_echo : 1;         /* what its own session published is passed over */
    uint8_t cursor_count : 7; /* of an array of them, in the first: the carrier's */
    bool has_bound : 1;       /* of `overflow`, instead of what its topic keeps */
    bool is_member : 1;       /* it is that of a membership: the carrier's */
};

/* Does it still read what it asked for of the past? */
static inline bool subscription_is_recovering(const struct subscription *s)
{
    return s->cursor.byte < s->asked_byte;
}

/* Does its rate say what it is sent? Not of the past, but for one that is paused: that waits. */
static inline bool subscription_is_rated(const struct subscription *s)
{
    return s->rate && !subscription_is_recovering(s);
}

/* Of one that is not detached: the topic's name or the filter. */
struct ff_slice subscription_name(const struct subscription *s);
bool subscription_is_filter(const struct subscription *s);

/* What collect added to a plan for one subscription, until it is known what was taken. */
struct flush_range {
    struct subscription *subscription;
    size_t gap_len; /* octets of a GAP before the range */
    size_t range_len;
    struct log_view view; /* of this flush */
    struct cursor target; /* where the range begins, if a rule moved it or there is a GAP */
    bool is_moved;
    bool is_rated;    /* it is the newest message, by a rate; with s->rate */
    bool is_to_head;  /* the range ends at the view's head */
    bool is_retained; /* it is the log's retained message: the view is of that alone */
    char *gap;        /* GAP_MAX octets of room */
};

/*
 * Adds what is owed to the plan: a GAP if something was missed, then up to
 * `max` octets of frames. `session_tag`: the session's tag. Returns false when
 * nothing is owed (the subscription is at the head). `range->gap` and
 * `range->view` must be set.
 */
bool subscription_collect(struct subscription *s, uint64_t session_tag, struct plan *plan,
                          size_t max, struct flush_range *range);

/* What is left of a unit that was cut: up to two pieces to be copied, or one that is pinned. */
struct cut_unit {
    struct ff_slice gap;
    struct cursor_cut cut;
};

/*
 * Nearly always: were all of this range's octets among the `*len` that were taken,
 * and is the subscription at the head by that? Then they are subtracted, and this
 * stands for subscription_taken().
 */
bool subscription_took_all(struct flush_range *range, size_t *len);

/*
 * `*len` octets from this range on were taken; what belongs to the range is
 * subtracted. True if the subscription is now at the head of the range's view.
 */
bool subscription_taken(struct flush_range *range, uint64_t session_tag, size_t *len,
                        struct cut_unit *unit);

/* What a subscription was passed over: `count` messages, all of them after `from` and up to `to`.
 */
struct missed {
    const char *cause;
    uint64_t count;
    uint64_t from; /* offsets */
    uint64_t to;
};

/* Writes a GAP frame for this subscription; returns its size, at most GAP_MAX. */
size_t subscription_write_gap(const struct subscription *s, const struct missed *missed,
                              char out[GAP_MAX]);

/* What it is owed, in octets: what its topic still keeps, less what its rule is going to pass over.
 */
uint64_t subscription_behind(const struct subscription *s);

/* Will it pass something over: because its topic no longer has it, or by its rule? */
bool subscription_is_overrun(const struct subscription *s, const struct log_view *view);

/*
 * Must its session end by the rule `close`? It was overrun, or its socket was full since
 * it last was at the head and it is further behind than its bound (`most` where it
 * has none of its own).
 */
bool subscription_is_too_slow(const struct subscription *s, const struct log_view *view,
                              uint64_t most);

/* The overflow rule's name on the wire, and back (false: no such rule). */
const char *overflow_name(enum overflow_rule rule);
bool overflow_find(struct ff_slice name, uint8_t *rule);

#endif
