/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers.h - what a session answers, and what it has been asked and not answered.
 *
 * Requests about topics of other workers are answered later. Room for each
 * answer is set aside when the request is made (`session->awaited`, octets): so
 * much of the outbox is left for them that they never find it full. A session
 * that has set aside as much as it may is not read from (PAUSE_ANSWERS) until
 * half of it came. So who reads is never closed for what he asked, and who does
 * not is not read from any more.
 *
 * Answers about one name keep the order of the requests. What the session can
 * answer by itself while others are awaited has its turn at the name's owner
 * (carrier_await_turn), for which there must be room in his ring.
 */
#ifndef SESSION_ANSWERS_H
#define SESSION_ANSWERS_H

#include "broker/session/session.h"

/* The largest answer to a publish, and to a subscription without the name, whatever becomes of it.
 */
enum { ANSWER_TO_PUBLISH = 208, ANSWER_TO_SUBSCRIBE = 192 };

/*
 * The same to a subscription: a name's octets may be escaped, each by one more. What is missing
 * of the past that it asks for is told behind the ACK, by a GAP.
 */
static inline uint32_t answer_to_subscribe(struct ticket ticket, struct ff_slice name)
{
    uint32_t octets = ANSWER_TO_SUBSCRIBE + 2 * (uint32_t)name.len;

    return ticket.has_since ? 2 * octets : octets;
}

/* A request is about to be made whose answer has at most so many octets. */
void answers_await(struct session *session, uint32_t octets);

/*
 * The same for an answer that is large: may it be, with all that is awaited? If not, the request
 * is to be made again when that has come, and the session is not read from meanwhile.
 */
FF_MUST_CHECK bool answers_may_await(struct session *session, uint32_t octets);

/* The request was made: how it went on is `is_taken`, and perhaps it was answered. */
FF_MUST_CHECK enum request_outcome answers_asked(struct session *session, uint32_t octets,
                                                 bool is_taken);

/* So much was answered, and sent. */
void answers_came(struct session *session, uint32_t octets);

/*
 * Before a request about a name is done that the session itself answers: can
 * the answer have its turn? If not, the request is to be deferred.
 */
FF_MUST_CHECK bool answers_have_room(struct session *session, struct ff_slice name);

/*
 * Sends what was begun with session_begin_message() when all requests about the
 * name that were made before are answered. `s`: the subscription that it is
 * about, if that may still be asked for, else NULL.
 */
void answers_end_in_turn(struct session *session, struct ff_writer *w, struct ticket ticket,
                         struct ff_slice name, struct subscription *s);

/* An ERROR about a name, in turn. */
__attribute__((format(printf, 5, 6))) void answers_error(struct session *session,
                                                         struct ticket ticket, struct ff_slice name,
                                                         enum ff_error code, const char *format,
                                                         ...);

/* An answer's turn has come; `arg` is the gateway. */
void answers_on_turn(void *arg, struct ticket ticket, struct ff_slice frame, enum ff_err err);

#endif
