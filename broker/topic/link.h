/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - the tie of a log to a worker: the worker's subscriptions on it.
 *
 * The array has three zones, active | waiting | timed, and only the first is
 * walked when there is a message: stalled readers cost nothing a publish.
 * `needed` is the lowest byte that one of them still needs; what lies below
 * may be freed. For waiting ones it is a lower bound, made exact at most once a
 * turn in which one of them moved.
 *
 * Where log and worker have the same owner the link stands beside the log
 * (topic.h); where they have not, it is part of a remote link (remote.h).
 */
#ifndef TOPIC_LINK_H
#define TOPIC_LINK_H

#include "broker/topic/kind.h"
#include "broker/topic/pin.h"
#include "broker/topic/subscription.h"

struct topic;

struct link {
    struct topic *topic; /* as its worker knows it */
    struct log *log;     /* NULL: its owner was asked for it and has not answered */
    struct subscription **array;
    struct pins *pins;   /* NULL: nothing was ever pinned */
    struct ff_list turn; /* among the links that this turn touched */
    struct ff_list
        watched; /* among those that are compared once a second: router_close_too_slow() */
    uint32_t counts[ZONE_COUNT];
    uint32_t capacity;
    uint32_t pending; /* active ones that are not at the head, or not known to be */
    uint32_t
        close_rule_waiting; /* waiting ones that end when they are overrun: link_has_close_rule() */
    uint32_t no_echo_timed; /* timed ones that do not want their own echo */
    uint8_t kind;           /* enum log_kind */
    bool is_remote;         /* the log is another worker's */
    bool is_dirty;          /* messages came that were not walked yet */
    bool is_waiting_stale;  /* waiting_needed is only a lower bound */
    bool is_trimmed;        /* the tail moved for another reason than that nobody needs it */
    uint64_t active_needed;
    uint64_t waiting_needed;
    uint64_t buffered; /* how far the slowest was behind when the last turn ended */
};

/* `log` may be NULL until the link is used. */
void link_init(struct link *link, struct topic *topic, enum log_kind kind, struct log *log);
void link_deinit(struct link *link);

static inline uint32_t link_count(const struct link *link)
{
    return link->counts[ZONE_ACTIVE] + link->counts[ZONE_WAITING] + link->counts[ZONE_TIMED];
}

/* Adds a subscription, its cursor set; paused ones are timed, all others active. FF_OK, FF_ENOMEM.
 */
FF_MUST_CHECK enum ff_err link_add(struct link *link, struct subscription *s);
void link_remove(struct subscription *s);

/* Has it seen everything? */
static inline bool link_is_at_head(const struct subscription *s)
{
    return s->cursor.byte == atomic_load_explicit(&s->link->log->head_byte, memory_order_acquire);
}

/*
 * Does its session end when it is overrun? A rated one is never overrun: the newest is enough. As
 * long as a subscription is waiting neither its rule nor whether it is rated may change.
 */
static inline bool link_has_close_rule(const struct subscription *s)
{
    return s->overflow == OVERFLOW_CLOSE && !s->rate;
}

/* To another zone. O(1). */
void link_move(struct subscription *s, enum link_zone zone);

static inline bool link_is_pending(const struct subscription *s)
{
    return ff_list_is_in(&s->pending);
}

/* Into its owner's list of those that have something to send, or out of it. */
void link_set_pending(struct subscription *s, struct ff_list *list);

/* The lowest byte of active subscriptions, as of link_update_needed(); UINT64_MAX: there are none.
 */
static inline uint64_t link_active_needed(const struct link *link)
{
    return link->counts[ZONE_ACTIVE] ? link->active_needed : UINT64_MAX;
}

/* Its cursor moved although it still waits: the bound may rise. */
void link_note_progress(struct subscription *s, uint64_t before);

/*
 * The end of a turn: brings the bounds up to date and returns the lowest
 * byte still needed. `offered_head`: the head that the subscriptions were told of.
 */
uint64_t link_update_needed(struct link *link, const struct log_view *view, uint64_t offered_head);

#endif
