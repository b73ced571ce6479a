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
    tally_take(&topic->registry->retained_tally);
}

/* With the topics that are there for them. */
static uint64_t retained_octets(const struct registry *registry)
{
    return registry->limbo.retained_bytes + (uint64_t)registry->retained_tally.own * TOPIC_COSTS;
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

void retained_note(struct topic *topic, enum log_kind kind)
{
    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i] && i != (int)kind)
            log_forget_retained(&topic->logs[i]->log, &topic->registry->limbo);
    topic->has_retained = true;
    topic->retained_kind = (uint8_t)kind;
}
