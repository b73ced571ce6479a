/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscription.c - what one subscription adds to a flush, and what was taken of it.
 * An overrun or a rate moves its cursor first (target_...), which a GAP tells; GAP
 * and first frame are one unit: both go, or neither. A retained message is sent as if
 * it were a log of its own, before the cursor is in the log.
 */
#include "broker/topic/subscription.h"

#include "broker/topic/bulletin.h"
#include "broker/topic/idle_topic.h"
#include "broker/topic/link.h"
#include "broker/topic/rate.h"
#include "broker/topic/topic.h"

static const char *const rules[] = {"skip", "latest", "close"};

const char *overflow_name(enum overflow_rule rule)
{
    return rules[rule];
}

bool overflow_find(struct ff_slice name, uint8_t *rule)
{
    for (size_t i = 0; i < FF_COUNT(rules); i++) {
        if (ff_slice_is_equal(name, ff_slice_of(rules[i]))) {
            *rule = (uint8_t)i;
            return true;
        }
    }
    return false;
}

struct ff_slice subscription_name(const struct subscription *s)
{
    switch ((enum subscription_state)s->state) {
    case SUBSCRIPTION_REQUESTED:
        return s->request->name;
    case SUBSCRIPTION_IDLE:
        return idle_topic_name(s->idle_topic);
    case SUBSCRIPTION_LINKED:
        return topic_name(s->link->topic);
    case SUBSCRIPTION_DETACHED:
        break;
    }
    FF_UNREACHABLE();
}

bool subscription_is_filter(const struct subscription *s)
{
    if (s->state == SUBSCRIPTION_REQUESTED)
        return s->request->is_filter;
    return s->state == SUBSCRIPTION_LINKED && s->link->topic->is_filter;
}

/* Does its rule pass something over because its socket was full? */
static bool has_rule_for_waiting(const struct subscription *s)
{
    return s->zone == ZONE_WAITING && !s->rate && !subscription_is_recovering(s) &&
           (s->overflow == OVERFLOW_LATEST || (s->overflow == OVERFLOW_SKIP && s->has_bound));
}

/* Over what its rule passes over. The cursor must not be behind the tail. */
static void follow_rule(const struct subscription *s, const struct log_view *view,
                        uint64_t skip_publisher, struct cursor *cursor)
{
    if (s->overflow == OVERFLOW_LATEST)
        (void)cursor_to_newest(cursor, view, skip_publisher);
    else if (s->overflow == OVERFLOW_SKIP && s->has_bound)
        cursor_to_within(cursor, view, s->bound);
}

/* Of the log itself: where it stands, or the oldest message that is there. */
static void enter_log(struct cursor *cursor, const struct log_view *view)
{
    if (cursor_is_before_log(cursor))
        (void)cursor_to_offset(cursor, view, cursor->offset);
    else if (cursor_is_behind_tail(cursor, view))
        cursor_to_tail(cursor, view);
}

/* Has what it reads next gone? Before the log it waits for nothing but what comes behind there. */
static bool is_passed_by_tail(const struct subscription *s, const struct log_view *view)
{
    return cursor_is_before_log(&s->cursor) ? s->cursor.offset < view_tail_offset(view)
                                            : cursor_is_behind_tail(&s->cursor, view);
}

uint64_t subscription_behind(const struct subscription *s)
{
    struct log_view view = log_look(s->link->log);
    struct cursor cursor = s->cursor;

    enter_log(&cursor, &view);
    if (has_rule_for_waiting(s))
        follow_rule(s, &view, 0, &cursor);
    return view.head_byte - cursor.byte;
}

bool subscription_is_overrun(const struct subscription *s, const struct log_view *view)
{
    struct cursor cursor = s->cursor;

    if (subscription_is_rated(s))
        return false;
    if (is_passed_by_tail(s, view))
        return true;
    if (has_rule_for_waiting(s))
        follow_rule(s, view, 0, &cursor);
    return cursor.offset != s->cursor.offset;
}

bool subscription_is_too_slow(const struct subscription *s, const struct log_view *view,
                              uint64_t most)
{
    uint64_t from = subscription_is_recovering(s) ? s->asked_byte : s->cursor.byte;

    if (s->overflow != OVERFLOW_CLOSE || subscription_is_rated(s))
        return false;
    if (is_passed_by_tail(s, view))
        return true;
    return s->zone == ZONE_WAITING && view->head_byte - from > (s->has_bound ? s->bound : most);
}

size_t subscription_write_gap(const struct subscription *s, const struct missed *missed,
                              char out[GAP_MAX])
{
    struct gap gap = {.topic = topic_name(s->link->topic),
                      .cause = missed->cause,
                      .skipped = missed->count,
                      .epoch = log_epoch(s->link->log)};

    if (gap.epoch &&
        missed->from < atomic_load_explicit(&s->link->log->begun, memory_order_relaxed)) {
        gap.cause = "lost"; /* with the word that another epoch has begun */
        gap.skipped = 0;
        gap.offset = missed->to + 1;
    } else if (gap.epoch) {
        gap.from = missed->from + 1;
        gap.to = missed->to;
        gap.offset = missed->to + 1;
    }
    if (bulletin_is(gap.topic))
        return bulletin_write_count(s->link, out);
    return kind_write_gap((enum log_kind)s->link->kind, &gap, out);
}

/* A rated subscription: the newest message, and what was passed over for it. */
static bool target_newest(struct subscription *s, uint64_t skip_publisher,
                          struct flush_range *range)
{
    uint64_t before = range->target.offset;
    uint64_t gone = rate_catch_up(&range->target, &range->view);
    uint64_t caught_up = range->target.offset;
    struct missed missed = {"rate", s->rate->skipped, s->rate->from, s->rate->to};

    if (!cursor_to_newest(&range->target, &range->view, skip_publisher)) {
        s->cursor = range->target; /* only own ones are left, or none: nothing to send */
        rate_pass(s->rate, before, caught_up, gone);
        rate_note_gone(s->rate, 0);
        return false;
    }
    range->is_moved = true;
    if (range->target.offset != before) {
        missed.from = missed.count ? missed.from : before;
        missed.count += range->target.offset - before;
        missed.to = range->target.offset;
    }
    if (missed.count && rate_can_tell(s->rate))
        range->gap_len = subscription_write_gap(s, &missed, range->gap);
    return true;
}

/* The retained message that it stands at. False: it is its own, or another has taken its place. */
static bool target_retained(struct subscription *s, uint64_t skip_publisher,
                            struct flush_range *range)
{
    struct segment *retained = log_retained(s->link->log);

    if (cursor_has_passed_retained(&s->cursor) || !retained ||
        retained->offset + 1 != cursor_retained(&s->cursor))
        return false;
    if (skip_publisher && entry_publisher(segment_entry(retained, 0)) == skip_publisher) {
        cursor_pass_retained(&s->cursor);
        return false;
    }
    range->view = (struct log_view){retained, retained, retained->used, retained->offset + 1};
    cursor_to_tail(&range->target, &range->view);
    range->is_moved = range->is_retained = true;
    return true;
}

/*
 * From the retained message into the log. What lies between them had gone before it subscribed;
 * where it was promised more than is there now it was slow. Without history nothing was promised.
 */
static void target_log(struct subscription *s, struct flush_range *range)
{
    bool is_sent = cursor_has_passed_retained(&s->cursor);
    uint64_t goes_on = s->cursor.offset;
    uint64_t before = s->cursor.byte;
    struct missed missed = {"expired", 0, cursor_retained(&s->cursor) - !is_sent, 0};

    enter_log(&range->target, &range->view);
    missed.to = range->target.offset;
    if (!log_epoch(s->link->log))
        missed.from = goes_on;
    if (!is_sent || missed.to > goes_on)
        missed.cause = "slow";
    if (s->link->kind == KIND_RAW) /* which has no GAPs: who is too slow has ended */
        missed.from = missed.to;
    missed.count = missed.to - missed.from;
    if (!missed.count) {
        s->cursor = range->target;
        link_note_progress(s, before);
        return;
    }
    range->is_moved = true;
    range->gap_len = subscription_write_gap(s, &missed, range->gap);
}

/* Overrun, or a full socket: the rule moves the cursor and a GAP tells exactly what was missed. */
static void target_by_rule(struct subscription *s, uint64_t skip_publisher,
                           struct flush_range *range)
{
    struct missed missed = {"slow", 0, range->target.offset, 0};

    if (cursor_is_behind_tail(&range->target, &range->view)) {
        cursor_to_tail(&range->target, &range->view);
    } else { /* own messages that it does not want are no gap by themselves */
        if (!cursor_skip(&range->target, &range->view, skip_publisher))
            return;
        missed.from = range->target.offset;
    }
    follow_rule(s, &range->view, skip_publisher, &range->target);
    if (range->target.offset == missed.from)
        return;
    range->is_moved = true;
    missed.to = range->target.offset;
    missed.count = missed.to - missed.from;
    range->gap_len = subscription_write_gap(s, &missed, range->gap);
}

/*
 * Nearly always: all that a subscription is owed lies in the newest segment and
 * goes as one range, so that nothing but its length is worked out.
 */
static bool collect_newest(const struct subscription *s, struct plan *plan, size_t max,
                           struct flush_range *range)
{
    const struct segment *last = range->view.last;
    uint64_t owed = range->view.head_byte - s->cursor.byte;

    if (s->rate || s->no_echo || owed == 0 || owed > max || !last ||
        s->cursor.byte < last->first_byte || has_rule_for_waiting(s))
        return false;
    range->range_len = owed;
    range->is_to_head = true;
    plan_add(plan, last->bytes + (s->cursor.byte - last->first_byte), owed);
    return true;
}

/* What a rated one asked for goes at once, and then a message at a time. */
static size_t limit_to_asked(const struct subscription *s, const struct flush_range *range,
                             size_t max)
{
    uint64_t left = s->asked_byte > range->target.byte ? s->asked_byte - range->target.byte : 1;

    return left < max ? (size_t)left : max;
}

bool subscription_collect(struct subscription *s, uint64_t session_tag, struct plan *plan,
                          size_t max, struct flush_range *range)
{
    uint64_t skip_publisher = s->no_echo ? session_tag : 0;
    size_t gap_at = (size_t)plan->count;

    range->subscription = s;
    range->gap_len = 0;
    range->is_moved = range->is_rated = range->is_retained = false;
    if (collect_newest(s, plan, max, range))
        return true;
    range->range_len = 0;
    range->is_to_head = false;
    range->target = s->cursor;
    if (s->cursor.byte == range->view.head_byte)
        return false;
    range->is_rated = subscription_is_rated(s);
    if (range->is_rated) {
        if (!target_newest(s, skip_publisher, range))
            return false;
        max = 1; /* one frame */
    } else if (cursor_is_before_log(&s->cursor)) {
        if (!target_retained(s, skip_publisher, range))
            target_log(s, range);
    } else if (has_rule_for_waiting(s) || cursor_is_behind_tail(&s->cursor, &range->view)) {
        target_by_rule(s, skip_publisher, range);
    }
    if (s->rate && !range->is_rated)
        max = limit_to_asked(s, range, max);
    if (range->gap_len)
        plan_add(plan, range->gap, range->gap_len);
    if (plan->count < PLAN_IOVECS)
        range->range_len = cursor_collect(&range->target, &range->view, skip_publisher, plan, max);
    /* What is passed over counts for nothing here: a range that is shorter ends before the head. */
    range->is_to_head = range->range_len && !range->is_retained &&
                        range->target.byte + range->range_len == range->view.head_byte;
    if (!range->is_moved) {
        uint64_t before = s->cursor.byte;

        s->cursor = range->target; /* over frames of its own, if it wants no echo */
        link_note_progress(s, before);
    }
    FF_CHECK(range->range_len || range->gap_len || s->cursor.byte == range->view.head_byte);
    return (size_t)plan->count > gap_at;
}

/* The first frame behind a GAP belongs to it: together they go, or neither. */
static size_t unit_size(const struct flush_range *range)
{
    const struct segment *segment = range->target.segment;
    uint32_t at;

    if (!range->range_len) /* the log was emptied: the GAP goes out alone */
        return range->gap_len;
    at = (uint32_t)(range->target.byte - segment->first_byte);
    return range->gap_len + segment_entry(segment, segment_find(segment, at))->end - at;
}

static void note_rate(struct flush_range *range, uint64_t before)
{
    struct subscription *s = range->subscription;

    rate_pass(s->rate, before, range->target.offset, range->target.offset - before);
    if (range->gap_len)
        rate_told(s->rate);
    rate_sent(s);
}

bool subscription_took_all(struct flush_range *range, size_t *len)
{
    struct subscription *s = range->subscription;
    size_t whole = range->gap_len + range->range_len;

    if (*len < whole || !range->is_to_head || s->rate)
        return false; /* a rated one notes what it was sent */
    *len -= whole;
    cursor_to_head(&s->cursor, &range->view); /* it leaves the waiting ones, which tells its link */
    return true;
}

bool subscription_taken(struct flush_range *range, uint64_t session_tag, size_t *len,
                        struct cut_unit *unit)
{
    struct subscription *s = range->subscription;
    uint64_t skip_publisher = s->no_echo ? session_tag : 0;
    uint64_t byte = s->cursor.byte;
    uint64_t offset = s->cursor.offset;
    size_t whole = range->gap_len + range->range_len;
    size_t taken = *len < whole ? *len : whole;
    size_t frames = taken;

    *len -= taken;
    if (!taken)
        return false;
    if (range->is_retained) {
        unit->cut = cursor_advance(&range->target, &range->view, 0, taken);
        cursor_pass_retained(&s->cursor);
        link_note_progress(s, byte);
        return false;
    }
    if (range->is_moved)
        s->cursor = range->target;
    if (range->gap_len) {
        size_t unit_len = unit_size(range);

        if (taken < range->gap_len)
            unit->gap = (struct ff_slice){range->gap + taken, range->gap_len - taken};
        frames = taken > range->gap_len ? taken - range->gap_len : 0;
        if (taken < unit_len && frames == 0 && unit_len > range->gap_len) {
            /* The whole first frame is still to come: as if cut at its first octet. */
            const struct segment *segment = s->cursor.segment;
            uint32_t from = (uint32_t)(s->cursor.byte - segment->first_byte);

            (void)cursor_advance(&s->cursor, &range->view, skip_publisher,
                                 unit_len - range->gap_len);
            unit->cut = (struct cursor_cut){.segment = range->target.segment,
                                            .bytes = segment->bytes + from,
                                            .len = unit_len - range->gap_len,
                                            .is_whole_frame = true};
        }
    }
    if (frames)
        unit->cut = cursor_advance(&s->cursor, &range->view, skip_publisher, frames);
    if (range->is_rated)
        note_rate(range, offset);
    link_note_progress(s, byte);
    /* Of this view: what another worker appended since is told of, and asked its rate, for itself.
     */
    return s->cursor.byte == range->view.head_byte;
}
