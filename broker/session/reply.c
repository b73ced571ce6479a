/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/reply.h"

#include <stdio.h>

#include "broker/session/trace.h"
#include "protocol/base/utf8.h"
#include "protocol/websocket/http.h"

enum { REPLY_MAX = 256 * 1024, TEXT_MAX = 1024 };

void reply_send(struct session *session, const struct reply *reply)
{
    /* RFC 9110, 7.8: who names protocols in Upgrade names it in Connection, too. */
    const char *connection = reply->status == 426 ? "upgrade, close" : "close";
    struct ff_buf out;
    enum ff_err err;

    trace_code(session, reply->status);
    ff_buf_init(&out, REPLY_MAX);
    err = ff_buf_printf(&out,
                        "HTTP/1.1 %d %s\r\nContent-Type: %s; charset=utf-8\r\n"
                        "Content-Length: %zu\r\nConnection: %s\r\n%s\r\n",
                        reply->status, ff_http_phrase(reply->status), reply->content_type,
                        reply->content.len, connection, reply->headers);
    if (!err && !session->is_head)
        err = ff_buf_append(&out, reply->content.at, reply->content.len);
    if (err)
        conn_abort(&session->conn);
    else
        conn_finish(&session->conn, out.data, out.len);
    ff_buf_deinit(&out);
}

static const char *headers_of(int status)
{
    switch (status) {
    case 405:
        return "Allow: GET, HEAD\r\n";
    case 426:
        return "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n";
    default:
        return "";
    }
}

/* A text may quote what a peer sent, or be cut within a character: what it is sent is UTF-8. */
static void make_readable(char *text, size_t len)
{
    if (ff_utf8_is_valid(text, len))
        return;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= 0x80)
            text[i] = '?';
}

void reply_refuse(struct session *session, int status, const char *why)
{
    char text[TEXT_MAX];
    int len = snprintf(text, sizeof(text), "%s\n", why);
    struct reply reply = {.status = status, headers_of(status), "text/plain", {text, 0}};

    trace_refused(session, status, why);
    reply.content.len = len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1;
    make_readable(text, reply.content.len);
    reply_send(session, &reply);
}
