/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deferred.h - messages of a session that wait, because something has no room.
 *
 * Two things can be full. A worker sends requests for other workers' topics
 * through a ring of 256 KiB to each: when an owner's ring has no room, the
 * request answers REQUEST_DEFERRED; nothing was done. And a batch can be owed
 * more answers than the outbox takes, or ask more than may be unanswered
 * (answers.h): then the connection is paused in the middle of it.
 *
 *   1. deferred_handle() copies the unread end of the frame. A session that
 *      lacks room in a ring is not read from (PAUSE_DEFERRED) and waits in the
 *      queue of that owner, or of those who need all of them (filters);
 *   2. the carrier calls events->room(), which is deferred_retry(): the queue's
 *      first requests are made again, in order, until one has no room. A full
 *      owner holds up nobody who waits for another one;
 *   3. each session has one request of its made, which goes for sure, or the
 *      queue stops there: O(1) for each. The rest of its frame goes on when the
 *      connection has its turn to be read: deferred_go_on();
 *   4. a session that ends drops what it keeps, in O(1).
 *
 * A session's requests are therefore taken in the order in which they were
 * sent, always. Bound: one message a session (max_message). Out of memory:
 * close 1011. Not to be confused with slow readers, who are the business of
 * subscription.h.
 */
#ifndef SESSION_DEFERRED_H
#define SESSION_DEFERRED_H

#include "broker/session/session.h"
#include "protocol/message/decode.h"

/* Handles the messages of a frame; those that have to wait are kept. */
void deferred_handle(struct session *session, struct ff_decoder *decoder);

/* A plain client's: a message, or, where there are no bytes (.at NULL), its own subscription. */
void deferred_handle_plain(struct session *session, enum ff_opcode opcode, struct ff_slice bytes);

/*
 * A session that keeps something (conn.is_kept) is not paused any more. True:
 * nothing is left, and what stands behind it may be handled.
 */
FF_MUST_CHECK bool deferred_go_on(struct session *session);

/* There is room for those in a queue of the carrier. */
void deferred_retry(struct gateway *gateway, uint32_t queue);

/* The session is over: what it keeps is freed. */
void deferred_drop(struct session *session);

#endif
