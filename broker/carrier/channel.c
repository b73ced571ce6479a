/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/carrier/channel.h"

#include "protocol/base/mem.h"

enum { NOTIFY_AT = 8 }; /* an 8th of the ring full of requests does not wait for the turn's end */

struct exchange *exchange_new(uint32_t count, uint32_t requests, uint32_t answers)
{
    struct exchange *exchange = ff_mem_zalloc(sizeof(*exchange));

    FF_CHECK(count > 0 && count <= WORKERS_MAX);
    if (!exchange)
        return NULL;
    exchange->count = count;
    exchange->requests_size = requests;
    exchange->answers_size = answers;
    exchange->max_unanswered = ring_fits(answers, sizeof(struct answer));
    FF_CHECK(exchange->max_unanswered > 1); /* two requests may belong together */
    exchange->channels = ff_mem_zalloc((size_t)count * count * sizeof(struct channel));
    if (!exchange->channels) {
        ff_mem_free(exchange);
        return NULL;
    }
    for (uint32_t i = 0; i < count * count; i++) {
        exchange->channels[i].exchange = exchange;
        ff_list_init(&exchange->channels[i].leaving);
        ff_list_init(&exchange->channels[i].seats);
    }
    return exchange;
}

void exchange_free(struct exchange *exchange)
{
    if (!exchange)
        return;
    for (uint32_t i = 0; i < exchange->count * exchange->count; i++) {
        ring_free(exchange->channels[i].requests);
        ring_free(exchange->channels[i].answers);
    }
    ff_mem_free(exchange->channels);
    ff_mem_free(exchange);
}

bool channel_open(struct channel *channel)
{
    if (channel->requests)
        return true;
    channel->answers = ring_new(channel->exchange->answers_size);
    channel->requests = channel->answers ? ring_new(channel->exchange->requests_size) : NULL;
    if (!channel->requests) {
        ring_free(channel->answers);
        channel->answers = NULL;
    }
    return channel->requests != NULL;
}

void channel_notify(struct channel *channel)
{
    channel->unnotified_bytes = 0;
    mailbox_post(channel->owner->env.box, &channel->requested);
}

/* Blocks have a maximum, too: the ring counts only their pointers. */
static bool has_room_for(const struct channel *channel, size_t block)
{
    size_t inside = atomic_load_explicit(&channel->block_bytes, memory_order_relaxed);

    return !block || !inside ||
           inside + block <= (size_t)channel->exchange->requests_size * CHANNEL_BLOCKS;
}

struct request *channel_reserve(struct channel *channel, size_t extra, size_t block)
{
    struct request *request = NULL;

    if (channel->unanswered == channel->exchange->max_unanswered) { /* the next answer tells */
        if (channel->unnotified_bytes)
            channel_notify(channel);
        return NULL;
    }
    if (has_room_for(channel, block))
        request = ring_reserve(channel->requests, (uint32_t)(sizeof(*request) + extra));
    if (request)
        return request;
    atomic_store(&channel->requester_waits, true);
    channel_notify(channel);
    return NULL;
}

bool channel_has_room_for_two(struct channel *channel)
{
    if (channel->unanswered + 1 < channel->exchange->max_unanswered)
        return channel_reserve(channel, 2 * sizeof(struct request), 0) != NULL;
    if (channel->unnotified_bytes)
        channel_notify(channel);
    return false;
}

void channel_release_block(struct channel *channel, size_t block)
{
    atomic_fetch_sub_explicit(&channel->block_bytes, block, memory_order_relaxed);
}

void channel_commit(struct channel *channel, size_t extra, size_t block)
{
    if (block)
        atomic_fetch_add_explicit(&channel->block_bytes, block, memory_order_relaxed);
    ring_commit(channel->requests);
    channel->unanswered++;
    channel->unnotified_bytes += sizeof(struct request) + extra + block;
    if (channel->unnotified_bytes >= channel->exchange->requests_size / NOTIFY_AT)
        channel_notify(channel);
}
