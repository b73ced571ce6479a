/* SPDX-License-Identifier: Apache-2.0 */
/*
 * router.h - from a published message to the logs it belongs in.
 *
 * A router has the topics and filters of a worker: those that it owns, with
 * their logs, and those that its subscriptions reach at other workers. Publishing
 * appends to logs and marks them dirty; at the end of the turn each dirty link's
 * active subscriptions are walked once, and what nobody needs any more is freed.
 * Nothing here knows a socket.
 */
#ifndef TOPIC_ROUTER_H
#define TOPIC_ROUTER_H

#include "broker/net/wheel.h"
#include "broker/topic/publication.h"
#include "broker/topic/registry.h"
#include "protocol/base/buf.h"
#include "protocol/message/encode.h"

/* Calls upward, to the owner of the subscriptions. */
struct router_ops {
    /* There is something to send. False: its socket is full. */
    bool (*ready)(void *arg, struct subscription *s);
    /* A waiting subscription with the rule `close` is too far behind; it must be removed. */
    void (*overrun)(void *arg, struct subscription *s);
    /* It holds back a segment that has left its log, and too many do: see pin.h. */
    pin_evict_fn *evict;
    /* So many messages were passed over by its rate: say so now, or rate_note_gone(). */
    void (*skipped)(void *arg, struct subscription *s, uint64_t count);
};

/*
 * Octets of a message that the broker itself may publish, however small those of clients must
 * be: there is room to rewrite it for every kind.
 */
enum { ROUTER_OWN_MOST = 128 * 1024 };

struct router {
    struct registry registry;
    struct wheel *wheel;
    const uint64_t *now_ms;
    const struct router_ops *ops;
    void *arg;
    struct ff_list turn;    /* links touched in this turn */
    struct ff_list watched; /* links with waiting subscriptions that have the rule `close` */
    struct ff_list
        idle_candidates;     /* topics that were idle then, and are compacted if they still are */
    struct ff_list too_slow; /* subscriptions whose owners are told when no link is walked */
    struct pin_evictor pins; /* who is told that it holds back too much */
    struct ff_buf payload_bufs[KINDS]; /* payloads rewritten for a kind; of deflated ones frames */
    struct packer packer;
    struct heard *heard; /* names heard through filters alone are counted; NULL: nobody asks */
    uint64_t published;  /* but for the broker's own topics */
    uint64_t rewritten;  /* octets of frames that were written again for another kind: past.h */
};

struct router_env {
    struct pool *pool;
    struct wheel *wheel;
    struct ff_budget *budget; /* NULL: memory is not bounded */
    const uint64_t *now_ms;   /* monotonic; read when needed */
    struct ff_hash_key key;   /* the same for all workers */
    const struct router_ops *ops;
    void *arg;
    struct qsbr *qsbr;              /* NULL: one worker */
    _Atomic uint32_t *all_topics;   /* counts the names of all workers; NULL: one worker */
    _Atomic uint32_t *all_retained; /* and those with retained messages */
};

/* FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err router_init(struct router *router, const struct router_env *env,
                                      const struct router_limits *limits);

/* All subscriptions must be gone. */
void router_deinit(struct router *router);

/*
 * New limits and rules, in file order: the first that matches a topic's name
 * holds. Borrowed until the next call. Topics that are there change at once.
 */
void router_configure(struct router *router, const struct router_limits *limits,
                      const struct topic_rule *rules, uint32_t rule_count);

/*
 * Ties a subscription to a name or filter that this worker owns, and to the
 * log of a kind; its `owner` and rules must be set. FF_OK, FF_ENOMEM, FF_ELIMIT
 * (max_topics or max_filters is reached).
 */
FF_MUST_CHECK enum ff_err router_subscribe(struct router *router, struct subscription *s,
                                           struct ff_slice name, enum log_kind kind);

/*
 * The same, but it begins where history says, and is exempt from all rules up to where the log
 * ends now; NULL: at the head.
 */
FF_MUST_CHECK enum ff_err router_subscribe_at(struct router *router, struct subscription *s,
                                              struct ff_slice name, enum log_kind kind,
                                              const struct history_start *start);

/* For remote.c: the cursor that such a subscription begins with. */
void router_place(struct cursor *cursor, uint64_t *asked_byte, const struct log *log,
                  const struct history_start *start);

/* For history.c: what the windows of a topic's logs do not hold any more goes. The topic, too. */
void router_trim_kept(struct router *router, struct topic *topic);

/* Of any log. The last one of a remote link leaves the link as it is: see remote_is_idle(). */
void router_unsubscribe(struct router *router, struct subscription *s);

/*
 * While a subscription is held nothing of it is offered, and nothing lost that
 * would not be to one with a full socket.
 */
void router_hold(struct subscription *s);
void router_release(struct router *router, struct subscription *s);

/* The topic or filter of a subscription that is not idle. */
struct topic *router_topic_of(const struct subscription *s);

/* NULL: nobody is subscribed to it, or one is, and it is idle. */
struct topic *router_find(const struct router *router, struct ff_slice name);

/* Before a subscription's rules change: its topic is idle no more. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err router_expand(struct router *router, struct subscription *s);

enum { ROUTER_IDLE_TOPICS = 1000 };

/*
 * Once a second: topics that were idle for long are compacted, ROUTER_IDLE_TOPICS at a time. True:
 * there are more.
 */
bool router_release_idle(struct router *router);

/*
 * Appends to the logs of the topic and of all filters that match it: to all of
 * them or, on failure, to none. FF_OK, FF_ENOMEM (memory is short, and cutting logs
 * did not help), FF_ETOOBIG (over the topic's own size limit), FF_EINVAL (the
 * payload cannot be rewritten), FF_EOTHER (the place that it is given is not the next one).
 */
FF_MUST_CHECK enum ff_err router_publish(struct router *router, const struct publication *p,
                                         struct receipt *receipt);

/*
 * Subscriptions that a message to this name would go to, and how far the slowest of them was behind
 * when the last turn ended, in octets.
 */
uint32_t router_receivers(struct router *router, struct ff_slice name, uint64_t *buffered);

/*
 * The same for a hole: what an engine knows that a topic lost. FF_OK, FF_ENOMEM.
 * A topic that nobody is subscribed to has no log to lose from.
 */
FF_MUST_CHECK enum ff_err router_publish_hole(struct router *router, const struct hole *hole);

/* For publication.c: `wanted` octets of segments are to be made room for; 0: what there is. */
void router_trim_for_memory(struct router *router, size_t wanted);

/* The end of a turn, before the flush: tells owners whose subscriptions are behind. */
void router_mark_ready(struct router *router);

/* Once a second: ends who is too slow by the rule `close`, though no tail moved. */
void router_close_too_slow(struct router *router);

/* After the flush: frees what nobody needs. True if there are dirty logs again. */
bool router_trim(struct router *router);

/* A subscription's cursor moved outside a walk: its link is looked at when the turn ends. */
void router_touch(struct router *router, struct subscription *s);

/* A link of a topic of this worker's own went: drops what has none any more. */
void router_drop_unused(struct router *router, struct topic *topic);

/* For remote.c: a link is to be looked at; and its log's owner told of something new. */
void router_touch_link(struct router *router, struct link *link);
void router_note_log_change(struct router *router, struct remote_link *remote);

/* There may be something for it: its rate is asked, then its owner. */
void router_offer(struct router *router, struct subscription *s);

/* For rate.c: a due subscription, what to tell, the clocks. */
void router_ready(struct router *router, struct subscription *s);
void router_tell_skipped(struct router *router, struct subscription *s, uint64_t count);

static inline uint64_t router_now_ms(const struct router *router)
{
    return *router->now_ms;
}

static inline struct wheel *router_wheel(const struct router *router)
{
    return router->wheel;
}

#endif
