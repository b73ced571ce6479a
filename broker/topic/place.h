/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.h - a frame of a log, and the one after it: for who reads what a log holds message by
 * message, not octet by octet as a cursor does. For the log's owner alone.
 */
#ifndef TOPIC_PLACE_H
#define TOPIC_PLACE_H

#include "broker/topic/log.h"

struct place {
    const struct segment *segment; /* NULL: the end */
    uint32_t i;
};

/* The first frame with a message after the offset. O(segments + log frames). */
struct place place_after(const struct log_view *view, uint64_t offset);

/* It must not be the end. */
void place_next(struct place *place, const struct log_view *view);

static inline const struct entry *place_entry(const struct place *place)
{
    return segment_entry(place->segment, place->i);
}

/* The offset of its message, of the last one of a hole. */
static inline uint64_t place_offset(const struct place *place)
{
    return place->segment->offset + place_entry(place)->passed;
}

/* It stands for messages that nobody has. */
static inline bool place_is_hole(const struct place *place)
{
    return entry_publisher(place_entry(place)) == LOG_HOLE;
}

#endif
