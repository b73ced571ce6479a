/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/limbo.h"

#include "broker/topic/log.h"

void limbo_init(struct limbo *limbo, struct pool *pool, struct ff_budget *budget, struct qsbr *qsbr)
{
    *limbo = (struct limbo){.pool = pool, .budget = budget, .qsbr = qsbr};
    ff_list_init(&limbo->live);
}

bool limbo_has_room(struct limbo *limbo, size_t octets)
{
    return !limbo->budget || pool_has_free(limbo->pool, octets) ||
           ff_budget_has_room(limbo->budget, octets);
}

static bool is_pinned(const struct segment *segment)
{
    return atomic_load_explicit(&segment->pin_count, memory_order_acquire) > 0;
}

static void push(struct segment_queue *queue, struct segment *segment)
{
    segment->next_retired = NULL;
    if (queue->last)
        queue->last->next_retired = segment;
    else
        queue->first = segment;
    queue->last = segment;
}

static struct segment *pop(struct segment_queue *queue)
{
    struct segment *segment = queue->first;

    if (!segment)
        return NULL;
    queue->first = segment->next_retired;
    if (!queue->first)
        queue->last = NULL;
    return segment;
}

static void release(struct limbo *limbo, struct segment *segment)
{
    limbo->bytes -= segment_size(segment);
    pool_free(limbo->pool, segment, segment_size(segment));
}

void limbo_retire(struct limbo *limbo, struct segment *segment, bool is_shared)
{
    limbo->bytes += segment_size(segment);
    if (limbo->qsbr && is_shared) {
        segment->retired = qsbr_retire(limbo->qsbr);
        push(&limbo->waiting, segment);
    } else if (is_pinned(segment)) {
        push(&limbo->pinned, segment);
    } else {
        release(limbo, segment);
    }
}

void limbo_sweep(struct limbo *limbo)
{
    struct segment_queue pinned;
    struct segment *segment;

    while (limbo->waiting.first && qsbr_is_passed(limbo->qsbr, limbo->waiting.first->retired))
        push(&limbo->pinned, pop(&limbo->waiting)); /* nobody can pin it any more */
    pinned = limbo->pinned;
    limbo->pinned = (struct segment_queue){NULL, NULL};
    while ((segment = pop(&pinned))) {
        if (is_pinned(segment))
            push(&limbo->pinned, segment);
        else
            release(limbo, segment);
    }
}

void limbo_deinit(struct limbo *limbo)
{
    struct segment *segment;

    while ((segment = pop(&limbo->waiting)))
        release(limbo, segment);
    limbo_sweep(limbo);
    FF_CHECK(limbo_is_empty(limbo));
}
