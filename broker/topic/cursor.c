/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/cursor.h"

/* Frames of one segment in a row that are to be sent, or to be passed over. */
struct run {
    struct segment *segment;
    uint32_t from; /* octets in the segment */
    uint32_t to;
};

void cursor_to_head(struct cursor *cursor, const struct log *log)
{
    *cursor = (struct cursor){log->last, log->head, log->number};
}

void cursor_to_tail(struct cursor *cursor, const struct log *log)
{
    if (log->first)
        *cursor = (struct cursor){log->first, log->first->base, log->first->number};
    else
        cursor_to_head(cursor, log);
}

/* Makes the segment the one that holds the octet at the position. False at the head. */
static bool settle(struct cursor *cursor, const struct log *log)
{
    if (cursor->position == log->head)
        return false;
    if (cursor->position == log->first->base)
        cursor->segment = log->first;
    else if (cursor->position == cursor->segment->base + cursor->segment->used)
        cursor->segment = cursor->segment->next;
    return true;
}

/* The frames from the cursor to the end of its segment that are all own, or all not. */
static struct run find_run(const struct cursor *cursor, uint32_t skip_tag, bool *is_skipped)
{
    struct segment *segment = cursor->segment;
    struct run run = {segment, (uint32_t)(cursor->position - segment->base), segment->used};
    uint32_t i;

    *is_skipped = false;
    if (!skip_tag)
        return run;
    i = segment_find(segment, run.from);
    *is_skipped = segment_entry(segment, i)->tag == skip_tag;
    while (i < segment->count && (segment_entry(segment, i)->tag == skip_tag) == *is_skipped)
        i++;
    run.to = segment_entry(segment, i - 1)->end;
    return run;
}

static void move_to(struct cursor *cursor, uint32_t offset)
{
    struct segment *segment = cursor->segment;
    uint32_t i = offset == segment->used ? segment->count : segment_find(segment, offset);

    cursor->position = segment->base + offset;
    cursor->number = segment->number + i;
}

/* Over frames that are not for this subscriber. False at the head. */
static bool pass_skipped(struct cursor *cursor, const struct log *log, uint32_t skip_tag)
{
    bool is_skipped;

    while (settle(cursor, log)) {
        struct run run = find_run(cursor, skip_tag, &is_skipped);

        if (!is_skipped)
            return true;
        move_to(cursor, run.to);
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

size_t cursor_collect(struct cursor *cursor, const struct log *log, uint32_t skip_tag,
                      struct plan *plan, size_t max)
{
    struct cursor at;
    size_t added = 0;

    if (!pass_skipped(cursor, log, skip_tag))
        return 0;
    at = *cursor;
    while (plan->count < PLAN_IOVECS && added < max && settle(&at, log)) {
        bool is_skipped;
        struct run run = find_run(&at, skip_tag, &is_skipped);
        uint32_t len = is_skipped ? run.to - run.from : fit(&run, max - added, added == 0);

        if (!is_skipped && len)
            plan_add(plan, run.segment->bytes + run.from, len);
        if (!is_skipped)
            added += len;
        if (len < run.to - run.from)
            break;
        at.position += len;
    }
    return added;
}

struct cursor_cut cursor_advance(struct cursor *cursor, const struct log *log, uint32_t skip_tag,
                                 size_t len)
{
    struct cursor_cut cut = {NULL, NULL, 0};

    while (len && settle(cursor, log)) {
        bool is_skipped;
        struct run run = find_run(cursor, skip_tag, &is_skipped);
        uint32_t i;

        if (is_skipped || len >= run.to - run.from) {
            len -= is_skipped ? 0 : run.to - run.from;
            move_to(cursor, run.to);
            continue;
        }
        run.from += (uint32_t)len;
        i = segment_find(run.segment, run.from);
        if (segment_frame(run.segment, i) == run.from) { /* it ended with a frame */
            move_to(cursor, run.from);
        } else {
            cut.segment = run.segment;
            cut.bytes = run.segment->bytes + run.from;
            cut.len = segment_entry(run.segment, i)->end - run.from;
            move_to(cursor, segment_entry(run.segment, i)->end);
        }
        len = 0;
    }
    if (skip_tag && cursor->position != log->head)
        (void)pass_skipped(cursor, log, skip_tag);
    return cut;
}

bool cursor_to_newest(struct cursor *cursor, const struct log *log, uint32_t skip_tag)
{
    struct cursor newest = *cursor;
    struct cursor at = *cursor;
    bool is_found = false;

    if (cursor->position == log->head)
        return false;
    if (!skip_tag) {
        cursor->position = log_newest(log, &cursor->number);
        cursor->segment = log->last;
        return true;
    }
    while (pass_skipped(&at, log, skip_tag)) {
        bool is_skipped;
        struct run run = find_run(&at, skip_tag, &is_skipped);
        uint32_t i = segment_find(run.segment, run.to - 1);

        newest = at;
        move_to(&newest, segment_frame(run.segment, i));
        move_to(&at, run.to);
        is_found = true;
    }
    if (is_found)
        *cursor = newest;
    else
        cursor_to_head(cursor, log);
    return is_found;
}
