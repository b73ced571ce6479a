/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stall.h - a request that could not be taken waits, and so does all behind it.
 *
 * When the ring to a topic's owner is full, the connection is not read from
 * until there is room; what was read of its batch but not decoded is kept in
 * memory of its own, at most one message of each connection.
 */
#ifndef SESSION_STALL_H
#define SESSION_STALL_H

#include "broker/session/session.h"
#include "protocol/message/decode.h"

/*
 * Handles what a decoder still has. True: all of it, or the session ended.
 * False: a request was not taken, and the decoder stands before it.
 */
FF_MUST_CHECK bool stall_run(struct session *session, struct ff_decoder *decoder);

/* Keeps what `decoder` still has. */
void stall_keep(struct session *session, const struct ff_decoder *decoder);

/* A plain client's: a message, or, where there are no bytes (.at NULL), its own subscription. */
void stall_keep_plain(struct session *session, enum ff_opcode opcode, struct ff_slice bytes);

/* There is room: all that wait try again, who waits longest first. */
void stall_resume(struct gateway *gateway);

/* The session is over. */
void stall_drop(struct session *session);

#endif
