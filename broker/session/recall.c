/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recall.c - HISTORY: what was said in a topic, as a list. A list may be larger than an
 * outbox: there is one at a time, and who has not taken it is not read from.
 */
#include "broker/session/answers.h"

enum {
    LIST_DEFAULT = 100,                 /* messages */
    LIST_MOST = CONN_LARGE_MOST - 2048, /* octets: the rest of the ACK stands beside them */
    LIST_SHORT = 16 * 1024,             /* where memory is short */
};

/* What one may be; false: the error is sent. */
static bool read_recall(struct session *session, struct ticket ticket, struct ff_slice name,
                        const struct ff_message *m, struct recall *recall)
{
    uint64_t limit =
        ff_message_has(m, FF_FIELD_LIMIT) ? m->values[FF_FIELD_LIMIT].integer : LIST_DEFAULT;

    *recall = (struct recall){.has_since = ff_message_has(m, FF_FIELD_SINCE),
                              .is_reverse = ff_message_has(m, FF_FIELD_REVERSE) &&
                                            m->values[FF_FIELD_REVERSE].flag,
                              .since = m->since,
                              .limit = (uint32_t)(limit < RECALL_LIMIT ? limit : RECALL_LIMIT)};
    if (limit >= 1 && limit <= RECALL_LIMIT)
        return true;
    answers_error(session, ticket, name, FF_ERROR_MALFORMED, "limit is 1 to %d messages",
                  (int)RECALL_LIMIT);
    return false;
}

static const char no_history[] = "this topic keeps no history: a rule with history = N turns it on";

/* Is it a name whose messages may be kept? If not, the error is sent. */
static bool may_have_history(struct session *session, struct ticket ticket, struct ff_slice name)
{
    if (ff_topic_kind(name) == FF_TOPIC_FILTER)
        answers_error(session, ticket, name, FF_ERROR_BAD_CONTENT,
                      "history is not for filters: it is asked for by a topic's name");
    else if (ff_topic_is_reserved(name))
        answers_error(session, ticket, name, FF_ERROR_NOT_FOUND, "%s", no_history);
    else
        return true;
    return false;
}

static uint32_t answer_octets(struct ticket ticket, struct ff_slice name)
{
    return LIST_MOST + answer_to_subscribe(ticket, name);
}

enum request_outcome session_recall(struct session *session, const struct ff_message *m)
{
    struct ticket ticket = session_ticket_of(session, m);
    struct ff_slice name = m->values[FF_FIELD_TOPIC].text;
    struct engine_listing listing = {.encoding = session->encoding, .of_messages = true};
    uint32_t octets = answer_octets(ticket, name);

    ticket.is_recall = true;
    if (ff_topic_kind(name) == FF_TOPIC_BAD) {
        session_error(session, ticket, FF_ERROR_BAD_CONTENT, "%s", ff_topic_fault(name));
        return REQUEST_DONE;
    }
    if (!answers_have_room(session, name))
        return REQUEST_DEFERRED;
    if (!may_have_history(session, ticket, name) ||
        !read_recall(session, ticket, name, m, &listing.recall))
        return REQUEST_DONE;
    if (!answers_may_await(session, octets))
        return REQUEST_PAUSED;
    listing.max_octets =
        ff_budget_level(&session->conn.net->budget) == FF_MEMORY_FREE ? LIST_MOST : LIST_SHORT;
    answers_await(session, octets);
    return answers_asked(session, octets,
                         carrier_list(gateway_of(session)->carrier, name, listing, ticket));
}

static void refuse(struct session *session, struct ticket ticket, enum ff_err err)
{
    if (err == FF_ENONE)
        session_error(session, ticket, FF_ERROR_NOT_FOUND, "%s", no_history);
    else if (err == FF_EGONE)
        session_error(session, ticket, FF_ERROR_POSITION_GONE,
                      "since is of another epoch, or what came after it is not all kept any more");
    else if (err == FF_ETOOBIG)
        session_error(session, ticket, FF_ERROR_TOO_BIG,
                      "the next message alone is too large for an answer: SUBSCRIBE with since");
    else
        session_refuse_subscription(session, ticket, err);
}

static void on_messages(struct session *session, struct ticket ticket, struct ff_slice name,
                        const struct engine_roll *roll)
{
    struct ff_writer w;

    if (roll->err)
        refuse(session, ticket, roll->err);
    if (!roll->err && ticket.has_id) {
        w = session_begin_message(session, FF_TYPE_ACK);
        ff_writer_integer(&w, FF_FIELD_ID, ticket.id);
        ff_writer_string(&w, FF_FIELD_TOPIC, name);
        if (roll->epoch)
            ff_writer_epoch(&w, FF_FIELD_EPOCH, roll->epoch);
        ff_writer_raw(&w, FF_FIELD_MESSAGES, roll->items);
        if (roll->has_more)
            ff_writer_bool(&w, FF_FIELD_MORE, true);
        session_end_large_message(session, &w);
    }
    answers_came(session, answer_octets(ticket, name));
}

void session_on_listed(void *arg, struct ticket ticket, struct ff_slice name,
                       const struct engine_roll *roll)
{
    struct session *session = gateway_find(arg, ticket);

    if (session && ticket.is_recall)
        on_messages(session, ticket, name, roll);
    else if (session)
        session_on_members(session, ticket, name, roll);
}
