/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence.c - who else is there: the request PRESENCE, lists of members, and the user by which
 * a session is known to them. What is told later comes from a log, like messages.
 */
#include "broker/session/answers.h"
#include "broker/topic/bulletin.h"
#include "protocol/base/mem.h"

enum { LIST_MOST = 128 * 1024 /* octets of a list */ };

struct ff_slice session_user(const struct session *session)
{
    if (session->name_kind != NAME_USER)
        return (struct ff_slice){NULL, 0};
    return (struct ff_slice){session->name.user + 1, (unsigned char)session->name.user[0]};
}

bool session_set_user(struct session *session, struct ticket ticket, struct ff_slice user)
{
    char *copy;

    if (ff_slice_is_equal(user, session_user(session)))
        return true;
    if (session->has_subscribed) {
        session_error(session, ticket, FF_ERROR_NOT_ALLOWED,
                      "user: it is fixed from the first SUBSCRIBE on");
        return false;
    }
    copy = user.len ? ff_mem_alloc(user.len + 1) : NULL;
    if (user.len && !copy) {
        session_error(session, ticket, FF_ERROR_INTERNAL, "out of memory");
        return false;
    }
    if (copy) {
        copy[0] = (char)user.len;
        memcpy(copy + 1, user.at, user.len);
    }
    if (session->name_kind == NAME_USER)
        ff_mem_free(session->name.user);
    session->name_kind = copy ? NAME_USER : NAME_NONE;
    session->name.user = copy;
    return true;
}

/* One list, and what else may be owed, are no more than an outbox holds. */
struct engine_listing session_listing(const struct session *session)
{
    uint32_t most = (session->conn.net->outbox_max - OUTBOX_PAUSE) / 4 * 3;

    return (struct engine_listing){.encoding = session->encoding,
                                   .max_octets = most < LIST_MOST ? most : LIST_MOST};
}

uint32_t session_list_octets(const struct session *session, struct ticket ticket,
                             struct ff_slice name)
{
    return session_listing(session).max_octets + answer_to_subscribe(ticket, name);
}

bool session_has_presence(struct session *session, struct ticket ticket, struct ff_slice name)
{
    const struct topic_rule *rule = registry_rule(&gateway_of(session)->router.registry, name);

    if (!rule->has_presence || ff_topic_is_reserved(name)) {
        answers_error(session, ticket, name, FF_ERROR_NOT_ALLOWED,
                      "presence is off for this topic: a rule with presence = on turns it on");
        return false;
    }
    if (!bulletin_may_be(name)) {
        answers_error(session, ticket, name, FF_ERROR_BAD_CONTENT,
                      "presence is for names of up to %d octets", (int)BULLETIN_TOPIC_MAX);
        return false;
    }
    return true;
}

void session_write_members(struct ff_writer *w, struct ff_slice members, uint32_t count)
{
    ff_writer_raw(w, FF_FIELD_MEMBERS, members);
    ff_writer_integer(w, FF_FIELD_COUNT, count);
}

void session_on_members(struct session *session, struct ticket ticket, struct ff_slice name,
                        const struct engine_roll *roll)
{
    if (roll->err) {
        session_refuse_subscription(session, ticket, roll->err);
    } else if (ticket.has_id) {
        struct ff_writer w = session_begin_message(session, FF_TYPE_ACK);

        ff_writer_integer(&w, FF_FIELD_ID, ticket.id);
        ff_writer_string(&w, FF_FIELD_TOPIC, name);
        session_write_members(&w, roll->items, roll->count);
        session_end_message(session, &w);
    }
    answers_came(session, session_list_octets(session, ticket, name));
}

enum request_outcome session_presence(struct session *session, const struct ff_message *m)
{
    struct ticket ticket = session_ticket_of(session, m);
    struct ff_slice name = m->values[FF_FIELD_TOPIC].text;
    enum ff_topic_kind kind = ff_topic_kind(name);
    uint32_t octets;

    if (kind == FF_TOPIC_BAD) {
        session_error(session, ticket, FF_ERROR_BAD_CONTENT, "%s", ff_topic_fault(name));
        return REQUEST_DONE;
    }
    if (!answers_have_room(session, name))
        return REQUEST_DEFERRED;
    if (kind == FF_TOPIC_FILTER) {
        answers_error(session, ticket, name, FF_ERROR_BAD_CONTENT,
                      "presence is not for filters: it is asked for by a topic's name");
        return REQUEST_DONE;
    }
    if (!session_has_presence(session, ticket, name))
        return REQUEST_DONE;
    octets = session_list_octets(session, ticket, name);
    if (!answers_may_await(session, octets))
        return REQUEST_PAUSED;
    answers_await(session, octets);
    return answers_asked(
        session, octets,
        carrier_list(gateway_of(session)->carrier, name, session_listing(session), ticket));
}
