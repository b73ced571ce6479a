/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.h - the one answer to a request that becomes no WebSocket. The connection
 * ends with it. To HEAD it has the head of the answer to GET, and no content.
 */
#ifndef SESSION_REPLY_H
#define SESSION_REPLY_H

#include "broker/session/session.h"

struct reply {
    int status;
    const char *headers;      /* further ones, each with CRLF behind it, or "" */
    const char *content_type; /* without its charset, which is UTF-8 */
    struct ff_slice content;
};

void reply_send(struct session *session, const struct reply *reply);

/* One line of text that says what is wrong; it is logged. */
void reply_refuse(struct session *session, int status, const char *why);

#endif
