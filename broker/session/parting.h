/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parting.h - the last words of a session, which wait for its answers.
 *
 * Whoever ends a conversation in good order (the peer by a Close frame or the
 * end of its side, the broker by a close code, the drain), requests may be on
 * their way to other workers. What they asked for is done there, and a client
 * that is not told so does it again. So the session takes no more input, its
 * subscriptions end at once, and its close frame goes out behind the last
 * answer, or when `close_ms` are over. What it deferred (deferred.h) was not
 * done, and is dropped.
 *
 * Where there is nothing to wait for, and out of memory, it goes out at once.
 */
#ifndef SESSION_PARTING_H
#define SESSION_PARTING_H

#include "broker/session/session.h"

/* `frame`: a close frame; nothing, where the peer would not read one. */
void parting_begin(struct session *session, const void *frame, size_t len);

/* Its time is over, or nothing more can be answered: what waits goes out. */
void parting_end(struct session *session);

/* The connection is gone: what waited is freed. */
void parting_drop(struct session *session);

#endif
