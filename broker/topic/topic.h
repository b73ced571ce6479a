/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.h - a named stream, or a filter, as one worker knows it.
 *
 * The worker that owns a name has its logs: one for each kind that somebody
 * uses, each with the links of all workers that have subscriptions on it. The
 * other workers have only their remote links. A filter is the same thing with a
 * filter for a name: a publish on a matching topic also appends to its logs.
 * Each worker owns a part of every filter: what matches of the names it owns.
 *
 * A topic is there as long as it has links, messages that its history keeps, or a retained one.
 */
#ifndef TOPIC_TOPIC_H
#define TOPIC_TOPIC_H

#include "broker/net/wheel.h"
#include "broker/topic/remote.h"
#include "protocol/base/map.h"
#include "protocol/message/topic.h"

/* A log with its owner's own link, and those of other workers. */
struct topic_log {
    struct log log;
    struct link link;
    struct remote_link *remotes;
    _Atomic uint32_t members; /* of the topic whose bulletin it is (bulletin.h) */
};

/* The filters that match a topic, as of a generation of the filters. */
struct filter_set {
    uint32_t count;
    struct topic *filters[];
};

/* What the configuration says about topics that match a filter. */
struct topic_rule {
    const char *filter;
    enum overflow_rule overflow;
    uint32_t max_buffered;  /* 0: the default */
    uint32_t max_message;   /* 0: no limit of its own */
    uint32_t dedup_seconds; /* 0: the default */
    bool has_presence;      /* who is subscribed is told to who asks */
    /* The window of its history, each RULE_DEFAULT: as the limits say. */
    uint32_t history; /* messages, 0: it keeps no history */
    uint32_t history_bytes;
    uint32_t history_seconds;
};

#define RULE_DEFAULT UINT32_MAX

struct registry;

/* Octets of a topic that is there for its messages alone, beside them. */
#define TOPIC_COSTS (sizeof(struct topic) + sizeof(struct topic_log) + 64)

struct topic {
    struct ff_map_node node;
    struct registry *registry;
    struct topic_log *logs[KINDS]; /* the owner's */
    struct remote_link *remotes;   /* this worker's, to logs of others */
    struct filter_set *filters;    /* NULL: none match, as of the generation */
    const struct topic_rule *rule; /* never NULL */
    uint64_t epoch;                /* of its offsets, 0: it keeps no history */
    uint64_t offset;               /* messages published, in its epoch or while it was there */
    uint64_t leap_from;        /* the last offset of the epoch before this one, and where this */
    uint64_t leap_to;          /* one began: nothing is between them; 0: there was none */
    uint64_t floor;            /* up to this offset nothing is kept: memory was short */
    uint64_t wall_ms;          /* of the newest message */
    struct wheel_timer expiry; /* the oldest messages are too old by then */
    struct ff_list recent;     /* among those with history, by when they were published to, */
    uint32_t recent_at;        /* as of this tick */
    uint64_t reported;         /* of them, when $SYS last looked */
    struct ff_list idle_candidate; /* among those that are compacted if they stay idle */
    uint64_t filters_generation;
    uint64_t candidate_offset; /* messages when it came there, */
    uint32_t candidate_at;     /* and the tick */
    uint8_t name_len;
    bool is_filter;
    bool is_foreign;     /* another worker owns the name */
    bool is_counted;     /* among those with subscriptions: max_topics */
    bool was_subscribed; /* ever: its position is remembered */
    bool has_retained;   /* a retained message, as it came in the log of this kind: */
    uint8_t retained_kind;
    char name[];
};

static inline struct ff_slice topic_name(const struct topic *topic)
{
    return (struct ff_slice){topic->name, topic->name_len};
}

/* The log that the owner's own link stands beside. */
static inline struct topic_log *link_topic_log(struct link *link)
{
    return FF_CONTAINER(link, struct topic_log, link);
}

/* For the owner: subscriptions of all workers, and how far the slowest was behind. */
uint32_t topic_log_receivers(const struct topic_log *log);
uint64_t topic_log_buffered(const struct topic_log *log);

/* Does anybody on any worker read it? */
bool topic_log_is_read(const struct topic_log *log);

/* Is there something in it that is kept, whether it is read or not? */
bool topic_log_is_needed(const struct topic_log *log);

/* Its retained message, alone in a segment (log.h), NULL: it has none. */
const struct segment *topic_retained(const struct topic *topic);

/* Has it one subscription, and nothing else that an idle topic could not be? */
bool topic_is_idle(const struct topic *topic);

/* Subscriptions of all kinds. */
uint32_t topic_subscribers(const struct topic *topic);

/* How far the slowest of them was behind when the last turn ended, in octets. */
uint64_t topic_buffered(const struct topic *topic);

#endif
