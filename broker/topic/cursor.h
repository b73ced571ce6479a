/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor.h - a subscriber's place in a log.
 *
 * A cursor stands between two frames of a log, never inside one:
 *
 *     tail_byte                 byte                    head_byte
 *     | frame 17 | frame 18 | frame 19 | frame 20 | ... |
 *                           ^ offset = 18: the last message passed
 *
 * `byte` counts octets of frames since the log began, `offset` messages: the one
 * that clients see in `since` and GAP. They move together. `segment` follows and
 * may dangle once byte < tail_byte, so it is only looked at after the cursor was
 * compared with the tail.
 */
#ifndef TOPIC_CURSOR_H
#define TOPIC_CURSOR_H

#include "broker/net/plan.h"
#include "broker/topic/log.h"

struct cursor {
    struct segment *segment; /* holds `byte` or the octet before it; may be gone */
    uint64_t byte;
    uint64_t offset;
};

/* What was cut off a frame by a full socket. */
struct cursor_cut {
    struct segment *segment;
    const uint8_t *bytes; /* the part not yet sent, .len 0: nothing was cut */
    size_t len;
    bool is_whole_frame; /* it was cut at its first octet: behind a GAP */
};

/*
 * A cursor may stand before its log, at the log's retained message: then its byte names that,
 * and its offset is where it goes on behind it. It is behind the tail of every view.
 */
static inline void cursor_to_retained(struct cursor *cursor, uint64_t offset)
{
    cursor->segment = NULL;
    cursor->byte = offset << 1;
}

static inline bool cursor_is_before_log(const struct cursor *cursor)
{
    return cursor->byte < LOG_BEGIN;
}

/* The offset of the retained message, and has it been sent? */
static inline uint64_t cursor_retained(const struct cursor *cursor)
{
    return cursor->byte >> 1;
}

static inline bool cursor_has_passed_retained(const struct cursor *cursor)
{
    return cursor->byte & 1;
}

static inline void cursor_pass_retained(struct cursor *cursor)
{
    cursor->byte |= 1;
}

/* At the head: the next message will be the first. */
void cursor_to_head(struct cursor *cursor, const struct log_view *view);

/* At the oldest message still there. */
void cursor_to_tail(struct cursor *cursor, const struct log_view *view);

/*
 * Behind the message `offset`, or at the tail or head if that is not there any
 * more or not yet: then false. One that is within a hole is placed before it.
 * O(segments + log frames): segments of kept logs are so large that they are few.
 */
bool cursor_to_offset(struct cursor *cursor, const struct log_view *view, uint64_t offset);

/*
 * Before the newest message that `skip_publisher` did not publish (0: any); false
 * when there is none behind the cursor, which is then at the head. The cursor
 * must not be behind the tail.
 */
bool cursor_to_newest(struct cursor *cursor, const struct log_view *view, uint64_t skip_publisher);

/*
 * Forward to the oldest message that begins within `octets` of the head, but never
 * beyond the newest. The cursor must not be behind the tail. O(segments).
 */
void cursor_to_within(struct cursor *cursor, const struct log_view *view, uint64_t octets);

/* Over messages that `skip_publisher` (0: nobody) published. False at the head. */
bool cursor_skip(struct cursor *cursor, const struct log_view *view, uint64_t skip_publisher);

static inline bool cursor_is_behind_tail(const struct cursor *cursor, const struct log_view *view)
{
    return cursor->byte < view_tail_byte(view);
}

/*
 * Adds ranges from the cursor on to the plan: whole frames up to `max` octets,
 * but one frame at least, without those that `skip_publisher` published. Returns the
 * octets added. The cursor must not be behind the tail; it does not move but
 * over frames that are skipped before anything was added.
 */
size_t cursor_collect(struct cursor *cursor, const struct log_view *view, uint64_t skip_publisher,
                      struct plan *plan, size_t max);

/*
 * Moves over `len` octets of what cursor_collect() added, to the end of a frame
 * that was cut. Moves over the skipped frames behind it, too.
 */
struct cursor_cut cursor_advance(struct cursor *cursor, const struct log_view *view,
                                 uint64_t skip_publisher, size_t len);

#endif
