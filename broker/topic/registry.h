/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.h - which topics and filters a worker has, and the rules they follow.
 *
 * A topic is made with its first link, or by a publish that is kept or retained, and
 * dropped when it has neither links nor such messages; a log likewise. An idle one
 * is only an entry (idle_topic.h) meanwhile, and one that is gone only a position
 * (positions.h).
 */
#ifndef TOPIC_REGISTRY_H
#define TOPIC_REGISTRY_H

#include "broker/topic/filter.h"
#include "broker/topic/history.h"
#include "broker/topic/idle_topic.h"
#include "broker/topic/limbo.h"
#include "broker/topic/packer.h"
#include "broker/topic/tally.h"

struct router_limits {
    uint32_t max_message;  /* of a client's frame */
    uint32_t max_buffered; /* of a topic, for each encoding; at least max_message */
    uint32_t max_topics;   /* of all workers */
    uint32_t max_filters;
    uint32_t max_retained; /* topics with a retained message, of all workers */
    struct history_limits history;
    uint32_t dedup_seconds; /* for which an idempotency key is remembered */
    uint32_t max_keys;      /* so many of them, by this worker */
    struct packer_rules packing;
};

enum { DEDUP_SECONDS_MAX = 86400 };

struct registry {
    struct ff_map topics;      /* names and filters, by their text */
    struct ff_map idle_topics; /* names */
    struct filter_tree filters;
    struct history history;
    struct ff_hash_key key;
    struct limbo limbo; /* where the logs' segments come from and go */
    struct router_limits limits;
    struct wheel *wheel;
    uint32_t max_message_ever; /* the highest so far: sessions keep what they began with */
    const struct topic_rule *rules;
    uint32_t rule_count;
    struct tally topic_tally;    /* names with subscriptions */
    struct tally retained_tally; /* and those with a retained message */
};

/* What a registry is given. */
struct registry_env {
    struct ff_hash_key key; /* the same for all workers */
    struct pool *pool;
    struct ff_budget *budget; /* NULL: memory is not bounded */
    struct qsbr *qsbr;        /* NULL: one worker */
    struct wheel *wheel;
    _Atomic uint32_t *all_topics; /* the same for all workers; NULL: one */
    _Atomic uint32_t *all_retained;
};

/* FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err registry_init(struct registry *registry, const struct registry_env *env);

/* All subscriptions must be gone; kept messages go with it. */
void registry_deinit(struct registry *registry);

/*
 * New limits and rules, in file order: the first that matches a topic's name
 * holds. Borrowed until the next call. Topics that are there change at once.
 */
void registry_configure(struct registry *registry, const struct router_limits *limits,
                        const struct topic_rule *rules, uint32_t rule_count);

/* Which of so many workers owns a name. */
static inline uint32_t registry_owner(const struct registry *registry, struct ff_slice name,
                                      uint32_t owners)
{
    /* the maps take the lower bits */
    return (uint32_t)((uint64_t)ff_hash(&registry->key, name.at, name.len) * owners >> 32);
}

/* The rule for a name or filter; never NULL. */
const struct topic_rule *registry_rule(const struct registry *registry, struct ff_slice name);

/* How long a key of an idempotent publish to this name is remembered. */
uint32_t registry_dedup_seconds(const struct registry *registry, struct ff_slice name);

/* Octets that a log of this topic keeps for its readers, and that a worker may pin of it. */
uint32_t registry_max_buffered(const struct registry *registry, const struct topic *topic);
uint64_t registry_max_pinned(const struct registry *registry);

/* NULL: it is not there, or idle. */
struct topic *registry_find(const struct registry *registry, struct ff_slice name);

struct idle_topic *registry_find_idle(const struct registry *registry, struct ff_slice name);

/* Is nobody subscribed to anything? What is left are kept messages. */
static inline bool registry_is_unread(const struct registry *registry)
{
    return registry->topics.count == registry->history.unread && !registry->idle_topics.count;
}

/* Is anybody subscribed to it, idle or not? */
bool registry_has(const struct registry *registry, struct ff_slice name);

/*
 * Ties a subscription to a name that has neither topic nor idle_topic; `life`, its cursor's
 * position: see registry_get(). FF_OK, FF_ENOMEM, FF_ELIMIT (max_topics is reached).
 */
FF_MUST_CHECK enum ff_err registry_add_idle(struct registry *registry, struct subscription *s,
                                            struct ff_slice name, enum log_kind kind,
                                            const struct ff_position *life);

/* It is a topic again, with its subscription. FF_OK: the idle topic is freed; FF_ENOMEM: it stays
 * idle on.
 */
FF_MUST_CHECK enum ff_err registry_expand(struct registry *registry, struct idle_topic *idle_topic,
                                          struct topic **topic);

/* An idle topic (topic_is_idle) becomes an entry, if there is memory for one. */
void registry_compact(struct registry *registry, struct topic *topic);

/* Its subscription ends. */
void registry_drop_idle(struct registry *registry, struct idle_topic *idle_topic);

/* The topic of a name, woken if it slept; NULL: it is not there. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err registry_find_expanded(struct registry *registry, struct ff_slice name,
                                                 struct topic **topic);

/* What a topic is wanted for. */
enum topic_use {
    TOPIC_READ,    /* a subscription: it is counted */
    TOPIC_KEEP,    /* a message that its history keeps */
    TOPIC_FOREIGN, /* a remote link: another worker owns the name */
};

/*
 * Finds, expands or makes a topic. `life`: its epoch and last offset, if it has to be made;
 * NULL: as registry_begin_life() says. FF_OK, FF_ENOMEM, FF_ELIMIT (max_topics or max_filters
 * is reached).
 */
FF_MUST_CHECK enum ff_err registry_get(struct registry *registry, struct ff_slice name,
                                       enum topic_use use, const struct ff_position *life,
                                       struct topic **topic);

/*
 * Where a name's offsets go on that has neither topic nor idle topic: at the position that is
 * remembered, or at 0 in a new epoch; epoch 0 where its rule keeps no history.
 */
struct ff_position registry_begin_life(struct registry *registry, struct ff_slice name);

/* Where a name's offsets stand, idle or not, or gone and remembered; epoch 0: nowhere. */
struct ff_position registry_position(const struct registry *registry, struct ff_slice name);

/*
 * No position is remembered for a name any more: what is said there is not counted on from it.
 * True: one was.
 */
bool registry_forget_position(struct registry *registry, struct ff_slice name);

/* From behind the next `passed` messages on, a hole that tells so, a topic's offsets are of another
 * epoch. */
void registry_begin_epoch(struct topic *topic, uint64_t epoch, uint64_t passed);

/* Finds or makes its log, empty. NULL: out of memory. */
FF_MUST_CHECK struct topic_log *registry_get_log(struct topic *topic, enum log_kind kind);

/* Drops a log that nobody reads, with all that is in it. */
void registry_drop_log(struct topic *topic, enum log_kind kind);

/*
 * Drops the logs that have neither readers nor kept messages, and the topic if it has none. True:
 * it is gone.
 */
bool registry_drop_unused(struct registry *registry, struct topic *topic);

/*
 * The filters that match a name, good until the next filter comes or goes;
 * `topic` may be NULL, else they are cached with it. Returns their number.
 */
uint32_t registry_match(struct registry *registry, struct topic *topic, struct ff_slice name,
                        struct topic ***filters);

#endif
