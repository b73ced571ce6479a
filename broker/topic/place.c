/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/place.h"

#include "broker/topic/cursor.h"

struct place place_after(const struct log_view *view, uint64_t offset)
{
    struct cursor cursor;

    (void)cursor_to_offset(&cursor, view, offset);
    if (cursor.byte == view->head_byte)
        return (struct place){NULL, 0};
    return (struct place){
        cursor.segment,
        segment_find(cursor.segment, (uint32_t)(cursor.byte - cursor.segment->first_byte))};
}

void place_next(struct place *place, const struct log_view *view)
{
    if (++place->i < atomic_load_explicit(&place->segment->count, memory_order_relaxed))
        return;
    place->segment = place->segment == view->last
                         ? NULL
                         : atomic_load_explicit(&place->segment->next, memory_order_relaxed);
    place->i = 0;
}
