/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor.c - a cursor's way through a log, segment by segment. Frames that its
 * session published itself are passed over in runs. Nearly always a cursor does not
 * come here: what is one range goes as that (subscription.c, collect_newest).
 */
#include "broker/topic/cursor.h"

/* Frames of one segment in a row that are to be sent, or to be passed over. */
struct run {
    struct segment *segment;
    uint32_t from; /* octets in the segment */
    uint32_t to;
};

void cursor_to_head(struct cursor *cursor, const struct log_view *view)
{
    *cursor = (struct cursor){view->last, view->head_byte, view->offset};
}

void cursor_to_tail(struct cursor *cursor, const struct log_view *view)
{
    if (view->first)
        *cursor = (struct cursor){view->first, view->first->first_byte, view->first->offset};
    else
        cursor_to_head(cursor, view);
}

bool cursor_to_offset(struct cursor *cursor, const struct log_view *view, uint64_t offset)
{
    struct segment *segment = view->first;
    uint32_t i;

    if (offset >= view->offset) {
        cursor_to_head(cursor, view);
        return offset == view->offset;
    }
    if (!segment || offset < segment->offset) {
        cursor_to_tail(cursor, view);
        return false;
    }
    while (segment != view->last) {
        struct segment *next = atomic_load_explicit(&segment->next, memory_order_acquire);

        if (next->offset > offset)
            break;
        segment = next;
    }
    i = segment_find_message(segment, offset - segment->offset);
    *cursor = (struct cursor){segment, segment->first_byte + segment_frame(segment, i),
                              segment->offset + segment_passed(segment, i)};
    return true;
}

/* Makes the segment the one that holds the cursor's byte. False at the head. */
static bool enter_segment(struct cursor *cursor, const struct log_view *view)
{
    if (cursor->byte == view->head_byte)
        return false;
    if (cursor->byte == view->first->first_byte)
        cursor->segment = view->first;
    else if (cursor->byte == cursor->segment->first_byte + view_end(view, cursor->segment))
        cursor->segment = atomic_load_explicit(&cursor->segment->next, memory_order_acquire);
    return true;
}

/* The frames from the cursor to the end of its segment that are all own, or all not. */
static struct run find_run(const struct cursor *cursor, const struct log_view *view,
                           uint64_t skip_publisher, bool *is_skipped)
{
    struct segment *segment = cursor->segment;
    uint32_t end = view_end(view, segment);
    struct run run = {segment, (uint32_t)(cursor->byte - segment->first_byte), end};
    uint32_t i;

    *is_skipped = false;
    if (!skip_publisher)
        return run;
    i = segment_find(segment, run.from);
    *is_skipped = entry_publisher(segment_entry(segment, i)) == skip_publisher;
    do
        run.to = segment_entry(segment, i++)->end;
    while (run.to < end &&
           (entry_publisher(segment_entry(segment, i)) == skip_publisher) == *is_skipped);
    return run;
}

static void move_to(struct cursor *cursor, const struct log_view *view, uint32_t at)
{
    const struct segment *segment = cursor->segment;

    cursor->byte = segment->first_byte + at;
    cursor->offset = cursor->byte == view->head_byte
                         ? view->offset
                         : segment->offset + segment_passed(segment, segment_find(segment, at));
}

bool cursor_skip(struct cursor *cursor, const struct log_view *view, uint64_t skip_publisher)
{
    bool is_skipped;

    while (enter_segment(cursor, view)) {
        struct run run = find_run(cursor, view, skip_publisher, &is_skipped);

        if (!is_skipped)
            return true;
        move_to(cursor, view, run.to);
    }
    return false;
}

/* As many whole frames as fit into `max`; the first one in any case if `must`. */
static uint32_t fit(const struct run *run, size_t max, bool must)
{
    uint32_t i;
    uint32_t end;

    if (run->to - run->from <= max)
        return run->to - run->from;
    i = segment_find(run->segment, run->from + (uint32_t)max);
    end = segment_frame(run->segment, i);
    if (end > run->from)
        return end - run->from;
    return must ? segment_entry(run->segment, i)->end - run->from : 0;
}

size_t cursor_collect(struct cursor *cursor, const struct log_view *view, uint64_t skip_publisher,
                      struct plan *plan, size_t max)
{
    struct cursor at;
    size_t added = 0;

    if (!cursor_skip(cursor, view, skip_publisher))
        return 0;
    at = *cursor;
    while (plan->count < PLAN_IOVECS && added < max && enter_segment(&at, view)) {
        bool is_skipped;
        struct run run = find_run(&at, view, skip_publisher, &is_skipped);
        uint32_t len = is_skipped ? run.to - run.from : fit(&run, max - added, added == 0);

        if (!is_skipped && len)
            plan_add(plan, run.segment->bytes + run.from, len);
        if (!is_skipped)
            added += len;
        if (len < run.to - run.from)
            break;
        at.byte += len;
    }
    return added;
}

struct cursor_cut cursor_advance(struct cursor *cursor, const struct log_view *view,
                                 uint64_t skip_publisher, size_t len)
{
    struct cursor_cut cut = {.len = 0};

    while (len && enter_segment(cursor, view)) {
        bool is_skipped;
        struct run run = find_run(cursor, view, skip_publisher, &is_skipped);
        uint32_t i;

        if (is_skipped || len >= run.to - run.from) {
            len -= is_skipped ? 0 : run.to - run.from;
            move_to(cursor, view, run.to);
            continue;
        }
        run.from += (uint32_t)len;
        i = segment_find(run.segment, run.from);
        if (segment_frame(run.segment, i) == run.from) { /* it ended with a frame */
            move_to(cursor, view, run.from);
        } else {
            cut.segment = run.segment;
            cut.bytes = run.segment->bytes + run.from;
            cut.len = segment_entry(run.segment, i)->end - run.from;
            move_to(cursor, view, segment_entry(run.segment, i)->end);
        }
        len = 0;
    }
    if (skip_publisher && cursor->byte != view->head_byte)
        (void)cursor_skip(cursor, view, skip_publisher);
    return cut;
}

bool cursor_to_newest(struct cursor *cursor, const struct log_view *view, uint64_t skip_publisher)
{
    struct cursor newest = *cursor;
    struct cursor at = *cursor;
    bool is_found = false;

    if (cursor->byte == view->head_byte)
        return false;
    if (!skip_publisher) {
        cursor->byte = view_newest(view, &cursor->offset);
        cursor->segment = view->last;
        return true;
    }
    while (cursor_skip(&at, view, skip_publisher)) {
        bool is_skipped;
        struct run run = find_run(&at, view, skip_publisher, &is_skipped);
        uint32_t i = segment_find(run.segment, run.to - 1);

        newest = at;
        move_to(&newest, view, segment_frame(run.segment, i));
        move_to(&at, view, run.to);
        is_found = true;
    }
    if (is_found)
        *cursor = newest;
    else
        cursor_to_head(cursor, view);
    return is_found;
}

void cursor_to_within(struct cursor *cursor, const struct log_view *view, uint64_t octets)
{
    uint64_t least = log_before(view->head_byte, octets);
    uint64_t newest;
    uint64_t offset;
    uint32_t at;
    uint32_t i;

    if (cursor->byte >= least || !enter_segment(cursor, view))
        return;
    newest = view_newest(view, &offset);
    if (least > newest)
        least = newest;
    while (cursor->segment != view->last &&
           cursor->segment->first_byte + view_end(view, cursor->segment) <= least)
        cursor->segment = atomic_load_explicit(&cursor->segment->next, memory_order_acquire);
    at = (uint32_t)(least - cursor->segment->first_byte);
    i = segment_find(cursor->segment, at);
    if (segment_frame(cursor->segment, i) < at)
        at = segment_entry(cursor->segment, i)->end;
    move_to(cursor, view, at);
}
