/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - who a connection is, in the log.
 *
 * Each line about a connection names its session as $SYS and WELCOME do, and its peer:
 * behind a trusted proxy the client that the proxy named. With the level debug a
 * connection has three lines: connect, open (or what its request was answered), end.
 *
 * What the socket cannot tell later (the client behind a proxy; for debug the peer, the
 * path and the close code) is kept beside the session, which itself does not grow: some
 * 150 octets, only for those connections. Without memory for it a line says less.
 */
#ifndef SESSION_TRACE_H
#define SESSION_TRACE_H

#include "broker/net/address.h"
#include "broker/net/logger.h"
#include "broker/session/session.h"

enum { TRACE_PATH_MAX = 128 };

struct trace_who {
    char session[17];
    char peer[ADDRESS_TEXT_MAX];
};

/* For LOG_TEXT(); asks the kernel where nothing is kept. */
void trace_who(const struct session *session, struct trace_who *who);

/* A line about a connection: `session`, `peer`, and what follows, one field at least. */
#define LOG_SESSION(log_level, event, about, ...)                              \
    do {                                                                       \
        if (log_is_on(log_level)) {                                            \
            struct trace_who who_;                                             \
                                                                               \
            trace_who((about), &who_);                                         \
            LOG_EVENT((log_level), (event), LOG_TEXT("session", who_.session), \
                      LOG_TEXT("peer", who_.peer), __VA_ARGS__);               \
        }                                                                      \
    } while (0)

/* A socket was accepted. */
void trace_connect(struct session *session);

/* Its request is there. The path is borrowed until it is done: a refusal meanwhile names it. */
void trace_request(struct session *session, struct ff_slice path);
void trace_request_done(struct session *session);

/* Whom a trusted proxy named. */
void trace_client(struct session *session, const struct address *client);

/* It becomes a WebSocket; in plain mode `name` is its topic. */
void trace_open(const struct session *session, enum session_mode mode);

/* The close code of either side, or the status that its request was answered with. */
void trace_code(struct session *session, int code);

/* Its request is refused, or was answered by a status. */
void trace_refused(struct session *session, int status, const char *why);

/* The socket is about to be closed. */
void trace_end(struct session *session);

/* What a gateway keeps. */
void traces_free(struct gateway *gateway);

#endif
