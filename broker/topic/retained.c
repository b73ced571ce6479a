/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/retained.h"

#include "broker/topic/registry.h"

void retained_forget(struct topic *topic)
{
    if (!topic->has_retained)
        return;
    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i])
            log_forget_retained(&topic->logs[i]->log, &topic->registry->limbo);
    topic->has_retained = false;
    retained_uncount(topic->registry);
}

/* With the topics that are there for them. */
static uint64_t retained_octets(const struct registry *registry)
{
    return registry->limbo.retained_bytes + (uint64_t)registry->retained_count * TOPIC_COSTS;
}

/* In all its logs: when another takes its place all of these go. */
static uint64_t octets_of_retained(const struct topic *topic)
{
    uint64_t octets = 0;

    for (int i = 0; i < KINDS; i++) {
        const struct segment *retained = topic->logs[i] ? log_retained(&topic->logs[i]->log) : NULL;

        octets += retained ? segment_size(retained) : 0;
    }
    return octets;
}

bool retained_has_room(const struct topic *topic, size_t octets)
{
    const struct registry *registry = topic->registry;

    return retained_octets(registry) + octets <=
           registry->limits.history.memory / RETAINED_PART + octets_of_retained(topic);
}

bool retained_may_copy(const struct registry *registry, size_t octets)
{
    return retained_octets(registry) + octets <= registry->limits.history.memory;
}

bool retained_count(struct registry *registry)
{
    uint32_t all = registry->retained_count + 1;

    if (registry->all_retained)
        all = atomic_fetch_add_explicit(registry->all_retained, 1, memory_order_relaxed) + 1;
    registry->retained_count++;
    if (all <= registry->limits.max_retained)
        return true;
    retained_uncount(registry);
    return false;
}

void retained_uncount(struct registry *registry)
{
    registry->retained_count--;
    if (registry->all_retained)
        atomic_fetch_sub_explicit(registry->all_retained, 1, memory_order_relaxed);
}

void retained_note(struct topic *topic, enum log_kind kind)
{
    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i] && i != (int)kind)
            log_forget_retained(&topic->logs[i]->log, &topic->registry->limbo);
    topic->has_retained = true;
    topic->retained_kind = (uint8_t)kind;
}
