/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscribe.c - SUBSCRIBE and UNSUBSCRIBE: checks, limits, the change of one that
 * is there already, and the answers. How a new one gets its place in its logs is
 * the carrier's business (carrier/subscribing.h).
 */
#include <stdio.h>

#include "broker/session/answers.h"
#include "broker/session/deferred.h"
#include "broker/session/query.h"
#include "broker/session/session.h"
#include "broker/topic/bulletin.h"
#include "broker/topic/rate.h"
#include "protocol/base/mem.h"

static bool wants_presence(const struct ff_message *m)
{
    return m && ff_message_has(m, FF_FIELD_PRESENCE) && m->values[FF_FIELD_PRESENCE].flag;
}

struct subscription *session_find(const struct session *session, struct ff_slice name)
{
    return subscriptions_find(&session->subscriptions, &gateway_of(session)->router.registry.key,
                              name);
}

static void tell_skipped(struct session *session, struct subscription *s, bool keep_newest)
{
    uint64_t skipped;

    if (!s->rate || s->state == SUBSCRIPTION_REQUESTED)
        return;
    skipped = rate_take_skipped(s, session->tag, keep_newest);
    if (skipped)
        delivery_tell_skipped(session, s, skipped);
}

static void set_rules(struct subscription *s, const struct ff_message *m)
{
    if (ff_message_has(m, FF_FIELD_OVERFLOW))
        (void)overflow_find(m->values[FF_FIELD_OVERFLOW].text, &s->overflow);
    if (ff_message_has(m, FF_FIELD_ECHO))
        s->no_echo = !m->values[FF_FIELD_ECHO].flag;
    if (ff_message_has(m, FF_FIELD_BUFFERED)) {
        s->has_bound = true;
        s->bound = (uint32_t)m->values[FF_FIELD_BUFFERED].integer;
    }
}

/* What a zone of the link counts about its members depends on the rules: out, change, back. */
static void change_rules(struct subscription *s, const struct ff_message *m)
{
    enum link_zone zone = (enum link_zone)s->zone;

    if (s->state == SUBSCRIPTION_REQUESTED) {
        set_rules(s, m);
        return;
    }
    link_move(s, ZONE_ACTIVE);
    set_rules(s, m);
    link_move(s, zone);
}

/* One that waits for a full socket waits on as one with a rate does, or as one without. */
static enum ff_err set_rate(struct router *router, struct subscription *s, double per_second)
{
    bool is_waiting = s->zone == ZONE_WAITING && s->state != SUBSCRIPTION_REQUESTED;
    enum ff_err err;

    if (is_waiting)
        link_move(s, ZONE_ACTIVE);
    err = rate_set(router, s, per_second);
    if (is_waiting)
        link_move(s, subscription_is_rated(s) ? ZONE_TIMED : ZONE_WAITING);
    return err;
}

static enum ff_err change_rate(struct session *session, struct subscription *s, double per_second)
{
    struct router *router = &gateway_of(session)->router;
    bool was_paused = s->rate && s->rate->per_second <= 0;
    bool was_timed = s->zone == ZONE_TIMED;
    enum ff_err err;

    tell_skipped(session, s, true);
    if (!session_is_open(session))
        return FF_OK;
    err = set_rate(router, s, per_second);
    if (err || s->state == SUBSCRIPTION_REQUESTED)
        return err;
    if (per_second == 0) {
        link_set_pending(s, NULL);
        link_move(s, ZONE_TIMED);
    } else if (was_timed && (was_paused || per_second < 0)) {
        link_move(s, ZONE_ACTIVE); /* the newest goes at once, after its GAP */
        router_ready(router, s);
    } else if (was_timed) {
        (void)rate_admit(s);
    }
    return FF_OK;
}

/* Fields that are there change the subscription, the others stay as they are. */
static enum ff_err apply(struct session *session, struct subscription *s,
                         const struct ff_message *m)
{
    enum ff_err err = router_expand(&gateway_of(session)->router, s);

    if (err)
        return err;
    for (uint32_t i = 0; i < s->cursor_count; i++)
        change_rules(&s[i], m);
    if (ff_message_has(m, FF_FIELD_RATE) && !subscription_is_filter(s))
        err = change_rate(session, s, m->values[FF_FIELD_RATE].number);
    for (uint32_t i = 0; i < s->cursor_count; i++)
        if (s[i].state == SUBSCRIPTION_LINKED)
            router_touch(&gateway_of(session)->router, &s[i]);
    return err;
}

static bool is_latest(const struct ff_message *m)
{
    uint8_t rule = OVERFLOW_SKIP;

    return ff_message_has(m, FF_FIELD_OVERFLOW) &&
           overflow_find(m->values[FF_FIELD_OVERFLOW].text, &rule) && rule == OVERFLOW_LATEST;
}

static uint32_t find_max_buffered(const struct session *session, struct ff_slice name)
{
    const struct registry *registry = &gateway_of(session)->router.registry;
    uint32_t of_rule = registry_rule(registry, name)->max_buffered;

    return of_rule ? of_rule : registry->limits.max_buffered;
}

/* Is this valid name or filter something one can subscribe to? If not, the error is sent. */
static bool validate_subscribe(struct session *session, struct ticket ticket, struct ff_slice name,
                               const struct ff_message *m)
{
    const struct settings *settings = gateway_of(session)->settings;
    enum ff_topic_kind kind = ff_topic_kind(name);
    uint32_t max_buffered = find_max_buffered(session, name);

    if (kind == FF_TOPIC_FILTER &&
        (ff_message_has(m, FF_FIELD_SINCE) || wants_presence(m) ||
         (ff_message_has(m, FF_FIELD_RATE) && m->values[FF_FIELD_RATE].number != -1))) {
        answers_error(session, ticket, name, FF_ERROR_BAD_CONTENT,
                      "since, presence and rate are not for filters");
    } else if (kind == FF_TOPIC_FILTER && is_latest(m)) {
        answers_error(session, ticket, name, FF_ERROR_BAD_CONTENT,
                      "overflow latest is not for filters, where one topic would erase the others: "
                      "skip with a small buffered is");
    } else if (ff_message_has(m, FF_FIELD_BUFFERED) &&
               m->values[FF_FIELD_BUFFERED].integer > max_buffered) {
        answers_error(session, ticket, name, FF_ERROR_MALFORMED,
                      "buffered is 0 to max_buffered, which is %u here", max_buffered);
    } else if (ff_topic_is_reserved(name) && !settings->sys) {
        answers_error(session, ticket, name, FF_ERROR_NOT_ALLOWED,
                      "$SYS is off: the option sys = true turns it on");
    } else {
        return !wants_presence(m) || session_has_presence(session, ticket, name);
    }
    return false;
}

/* May it have one more? If not, the error is sent. */
static bool has_place(struct session *session, struct ticket ticket, struct ff_slice name)
{
    const struct settings *settings = gateway_of(session)->settings;

    if (session->subscriptions.count >= settings->max_subscriptions) {
        answers_error(session, ticket, name, FF_ERROR_TOO_MANY,
                      "max_subscriptions of a connection is %u", settings->max_subscriptions);
        return false;
    }
    if (ticket.is_filter &&
        session->subscriptions.filter_count >= settings->max_subscribed_filters) {
        answers_error(session, ticket, name, FF_ERROR_TOO_MANY,
                      "max_subscribed_filters of a connection is %u",
                      settings->max_subscribed_filters);
        return false;
    }
    if (session_is_memory_short(session)) {
        answers_error(session, ticket, name, FF_ERROR_TOO_MANY, "memory is limited to %llu bytes",
                      (unsigned long long)settings->max_memory);
        return false;
    }
    return true;
}

/* A new subscription, counted and in the session's list; NULL: the error is sent. */
static struct subscription *make(struct session *session, struct ticket ticket,
                                 struct ff_slice name, const struct ff_message *m)
{
    struct gateway *gateway = gateway_of(session);
    uint32_t cursors = carrier_cursor_count(gateway->carrier, ticket.is_filter);
    const struct topic_rule *rule = registry_rule(&gateway->router.registry, name);
    bool is_member = rule->has_presence && bulletin_may_be(name);
    struct subscription *s;
    enum ff_err err = FF_OK;

    if (!has_place(session, ticket, name))
        return NULL;
    s = ff_mem_zalloc(is_member ? sizeof(struct membership) : cursors * sizeof(*s));
    if (s && is_member) {
        s->is_member = true;
        membership_of(s)->news.owner = session;
    }
    for (uint32_t i = 0; s && i < (is_member ? 1 : cursors); i++) {
        s[i].owner = session;
        s[i].overflow = (uint8_t)rule->overflow;
        if (ticket.is_filter && s[i].overflow == OVERFLOW_LATEST)
            s[i].overflow = OVERFLOW_SKIP; /* one feed would erase the others */
        if (session_is_raw(session))
            s[i].overflow = OVERFLOW_CLOSE; /* it could not be told of a gap */
        if (m)
            set_rules(&s[i], m);
    }
    if (s && m && ff_message_has(m, FF_FIELD_RATE))
        err = rate_set(&gateway->router, s, m->values[FF_FIELD_RATE].number);
    if (!s || err) {
        answers_error(session, ticket, name, FF_ERROR_INTERNAL, "out of memory");
        ff_mem_free(s);
        return NULL;
    }
    subscriptions_add(&session->subscriptions, &gateway->router.registry.key, name,
                      ticket.is_filter, s);
    return s;
}

static void discard(struct session *session, struct subscription *s)
{
    if (s->state == SUBSCRIPTION_DETACHED) /* the session has just ended: it is freed with it */
        return;
    subscriptions_remove(&session->subscriptions, subscription_is_filter(s), s);
    carrier_unsubscribe(gateway_of(session)->carrier, s);
    ff_mem_free(s);
}

static struct ff_writer begin_ack(struct session *session, struct ticket ticket,
                                  struct ff_slice name)
{
    struct ff_writer w = session_begin_message(session, FF_TYPE_ACK);

    ff_writer_integer(&w, FF_FIELD_ID, ticket.id);
    ff_writer_string(&w, FF_FIELD_TOPIC, name);
    return w;
}

/* Of what the session did itself. `s`: a subscription that was changed, or NULL. */
static void acknowledge_in_turn(struct session *session, struct ticket ticket, struct ff_slice name,
                                struct subscription *s)
{
    struct ff_writer w;

    if (!ticket.has_id)
        return;
    w = begin_ack(session, ticket, name);
    answers_end_in_turn(session, &w, ticket, name, s);
}

/* It is as if it had never been. */
static void undo(struct session *session, struct ticket ticket, struct subscription *s)
{
    if (s->is_member) /* it may have asked for news before it was answered */
        carrier_stop_hearing(gateway_of(session)->carrier, membership_of(s));
    subscriptions_remove(&session->subscriptions, ticket.is_filter, s);
    rate_free(s);
    ff_mem_free(s);
}

/* A plain client has nothing but its topic. */
static void refuse_plain(struct session *session)
{
    session_close(session, FF_CLOSE_TRY_LATER,
                  "no place for this subscription: the error before says which limit");
}

void session_refuse_subscription(struct session *session, struct ticket ticket, enum ff_err err)
{
    const struct router_limits *limits = &gateway_of(session)->router.registry.limits;

    if (err == FF_ELIMIT)
        session_error(session, ticket, FF_ERROR_TOO_MANY,
                      ticket.is_filter ? "max_filters of the broker is %u"
                                       : "max_topics of the broker is %u",
                      ticket.is_filter ? limits->max_filters : limits->max_topics);
    else if (err == FF_ETIMEDOUT)
        session_error(session, ticket, FF_ERROR_TIMEOUT, "%s", ff_error_text(FF_ERROR_TIMEOUT));
    else if (err == FF_EAWAY)
        session_error(session, ticket, FF_ERROR_AWAY, "what keeps the messages is away");
    else
        session_error(session, ticket, FF_ERROR_INTERNAL, "out of memory");
}

/* What it asked for and cannot have any more: told before the first message. */
static void tell_missing(struct session *session, struct ff_slice name,
                         const struct engine_start *start)
{
    struct ff_position first = history_first(&start->from);
    struct gap gap = {.topic = name,
                      .cause = start->from.is_lost ? "lost" : "expired",
                      .epoch = first.epoch,
                      .offset = first.offset + 1};
    char frame[GAP_MAX];

    if (!start->from.is_lost && !start->from.missing)
        return;
    if (!start->from.is_lost) {
        gap.skipped = start->from.missing;
        gap.from = first.offset - start->from.missing + 1;
        gap.to = first.offset;
    }
    session_send(session, frame, kind_write_gap(session->kind, &gap, frame));
}

/* Its ACK and what belongs to it stand before its first message. */
static void acknowledge(struct session *session, struct ticket ticket, struct ff_slice name,
                        const struct engine_start *start)
{
    if (ticket.has_id) {
        struct ff_writer w = begin_ack(session, ticket, name);
        struct ff_position first = history_first(&start->from);

        if (first.epoch) {
            ff_writer_epoch(&w, FF_FIELD_EPOCH, first.epoch);
            ff_writer_integer(&w, FF_FIELD_OFFSET, first.offset);
        }
        if (start->has_recovery)
            ff_writer_bool(&w, FF_FIELD_RECOVERED, start->from.is_recovered);
        if (ticket.is_listed)
            session_write_members(&w, start->content, start->count);
        session_end_message(session, &w);
    }
    tell_missing(session, name, start);
}

/* Octets that were set aside for the answer. */
static uint32_t octets_for(const struct session *session, struct ticket ticket,
                           struct ff_slice name)
{
    return ticket.is_listed ? session_list_octets(session, ticket, name)
                            : answer_to_subscribe(ticket, name);
}

static void on_subscribed(void *arg, struct ticket ticket, struct subscription *s,
                          struct ff_slice name, const struct engine_start *start)
{
    struct session *session = gateway_find(arg, ticket);
    bool is_news = bulletin_is(name); /* of a member that heard nothing before */
    enum ff_err err = start->err;

    if (!session) /* it went while the carrier was asked, and unsubscribed */
        return;
    conn_let_go(&session->conn);
    if (is_news)
        name = bulletin_topic(name);
    if (!err)
        acknowledge(session, ticket, name, start);
    if (err)
        session_refuse_subscription(session, ticket, err);
    if (err && s && !is_news) {
        if (session->name_kind == NAME_SUBSCRIPTION && s == session->name.subscription)
            refuse_plain(session);
        undo(session, ticket, s);
    }
    answers_came(session, octets_for(session, ticket, name));
}

/* A new one. */
static enum request_outcome ask(struct session *session, struct ticket ticket, struct ff_slice name,
                                const struct ff_message *m, const struct ff_since *since)
{
    struct engine_subscription what = {
        .name = name,
        .is_filter = ticket.is_filter,
        /* Messages through a filter differ by it, and are compressed for nobody. */
        .kind = ticket.is_filter ? log_kinds[session->kind].plain : session->kind,
        .hears = wants_presence(m),
        .member = {.session = session_id(session), .user = session_user(session)},
        .listing = session_listing(session)};
    struct subscription *s;
    uint32_t octets;
    bool is_taken;

    ticket.is_listed = what.hears;
    if (since) {
        what.has_since = ticket.has_since = true;
        what.since = *since;
    }
    octets = octets_for(session, ticket, name);
    if (what.hears && !answers_may_await(session, octets))
        return REQUEST_PAUSED;
    s = make(session, ticket, name, m);
    if (!s)
        return REQUEST_DONE;
    session->has_subscribed = true;
    what.joins = s->is_member;
    answers_await(session, octets);
    is_taken = carrier_subscribe(gateway_of(session)->carrier, s, &what, ticket);
    if (!is_taken)
        undo(session, ticket, s);
    return answers_asked(session, octets, is_taken);
}

/* Who is a member already wants to hear of the others, from now on: or who they are, once more. */
static enum request_outcome ask_news(struct session *session, struct ticket ticket,
                                     struct ff_slice name, struct membership *member)
{
    struct carrier *carrier = gateway_of(session)->carrier;
    struct engine_subscription what = {.kind = kind_of(session->encoding),
                                       .member = {.serial = carrier_serial(member)},
                                       .listing = session_listing(session)};
    uint32_t octets = session_list_octets(session, ticket, name);
    char text[FF_TOPIC_MAX];
    bool is_taken;

    ticket.is_listed = true;
    what.name = bulletin_name(name, text);
    answers_await(session, octets);
    carrier_keep_hearing(member);
    if (member->news.state == SUBSCRIPTION_DETACHED)
        is_taken = carrier_subscribe(carrier, &member->news, &what, ticket);
    else
        is_taken = carrier_list(carrier, name, what.listing, ticket);
    return answers_asked(session, octets, is_taken);
}

/* The changed subscription is answered, if what was asked of its presence needs no more. */
static enum request_outcome change_presence(struct session *session, struct ticket ticket,
                                            struct subscription *s, const struct ff_message *m)
{
    struct ff_slice name = m->values[FF_FIELD_TOPIC].text;

    if (wants_presence(m))
        return ask_news(session, ticket, name, membership_of(s));
    if (s->is_member && ff_message_has(m, FF_FIELD_PRESENCE))
        carrier_stop_hearing(gateway_of(session)->carrier, membership_of(s));
    acknowledge_in_turn(session, ticket, name, s);
    return REQUEST_DONE;
}

/* One that is there already. */
static enum request_outcome change(struct session *session, struct ticket ticket,
                                   struct subscription *s, const struct ff_message *m)
{
    struct ff_slice name = m->values[FF_FIELD_TOPIC].text;

    if (ff_message_has(m, FF_FIELD_SINCE))
        answers_error(session, ticket, name, FF_ERROR_MALFORMED,
                      "since is for a new subscription: unsubscribe first");
    else if (!validate_subscribe(session, ticket, name, m))
        return REQUEST_DONE;
    else if (wants_presence(m) && !s->is_member)
        answers_error(session, ticket, name, FF_ERROR_NOT_ALLOWED,
                      "presence came to this topic after the subscription: unsubscribe first");
    else if (wants_presence(m) &&
             !answers_may_await(session, session_list_octets(session, ticket, name)))
        return REQUEST_PAUSED;
    else if (apply(session, s, m))
        answers_error(session, ticket, name, FF_ERROR_INTERNAL, "out of memory");
    else
        return change_presence(session, ticket, s, m);
    return REQUEST_DONE;
}

enum request_outcome session_subscribe(struct session *session, const struct ff_message *m)
{
    struct ticket ticket = session_ticket_of(session, m);
    struct ff_slice name = m->values[FF_FIELD_TOPIC].text;
    enum ff_topic_kind kind = ff_topic_kind(name);
    struct subscription *s;

    if (kind == FF_TOPIC_BAD) {
        session_error(session, ticket, FF_ERROR_BAD_CONTENT, "%s", ff_topic_fault(name));
        return REQUEST_DONE;
    }
    if (!answers_have_room(session, name))
        return REQUEST_DEFERRED;
    ticket.is_filter = kind == FF_TOPIC_FILTER;
    s = session_find(session, name);
    if (s)
        return change(session, ticket, s, m);
    if (validate_subscribe(session, ticket, name, m))
        return ask(session, ticket, name, m, ff_message_has(m, FF_FIELD_SINCE) ? &m->since : NULL);
    return REQUEST_DONE;
}

struct ff_slice session_plain_topic(const struct session *session)
{
    return session->name_kind == NAME_SUBSCRIPTION ? subscription_name(session->name.subscription)
                                                   : ff_slice_of(session->name.topic);
}

/* A plain client leaves its own topic: it goes on publishing there. */
static bool keep_plain_text(struct session *session, const struct subscription *s)
{
    struct ff_slice name;
    char *copy;

    if (session->name_kind != NAME_SUBSCRIPTION || s != session->name.subscription)
        return true;
    name = session_plain_topic(session);
    copy = ff_mem_dup(name.at, name.len);
    if (!copy) {
        session_close(session, FF_CLOSE_INTERNAL, "out of memory");
        return false;
    }
    session->name.topic = copy;
    session->name_kind = NAME_TOPIC;
    return true;
}

enum request_outcome session_unsubscribe(struct session *session, const struct ff_message *m)
{
    struct ticket ticket = session_ticket_of(session, m);
    struct ff_slice name = m->values[FF_FIELD_TOPIC].text;
    struct subscription *s;

    if (ff_topic_kind(name) == FF_TOPIC_BAD) {
        session_error(session, ticket, FF_ERROR_BAD_CONTENT, "%s", ff_topic_fault(name));
        return REQUEST_DONE;
    }
    if (!answers_have_room(session, name))
        return REQUEST_DEFERRED;
    s = session_find(session, name);
    if (s && session->mode == SESSION_PLAIN && !keep_plain_text(session, s))
        return REQUEST_DONE;
    if (s) {
        tell_skipped(session, s, false);
        discard(session, s);
    }
    acknowledge_in_turn(session, ticket, name, NULL);
    return REQUEST_DONE;
}

void session_leave_all(struct session *session)
{
    struct subscription *s = NULL;

    while ((s = subscriptions_next(&session->subscriptions, s)))
        if (s->state != SUBSCRIPTION_DETACHED) /* else it was refused, and is just being freed */
            carrier_unsubscribe(gateway_of(session)->carrier, s);
}

void session_free_all(struct session *session)
{
    struct subscription *s = subscriptions_next(&session->subscriptions, NULL);

    while (s) {
        struct subscription *next = subscriptions_next(&session->subscriptions, s);

        ff_mem_free(s);
        s = next;
    }
    subscriptions_deinit(&session->subscriptions);
}

enum request_outcome session_subscribe_plain(struct session *session)
{
    struct ff_slice name = session_plain_topic(session);
    struct ticket ticket = session_ticket(session);
    struct subscription *s;
    struct ff_since since;
    bool has_since;

    if (ff_topic_is_reserved(name) && !gateway_of(session)->settings->sys) {
        session_close(session, FF_CLOSE_NOT_ALLOWED,
                      "$SYS is off: the option sys = true turns it on");
        return REQUEST_DONE;
    }
    ticket.is_filter = ff_topic_kind(name) == FF_TOPIC_FILTER;
    has_since = query_since(session, &since);
    ticket.has_id = has_since && !session_is_raw(session); /* it is answered with id 0 */
    if (ask(session, ticket, name, NULL, has_since ? &since : NULL) == REQUEST_DEFERRED)
        return REQUEST_DEFERRED;
    s = session_find(session, name);
    if (s) { /* the name stands in the topic now: ten thousand copies of "lobby" are not needed */
        ff_mem_free(session->name.topic);
        session->name.subscription = s;
        session->name_kind = NAME_SUBSCRIPTION;
    } else {
        refuse_plain(session);
    }
    return REQUEST_DONE;
}

static void on_room(void *arg, uint32_t queue)
{
    deferred_retry(arg, queue);
}

const struct carrier_events session_carrier_events = {
    .published = session_on_published,
    .subscribed = on_subscribed,
    .listed = session_on_listed,
    .turn_came = answers_on_turn,
    .room = on_room,
};
