/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission.h - may a newcomer stay? max_connections, max_connections_per_address, memory.
 *
 * It is judged when the socket is accepted and again when a proxy's header names
 * another address, and told by close 1013 after the handshake, because browsers
 * cannot read a status. How many may be in their handshakes at once is the
 * gateway's to say (has_place).
 */
#ifndef SESSION_ADMISSION_H
#define SESSION_ADMISSION_H

#include "broker/session/session.h"

/* Whatever its address: is it one too many? */
enum refusal admission_check(const struct session *session);

/*
 * It is one more connection of this address, and of no other one that was counted before; a
 * trusted proxy's is not counted. Judges whether that is one too many.
 */
void admission_count_address(struct session *session, const struct address *address);

/* The handshake is done: a refused one is closed, with the limit's name and value. */
void admission_close_refused(struct session *session);

#endif
