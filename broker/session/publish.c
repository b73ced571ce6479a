/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/answers.h"

static enum request_outcome refuse_in_turn(struct session *session, struct ticket ticket,
                                           struct ff_slice topic, enum ff_error code,
                                           const char *reason)
{
    if (!answers_have_room(session, topic))
        return REQUEST_DEFERRED;
    answers_error(session, ticket, topic, code, "%s", reason);
    return REQUEST_DONE;
}

enum request_outcome session_ask_publish(struct session *session, struct ticket ticket,
                                         const struct publication *asked)
{
    struct publication p = *asked;
    struct ff_slice topic = p.topic;

    p.publisher = session->tag;
    switch (ff_topic_kind(topic)) {
    case FF_TOPIC_BAD:
        session_error(session, ticket, FF_ERROR_BAD_CONTENT, "%s", ff_topic_fault(topic));
        return REQUEST_DONE;
    case FF_TOPIC_FILTER:
        return refuse_in_turn(session, ticket, topic, FF_ERROR_BAD_CONTENT,
                              "a filter is for listening: publish to a topic's name");
    case FF_TOPIC_NAME:
        break;
    }
    if (ff_topic_is_reserved(topic))
        return refuse_in_turn(session, ticket, topic, FF_ERROR_NOT_ALLOWED,
                              "names beginning with $ belong to the broker");
    answers_await(session, ANSWER_TO_PUBLISH);
    return answers_asked(session, ANSWER_TO_PUBLISH,
                         carrier_publish(gateway_of(session)->carrier, &p, ticket));
}

enum request_outcome session_publish(struct session *session, const struct ff_message *m)
{
    struct publication p = {.topic = m->values[FF_FIELD_TOPIC].text,
                            .payload = m->payload,
                            .key = ff_message_text(m, FF_FIELD_KEY),
                            .retain = ff_message_has(m, FF_FIELD_RETAIN) &&
                                      m->values[FF_FIELD_RETAIN].flag};

    return session_ask_publish(session, session_ticket_of(session, m), &p);
}

static void refuse(struct session *session, struct ticket ticket, enum ff_err err)
{
    const struct settings *settings = gateway_of(session)->settings;

    if (err == FF_ETOOBIG)
        session_error(session, ticket, FF_ERROR_TOO_BIG, "over the topic's own max_message");
    else if (err == FF_EINVAL)
        session_error(session, ticket, FF_ERROR_BAD_CONTENT,
                      "the payload is too large in the other encoding");
    else if (err == FF_EOTHER)
        session_error(session, ticket, FF_ERROR_BAD_CONTENT,
                      "key: it came with another payload before");
    else if (err == FF_ELIMIT)
        session_error(session, ticket, FF_ERROR_TOO_MANY,
                      "max_retained of the broker is %u, in half of history_memory, %llu bytes",
                      settings->max_retained, (unsigned long long)settings->history_memory);
    else if (err == FF_ETIMEDOUT)
        session_error(session, ticket, FF_ERROR_TIMEOUT, "%s", ff_error_text(FF_ERROR_TIMEOUT));
    else if (err == FF_EAWAY)
        session_error(session, ticket, FF_ERROR_AWAY, "what keeps the messages is away");
    else
        session_error(session, ticket, FF_ERROR_AWAY, "memory is limited to %llu bytes",
                      (unsigned long long)settings->max_memory);
}

static void acknowledge(struct session *session, struct ticket ticket,
                        const struct engine_receipt *receipt)
{
    struct ff_writer w = session_begin_message(session, FF_TYPE_ACK);

    ff_writer_integer(&w, FF_FIELD_ID, ticket.id);
    if (receipt->receipt.position.epoch) {
        ff_writer_epoch(&w, FF_FIELD_EPOCH, receipt->receipt.position.epoch);
        ff_writer_integer(&w, FF_FIELD_OFFSET, receipt->receipt.position.offset);
    }
    ff_writer_integer(&w, FF_FIELD_RECEIVERS, receipt->receipt.receivers);
    ff_writer_integer(&w, FF_FIELD_BUFFERED, receipt->receipt.buffered);
    if (receipt->is_duplicate)
        ff_writer_bool(&w, FF_FIELD_DUPLICATE, true);
    ff_writer_string(&w, FF_FIELD_STORED,
                     receipt->stored == STORED_REDIS ? FF_SLICE("redis") : FF_SLICE("memory"));
    session_end_message(session, &w);
}

void session_on_published(void *arg, struct ticket ticket, const struct engine_receipt *receipt,
                          uint32_t count)
{
    struct session *session = gateway_find(arg, ticket);

    if (!session)
        return;
    if (receipt->err)
        refuse(session, ticket, receipt->err);
    else if (ticket.has_id)
        acknowledge(session, ticket, receipt);
    if (conn_outbox_bytes(&session->conn) > OUTBOX_PAUSE) /* answers of a whole ring may follow */
        conn_flush(&session->conn);
    answers_came(session, count * ANSWER_TO_PUBLISH);
}
