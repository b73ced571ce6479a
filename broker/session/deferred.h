/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deferred.h - requests that wait because their topic's owner has no room.
 *
 * A worker sends requests for other workers' topics through a ring of 256 KiB.
 * When the ring is full:
 *
 *   1. the command answers REQUEST_DEFERRED; nothing was done;
 *   2. deferred_keep() copies the unread end of the message and pauses reading
 *      (PAUSE_DEFERRED), so a session defers at most one message and the peer's
 *      own window stops it;
 *   3. the engine calls events->room(), which is deferred_retry(): first come,
 *      first served, until eight in a row found the ring full again;
 *   4. a request that was taken resumes its connection; a session that ends
 *      drops its request.
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

/* Keeps what `decoder` still has; its next message is the one that was not taken. */
void deferred_keep(struct session *session, const struct ff_decoder *decoder);

/* A plain client's: a message, or, where there are no bytes (.at NULL), its own subscription. */
void deferred_keep_plain(struct session *session, enum ff_opcode opcode, struct ff_slice bytes);

/* There is room: all deferred requests are made again, the oldest first. */
void deferred_retry(struct gateway *gateway);

/* The session is over: what it deferred is freed. */
void deferred_drop(struct session *session);

#endif
