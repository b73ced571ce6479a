/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/grave.h"

#include "broker/topic/log.h"

void grave_init(struct grave *grave, struct pool *pool, struct ff_budget *budget, struct qsbr *qsbr)
{
    *grave = (struct grave){.pool = pool, .budget = budget, .qsbr = qsbr};
    ff_list_init(&grave->live);
}

bool grave_has_room(struct grave *grave, size_t octets)
{
    return !grave->budget || pool_has_free(grave->pool, octets) ||
           ff_budget_has_room(grave->budget, octets);
}

static bool is_pinned(const struct segment *segment)
{
    return atomic_load_explicit(&segment->pin_count, memory_order_acquire) > 0;
}

static void push(struct segment_queue *queue, struct segment *segment)
{
    segment->buried = NULL;
    if (queue->last)
        queue->last->buried = segment;
    else
        queue->first = segment;
    queue->last = segment;
}

static struct segment *pop(struct segment_queue *queue)
{
    struct segment *segment = queue->first;

    if (!segment)
        return NULL;
    queue->first = segment->buried;
    if (!queue->first)
        queue->last = NULL;
    return segment;
}

static void release(struct grave *grave, struct segment *segment)
{
    grave->bytes -= segment_size(segment);
    pool_free(grave->pool, segment, segment_size(segment));
}

void grave_take(struct grave *grave, struct segment *segment, bool is_shared)
{
    grave->bytes += segment_size(segment);
    if (grave->qsbr && is_shared) {
        segment->retired = qsbr_retire(grave->qsbr);
        push(&grave->waiting, segment);
    } else if (is_pinned(segment)) {
        push(&grave->pinned, segment);
    } else {
        release(grave, segment);
    }
}

void grave_sweep(struct grave *grave)
{
    struct segment_queue pinned;
    struct segment *segment;

    while (grave->waiting.first && qsbr_is_passed(grave->qsbr, grave->waiting.first->retired))
        push(&grave->pinned, pop(&grave->waiting)); /* nobody can pin it any more */
    pinned = grave->pinned;
    grave->pinned = (struct segment_queue){NULL, NULL};
    while ((segment = pop(&pinned))) {
        if (is_pinned(segment))
            push(&grave->pinned, segment);
        else
            release(grave, segment);
    }
}

void grave_deinit(struct grave *grave)
{
    struct segment *segment;

    while ((segment = pop(&grave->waiting)))
        release(grave, segment);
    grave_sweep(grave);
    FF_CHECK(grave_is_empty(grave));
}
