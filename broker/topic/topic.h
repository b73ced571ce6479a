/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.h - a named stream, or a filter: its logs and who is subscribed.
 *
 * A topic has a log for each encoding that somebody uses. It is there as long
 * as it has subscriptions. A filter is the same thing with a filter for a name:
 * a publish on a matching topic also appends to its logs.
 */
#ifndef TOPIC_TOPIC_H
#define TOPIC_TOPIC_H

#include "broker/topic/link.h"
#include "protocol/base/map.h"
#include "protocol/message/topic.h"

struct topic;

/* A log with its link; one link, because there is one worker. */
struct topic_log {
    struct log log;
    struct link link;
    struct topic *topic;
    struct ff_list turn; /* among the logs that this turn touched */
    enum ff_encoding encoding;
    bool is_dirty;    /* got messages that were not walked yet */
    bool is_relieved; /* was cut for want of memory */
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
    uint32_t max_buffered; /* 0: the default */
    uint32_t max_message;  /* 0: no limit of its own */
};

struct topic {
    struct ff_map_node node;
    struct topic_log *logs[FF_ENCODINGS];
    struct filter_set *filters;    /* NULL: none match, as of the generation */
    const struct topic_rule *rule; /* never NULL */
    uint64_t number;               /* messages published while it was there */
    uint64_t reported;             /* of them, when $SYS last looked */
    uint32_t filters_generation;
    uint8_t name_len;
    bool is_filter;
    char name[];
};

static inline struct ff_slice topic_name(const struct topic *topic)
{
    return (struct ff_slice){topic->name, topic->name_len};
}

static inline struct topic_log *link_topic_log(struct link *link)
{
    return FF_CONTAINER(link, struct topic_log, link);
}

/* Subscriptions in all encodings. */
uint32_t topic_subscribers(const struct topic *topic);

/* How far the slowest of them was behind when the last turn ended, in octets. */
uint64_t topic_buffered(const struct topic *topic);

#endif
