/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/rate.h"

#include "broker/topic/link.h"
#include "broker/topic/router.h"
#include "protocol/base/mem.h"

enum { LONGEST_WAIT_MS = 3600 * 1000 };

static double now_ms(const struct rate *rate)
{
    return (double)router_now_ms(rate->router);
}

static void set_timer(struct rate *rate, double at_ms)
{
    double wait = at_ms - now_ms(rate);

    if (wait > LONGEST_WAIT_MS) /* 1e-17 a second is a rate, too: it is looked at again then */
        wait = LONGEST_WAIT_MS;
    wheel_set(router_wheel(rate->router), &rate->timer, wait > 0 ? (uint64_t)wait + 1 : 1);
}

/* What was passed over is told even when nothing follows it. */
static void set_tell_timer(struct rate *rate)
{
    if (rate->skipped && !wheel_is_set(&rate->timer))
        set_timer(rate, (double)rate->told_ms + RATE_TELL_MS);
}

static void on_timer(struct wheel_timer *timer)
{
    struct rate *rate = FF_CONTAINER(timer, struct rate, timer);
    struct subscription *s = rate->subscription;

    bool is_waiting = s->zone == ZONE_TIMED && rate->per_second > 0 && !link_is_at_head(s);

    if (is_waiting && now_ms(rate) >= rate->due_ms) {
        router_ready(rate->router, s);
        return;
    }
    if (is_waiting)
        set_timer(rate, rate->due_ms);
    if (rate->skipped && rate_can_tell(rate)) {
        uint64_t skipped = rate->skipped;

        rate_told(rate);
        router_tell_skipped(rate->router, s, skipped); /* may end the session, and this */
        return;
    }
    set_tell_timer(rate);
}

enum ff_err rate_set(struct router *router, struct subscription *s, double per_second)
{
    struct rate *rate = s->rate;

    if (per_second < 0) {
        rate_free(s);
        return FF_OK;
    }
    if (!rate) {
        rate = ff_mem_zalloc(sizeof(*rate));
        if (!rate)
            return FF_ENOMEM;
        wheel_timer_init(&rate->timer, on_timer);
        rate->router = router;
        rate->subscription = s;
        s->rate = rate;
    }
    rate->per_second = per_second;
    rate->due_ms = now_ms(rate);
    if (per_second > 0 && rate->sent_ms > 0) /* a faster rate counts from the last message, too */
        rate->due_ms = rate->sent_ms + 1000.0 / per_second;
    return FF_OK;
}

void rate_free(struct subscription *s)
{
    if (!s->rate)
        return;
    wheel_stop(router_wheel(s->rate->router), &s->rate->timer);
    ff_mem_free(s->rate);
    s->rate = NULL;
}

bool rate_admit(struct subscription *s)
{
    struct rate *rate = s->rate;

    if (rate->per_second > 0 && now_ms(rate) >= rate->due_ms) {
        rate->due_ms = now_ms(rate); /* after a pause: the interval begins here */
        return true;
    }
    link_move(s, ZONE_TIMED);
    if (rate->per_second > 0)
        set_timer(rate, rate->due_ms);
    return false;
}

void rate_sent(struct subscription *s)
{
    struct rate *rate = s->rate;
    double interval;

    rate->sent_ms = now_ms(rate);
    if (rate->per_second <= 0)
        return;
    interval = 1000.0 / rate->per_second;
    /* By the interval, so that the ticks of a clock add up to no drift. */
    rate->due_ms += interval;
    if (rate->due_ms < now_ms(rate) - 2 * WHEEL_TICK_MS)
        rate->due_ms = now_ms(rate) + interval;
    wheel_stop(router_wheel(rate->router), &rate->timer);
    set_tell_timer(rate);
}

void rate_pass(struct rate *rate, uint64_t from, uint64_t to, uint64_t count)
{
    if (!count)
        return;
    if (!rate->skipped)
        rate->from = from;
    rate->to = to;
    rate->skipped += count;
}

void rate_note_gone(struct rate *rate, uint64_t count)
{
    rate->skipped += count;
    set_tell_timer(rate);
}

bool rate_can_tell(const struct rate *rate)
{
    return rate->told_ms == 0 || router_now_ms(rate->router) >= rate->told_ms + RATE_TELL_MS;
}

void rate_told(struct rate *rate)
{
    rate->skipped = 0;
    rate->told_ms = router_now_ms(rate->router);
}

/* Messages of the log up to the end of the frame at the cursor: a hole is one frame and several. */
static uint64_t find_end(const struct cursor *cursor)
{
    const struct segment *segment = cursor->segment;
    uint32_t at = (uint32_t)(cursor->byte - segment->first_byte);

    return segment->offset + segment_entry(segment, segment_find(segment, at))->passed;
}

uint64_t rate_take_skipped(struct subscription *s, uint64_t session_tag, bool keep_newest)
{
    struct log_view view = log_look(s->link->log);
    uint64_t before = s->cursor.offset;
    uint64_t skipped;
    struct cursor newest;

    if (cursor_is_before_log(&s->cursor) ||
        (subscription_is_recovering(s) && !cursor_is_behind_tail(&s->cursor, &view)))
        return 0;
    skipped = rate_catch_up(&s->cursor, &view);
    newest = s->cursor;
    /* Own messages that it does not want are no gap by themselves. */
    if (cursor_to_newest(&newest, &view, s->no_echo ? session_tag : 0))
        skipped += (keep_newest ? newest.offset : find_end(&newest)) - s->cursor.offset;
    if (keep_newest)
        s->cursor = newest;
    else
        cursor_to_head(&s->cursor, &view);
    rate_pass(s->rate, before, s->cursor.offset, skipped);
    skipped = s->rate->skipped;
    s->rate->skipped = 0;
    if (skipped)
        rate_told(s->rate);
    return skipped;
}

uint64_t rate_catch_up(struct cursor *cursor, const struct log_view *view)
{
    uint64_t before = cursor->offset;

    if (!cursor_is_behind_tail(cursor, view))
        return 0;
    cursor_to_tail(cursor, view);
    return cursor->offset - before;
}
