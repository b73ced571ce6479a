/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/session.h"

static const char *find_later_field(const struct ff_message *m)
{
    if (ff_message_has(m, FF_FIELD_KEY))
        return "key: idempotent publishing is not in this version";
    if (ff_message_has(m, FF_FIELD_RETAIN) && m->values[FF_FIELD_RETAIN].flag)
        return "retain is not in this version";
    return NULL;
}

bool session_can_publish(struct session *session, struct ticket ticket, struct ff_slice topic)
{
    enum ff_topic_kind kind = ff_topic_kind(topic);

    if (kind != FF_TOPIC_NAME)
        session_error(session, ticket, FF_ERROR_BAD_CONTENT, "%s",
                      kind == FF_TOPIC_FILTER
                          ? "a filter is for listening: publish to a topic's name"
                          : ff_topic_fault(topic));
    else if (ff_topic_is_reserved(topic))
        session_error(session, ticket, FF_ERROR_NOT_ALLOWED,
                      "names beginning with $ belong to the broker");
    else
        return true;
    return false;
}

enum request_outcome session_publish(struct session *session, const struct ff_message *m)
{
    struct ticket ticket = session_ticket_of(session, m);
    const char *later = find_later_field(m);
    struct publication p = {
        .topic = m->values[FF_FIELD_TOPIC].text, .payload = m->payload, .tag = session->tag};

    if (!session_can_publish(session, ticket, p.topic))
        return REQUEST_DONE;
    if (later) {
        session_error(session, ticket, FF_ERROR_NOT_FOUND, "%s", later);
        return REQUEST_DONE;
    }
    return engine_publish(gateway_of(session)->engine, &p, ticket) ? REQUEST_DONE
                                                                   : REQUEST_DEFERRED;
}

static void refuse(struct session *session, struct ticket ticket, enum ff_err err)
{
    if (err == FF_ELIMIT)
        session_error(session, ticket, FF_ERROR_TOO_BIG, "over the topic's own max_message");
    else if (err == FF_EINVAL)
        session_error(session, ticket, FF_ERROR_BAD_CONTENT,
                      "the payload is too large in the other encoding");
    else
        session_error(session, ticket, FF_ERROR_AWAY, "memory is limited to %llu bytes",
                      (unsigned long long)gateway_of(session)->settings->max_memory);
}

void session_on_published(void *arg, struct ticket ticket, const struct engine_receipt *receipt)
{
    struct session *session = gateway_find(arg, ticket);
    struct ff_writer w;

    if (!session)
        return;
    if (receipt->err) {
        refuse(session, ticket, receipt->err);
        return;
    }
    if (!ticket.has_id)
        return;
    w = session_begin_message(session, FF_TYPE_ACK);
    ff_writer_integer(&w, FF_FIELD_ID, ticket.id);
    ff_writer_integer(&w, FF_FIELD_RECEIVERS, receipt->receipt.receivers);
    ff_writer_integer(&w, FF_FIELD_BUFFERED, receipt->receipt.buffered);
    ff_writer_string(&w, FF_FIELD_STORED, FF_SLICE("memory"));
    session_end_message(session, &w);
}
