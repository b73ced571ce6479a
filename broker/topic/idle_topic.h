/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle_topic.h - a topic to which nobody publishes, with its one subscription.
 *
 * Of a million topics most are quiet: a device each, a user each. Such a topic
 * needs no logs, no links and no cached filters; its name and its subscription
 * say all there is to know, for the log would begin where the cursor stands. It
 * becomes a topic again with the next message or the second subscription
 * (registry_expand), and idle again when nothing came for a while
 * (registry_compact).
 */
#ifndef TOPIC_IDLE_TOPIC_H
#define TOPIC_IDLE_TOPIC_H

#include "broker/topic/kind.h"
#include "broker/topic/subscription.h"
#include "protocol/base/map.h"

struct idle_topic {
    struct ff_map_node node;
    struct subscription *subscription;
    uint64_t epoch; /* the offset is its cursor's */
    uint8_t kind;   /* enum log_kind */
    uint8_t name_len;
    char name[];
};

static inline struct ff_slice idle_topic_name(const struct idle_topic *idle_topic)
{
    return (struct ff_slice){idle_topic->name, idle_topic->name_len};
}

#endif
