/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery.c - what logs owe a session, on its way into one sendmsg.
 *
 * `pending` is the list of the session's subscriptions that are behind. Plans
 * are made, sent and accounted for without anything between, so what belongs to them
 * is noted once for the worker: a range for each subscription in a plan.
 */
#include <stdio.h>

#include "broker/session/session.h"
#include "broker/session/trace.h"
#include "broker/topic/rate.h"
#include "protocol/base/mem.h"

enum {
    MAX_RANGES = 24,              /* subscriptions in one sendmsg */
    MORE_RANGES = 1024,           /* room for those of further plans, */
    MORE_GAPS = 64,               /* and for their GAPs */
    RANGE_MAX = 64 * 1024,        /* of one of them, so that it is fair between topics */
    COPY_MAX = FRAME_OWN_SEGMENT, /* a longer end of a frame is pinned where it is */
};

struct flush_ranges {
    uint32_t max_ranges;
    uint32_t max_gaps;
    uint32_t range_count;
    uint32_t gap_count;
    struct flush_range *ranges;
    char (*gaps)[GAP_MAX];
};

struct flush_ranges *flush_ranges_new(bool of_many_plans)
{
    uint32_t max_ranges = of_many_plans ? MAX_RANGES + MORE_RANGES : MAX_RANGES;
    uint32_t max_gaps = of_many_plans ? MAX_RANGES + MORE_GAPS : MAX_RANGES;
    struct flush_ranges *all = ff_mem_zalloc(sizeof(*all) + max_ranges * sizeof(*all->ranges) +
                                             max_gaps * sizeof(*all->gaps));

    if (!all)
        return NULL;
    all->max_ranges = max_ranges;
    all->max_gaps = max_gaps;
    all->ranges = (struct flush_range *)(all + 1);
    all->gaps = (char(*)[GAP_MAX])(all->ranges + max_ranges);
    return all;
}

/* At the head: nothing is owed until the next message. */
static void note_at_head(struct subscription *s)
{
    link_set_pending(s, NULL);
    if (s->zone != ZONE_ACTIVE)
        link_move(s, ZONE_ACTIVE);
}

static uint32_t max_buffered_of(const struct session *session, const struct subscription *s)
{
    return registry_max_buffered(&gateway_of(session)->router.registry, s->link->topic);
}

static void on_overrun(void *arg, struct subscription *s)
{
    struct session *session = s->owner;
    struct ff_slice name = subscription_name(s);

    (void)arg;
    LOG_SESSION(LOG_WARN, "slow_consumer_closed", session, LOG_SLICE("topic", name));
    session_close(session, FF_CLOSE_SLOW_CONSUMER, "over %s, %u bytes, of topic %.*s",
                  s->has_bound ? "buffered" : "max_buffered",
                  s->has_bound ? s->bound : max_buffered_of(session, s), (int)name.len, name.at);
}

void delivery_blocked(struct conn *conn)
{
    struct session *session = session_of(conn);

    for (struct ff_list *node = session->pending.next; node != &session->pending;
         node = node->next) {
        struct subscription *s = FF_CONTAINER(node, struct subscription, pending);

        link_move(s, subscription_is_rated(s) ? ZONE_TIMED : ZONE_WAITING);
        if (link_has_close_rule(s)) /* it is to be watched */
            router_touch(&gateway_of(session)->router, s);
    }
}

/* Is what it is sent next of the past? The next one may be: then it is asked again. */
static bool is_late(const struct session *session)
{
    return !ff_list_is_empty(&session->pending) &&
           subscription_is_recovering(
               FF_CONTAINER_CONST(session->pending.next, struct subscription, pending));
}

/* Adds what this subscription is owed. False: the session was closed. */
static bool collect_range(struct session *session, struct subscription *s, struct plan *plan)
{
    struct flush_ranges *all = gateway_of(session)->ranges;
    struct flush_range *range = &all->ranges[all->range_count];
    size_t room = plan->max_bytes - plan->bytes;

    FF_CHECK(all->range_count < all->max_ranges && all->gap_count < all->max_gaps);
    range->view = log_look(s->link->log);
    if (link_has_close_rule(s) &&
        subscription_is_too_slow(s, &range->view, max_buffered_of(session, s))) {
        on_overrun(gateway_of(session), s);
        return false;
    }
    if (subscription_is_overrun(s, &range->view) && !conn_send_queue_is_empty(&session->conn))
        return true;
    range->gap = all->gaps[all->gap_count];
    if (subscription_collect(s, session->tag, plan, room < RANGE_MAX ? room : RANGE_MAX, range)) {
        all->range_count++;
        all->gap_count += range->gap_len > 0;
    } else {
        note_at_head(s);
    }
    router_touch(&gateway_of(session)->router, s);
    return true;
}

void delivery_collect(struct conn *conn, struct plan *plan)
{
    struct session *session = session_of(conn);
    struct flush_ranges *all = gateway_of(session)->ranges;
    struct ff_list *node = session->pending.next;
    int own_count = plan->count;
    uint32_t gaps_before;

    if (conn->is_late) /* its past may have ended otherwise than by being sent */
        conn_set_late(conn, is_late(session));
    if (plan->is_first)
        all->range_count = all->gap_count = 0;
    plan->first_range = all->range_count;
    gaps_before = all->gap_count;
    while (node != &session->pending && all->range_count - plan->first_range < MAX_RANGES &&
           plan->count <= PLAN_IOVECS - 2 && plan->bytes < plan->max_bytes) {
        struct subscription *s = FF_CONTAINER(node, struct subscription, pending);

        node = node->next;
        if (!collect_range(session, s, plan)) {
            all->range_count = plan->first_range; /* nothing of this plan is sent */
            all->gap_count = gaps_before;
            plan->count = own_count;
            plan->bytes = plan->own;
            return;
        }
    }
    plan->range_count = all->range_count - plan->first_range;
    plan->is_last = all->max_ranges - all->range_count < MAX_RANGES ||
                    all->max_gaps - all->gap_count < MAX_RANGES;
}

/* Keeps what a full socket left of a frame; the connection is lost where that is impossible. */
static void keep_cut(struct session *session, struct subscription *s, const struct cut_unit *unit)
{
    struct ff_slice copies[2] = {unit->gap, {(const char *)unit->cut.bytes, unit->cut.len}};
    struct conn_pinned pinned = {.bytes = unit->cut.bytes,
                                 .len = unit->cut.len,
                                 .touch = pin_touch,
                                 .release = pin_release,
                                 .is_whole_frame = unit->cut.is_whole_frame};
    bool is_pinned = unit->cut.len > COPY_MAX;

    if (is_pinned) {
        struct pin_hold *hold;

        copies[1].len = 0;
        if (pin_take(&s->link->pins, unit->cut.segment, session, net_tick(session->conn.net),
                     &hold)) {
            conn_abort(&session->conn);
            return;
        }
        pinned.arg = hold;
    }
    if (conn_keep_cut(&session->conn, copies, is_pinned ? &pinned : NULL)) {
        if (is_pinned)
            pin_release(pinned.arg);
        conn_abort(&session->conn);
    }
}

/* Not all of a range was taken, or there is more behind it. False: the session is over. */
static bool account_range(struct session *session, struct flush_range *range, size_t *len)
{
    struct subscription *s = range->subscription;
    struct cut_unit unit = {.gap = {NULL, 0}};
    bool is_at_head = subscription_taken(range, session->tag, len, &unit);

    if (unit.gap.len || unit.cut.len) {
        keep_cut(session, s, &unit);
        if (!conn_is_open(&session->conn))
            return false;
    }
    if (is_at_head) {
        note_at_head(s);
    } else { /* the session's other topics first */
        link_set_pending(s, NULL);
        link_set_pending(s, &session->pending);
    }
    return true;
}

void delivery_taken(struct conn *conn, const struct plan *plan, size_t len)
{
    struct session *session = session_of(conn);
    struct flush_range *ranges = gateway_of(session)->ranges->ranges + plan->first_range;

    for (uint32_t i = 0; i < plan->range_count && len; i++) {
        if (subscription_took_all(&ranges[i], &len))
            note_at_head(ranges[i].subscription);
        else if (!account_range(session, &ranges[i], &len))
            return;
    }
    if (conn->is_late)
        conn_set_late(conn, is_late(session));
    if (!ff_list_is_empty(&session->pending))
        conn_mark(conn);
}

static bool on_ready(void *arg, struct subscription *s)
{
    struct session *session = s->owner;

    (void)arg;
    link_set_pending(s, &session->pending);
    if (session->conn.is_late || subscription_is_recovering(s)) /* rarely */
        conn_set_late(&session->conn, is_late(session));
    conn_mark(&session->conn);
    return !session->conn.is_blocked;
}

/* It has been idle longest of those that hold back what has left its log. */
static void on_evict(void *arg, void *owner)
{
    struct session *session = owner;

    (void)arg;
    LOG_SESSION(LOG_WARN, "pins_used_up", session, LOG_NUM("code", FF_CLOSE_SLOW_CONSUMER));
    if (conn_is_open(&session->conn) && conn_drop_frame(&session->conn))
        session_close(session, FF_CLOSE_SLOW_CONSUMER,
                      "too many stand in large messages that are no longer kept");
    else
        conn_abort(&session->conn);
}

void delivery_tell_skipped(struct session *session, struct subscription *s, uint64_t count)
{
    struct missed missed = {"rate", count, s->rate->from, s->rate->to};
    char gap[GAP_MAX];

    session_send(session, gap, subscription_write_gap(s, &missed, gap));
}

/* Many subscriptions may have something to tell at once: who has not taken what it is owed is told
 * later. */
static void on_skipped(void *arg, struct subscription *s, uint64_t count)
{
    struct session *session = s->owner;

    (void)arg;
    if (conn_outbox_bytes(&session->conn) > OUTBOX_PAUSE)
        conn_flush(&session->conn);
    if (!session_is_open(session))
        return;
    if (conn_outbox_bytes(&session->conn) > OUTBOX_PAUSE)
        rate_note_gone(s->rate, count);
    else
        delivery_tell_skipped(session, s, count);
}

const struct router_ops delivery_router_ops = {
    .ready = on_ready,
    .overrun = on_overrun,
    .evict = on_evict,
    .skipped = on_skipped,
};
