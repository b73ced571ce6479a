/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/topic.h"

uint32_t topic_log_receivers(const struct topic_log *log)
{
    uint32_t count = link_count(&log->link);

    for (const struct remote_link *remote = log->remotes; remote; remote = remote->next_of_log)
        count += atomic_load_explicit(&remote->receivers, memory_order_relaxed);
    return count;
}

bool topic_log_is_read(const struct topic_log *log)
{
    return link_count(&log->link) || log->remotes;
}

const struct segment *topic_retained(const struct topic *topic)
{
    return topic->has_retained ? log_retained(&topic->logs[topic->retained_kind]->log) : NULL;
}

bool topic_log_is_needed(const struct topic_log *log)
{
    const struct topic *topic = log->link.topic;

    return (log->log.is_kept && log_head_byte(&log->log) != log_tail_byte(&log->log)) ||
           (topic->has_retained && topic->retained_kind == log->link.kind);
}

uint64_t topic_log_buffered(const struct topic_log *log)
{
    uint64_t most = log->link.buffered;

    for (const struct remote_link *remote = log->remotes; remote; remote = remote->next_of_log) {
        uint64_t buffered = atomic_load_explicit(&remote->buffered, memory_order_relaxed);

        most = buffered > most ? buffered : most;
    }
    return most;
}

/* The one log of a topic that has one, and no remote links either way. */
static const struct topic_log *only_log(const struct topic *topic)
{
    const struct topic_log *only = NULL;

    if (topic->is_filter || topic->remotes)
        return NULL;
    for (int i = 0; i < KINDS; i++) {
        if (topic->logs[i] && only)
            return NULL;
        if (topic->logs[i])
            only = topic->logs[i];
    }
    return only && !only->remotes ? only : NULL;
}

bool topic_is_idle(const struct topic *topic)
{
    const struct topic_log *log = only_log(topic);
    const struct subscription *s;

    if (!log || link_count(&log->link) != 1 ||
        log_head_byte(&log->log) != log_tail_byte(&log->log) || topic->has_retained ||
        log->link.pins || log->link.is_dirty)
        return false;
    s = log->link.array[0];
    return s->zone == ZONE_ACTIVE && !s->rate && !link_is_pending(s) && link_is_at_head(s);
}

uint32_t topic_subscribers(const struct topic *topic)
{
    uint32_t count = 0;

    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i])
            count += topic_log_receivers(topic->logs[i]);
    return count;
}

uint64_t topic_buffered(const struct topic *topic)
{
    uint64_t most = 0;

    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i] && topic_log_buffered(topic->logs[i]) > most)
            most = topic_log_buffered(topic->logs[i]);
    return most;
}
