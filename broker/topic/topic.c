/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/topic.h"

uint32_t topic_subscribers(const struct topic *topic)
{
    uint32_t count = 0;

    for (int i = 0; i < FF_ENCODINGS; i++)
        if (topic->logs[i])
            count += link_count(&topic->logs[i]->link);
    return count;
}

uint64_t topic_buffered(const struct topic *topic)
{
    uint64_t most = 0;

    for (int i = 0; i < FF_ENCODINGS; i++)
        if (topic->logs[i] && topic->logs[i]->link.buffered > most)
            most = topic->logs[i]->link.buffered;
    return most;
}
