/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.h - which topics and filters a worker has, and the rules they follow.
 *
 * A topic is made with its first link and dropped with its last; a log likewise.
 * An idle one is only an entry (idle_topic.h) meanwhile.
 */
#ifndef TOPIC_REGISTRY_H
#define TOPIC_REGISTRY_H

#include "broker/topic/filter.h"
#include "broker/topic/idle_topic.h"
#include "broker/topic/limbo.h"

struct router_limits {
    uint32_t max_message;  /* of a client's frame */
    uint32_t max_buffered; /* of a topic, for each encoding; at least max_message */
    uint32_t max_topics;   /* of all workers */
    uint32_t max_filters;
};

struct registry {
    struct ff_map topics;      /* names and filters, by their text */
    struct ff_map idle_topics; /* names */
    struct filter_tree filters;
    struct ff_hash_key key;
    struct limbo limbo; /* where the logs' segments come from and go */
    struct router_limits limits;
    uint32_t max_message_ever; /* the highest so far: sessions keep what they began with */
    const struct topic_rule *rules;
    uint32_t rule_count;
    uint32_t topic_count;         /* names that this worker owns */
    _Atomic uint32_t *all_topics; /* and all workers; NULL where there is one */
};

/* `key` and `all_topics` are the same for all workers. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err registry_init(struct registry *registry, const struct ff_hash_key *key,
                                        struct pool *pool, struct ff_budget *budget,
                                        struct qsbr *qsbr, _Atomic uint32_t *all_topics);

/* All topics must be gone. */
void registry_deinit(struct registry *registry);

/*
 * New limits and rules, in file order: the first that matches a topic's name
 * holds. Borrowed until the next call. Topics that are there change at once.
 */
void registry_configure(struct registry *registry, const struct router_limits *limits,
                        const struct topic_rule *rules, uint32_t rule_count);

/* The rule for a name or filter; never NULL. */
const struct topic_rule *registry_rule(const struct registry *registry, struct ff_slice name);

/* Octets that a log of this topic keeps for its readers, and that a worker may pin of it. */
uint32_t registry_max_buffered(const struct registry *registry, const struct topic *topic);
uint64_t registry_max_pinned(const struct registry *registry);

/* NULL: it is not there, or idle. */
struct topic *registry_find(const struct registry *registry, struct ff_slice name);

struct idle_topic *registry_find_idle(const struct registry *registry, struct ff_slice name);

/* Is anybody subscribed to it, idle or not? */
bool registry_has(const struct registry *registry, struct ff_slice name);

/*
 * Ties a subscription, its cursor set, to a name that has neither topic nor
 * idle_topic. FF_OK, FF_ENOMEM, FF_ELIMIT (max_topics is reached).
 */
FF_MUST_CHECK enum ff_err registry_add_idle(struct registry *registry, struct subscription *s,
                                            struct ff_slice name, enum log_kind kind);

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

/*
 * Finds, expands or makes a topic; `is_foreign`: a name that another worker owns. FF_OK,
 * FF_ENOMEM, FF_ELIMIT (max_topics or max_filters is reached).
 */
FF_MUST_CHECK enum ff_err registry_get(struct registry *registry, struct ff_slice name,
                                       bool is_foreign, struct topic **topic);

/* Finds or makes its log. NULL: out of memory. */
FF_MUST_CHECK struct topic_log *registry_get_log(struct topic *topic, enum log_kind kind);

/* Drops the logs that have no link, and the topic if it has none. True: it is gone. */
bool registry_drop_unused(struct registry *registry, struct topic *topic);

/*
 * The filters that match a name, good until the next filter comes or goes;
 * `topic` may be NULL, else they are cached with it. Returns their number.
 */
uint32_t registry_match(struct registry *registry, struct topic *topic, struct ff_slice name,
                        struct topic ***filters);

#endif
