/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade.c - the HTTP part of a conversation: one request, which becomes a
 * WebSocket or gets one answer. What concerns the request is answered by a
 * status; what concerns the client's right to be here by a close code after the
 * upgrade, because browsers cannot read a status.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "broker/net/logger.h"
#include "broker/session/admission.h"
#include "broker/session/console.h"
#include "broker/session/origin.h"
#include "broker/session/session.h"
#include "protocol/base/mem.h"
#include "protocol/message/topic.h"
#include "protocol/websocket/handshake.h"

enum { ANSWER_MAX = 256 * 1024, TEXT_MAX = 512 };

void http_answer(struct session *session, int status, const char *headers, const char *content_type,
                 struct ff_slice body)
{
    struct ff_buf out;
    enum ff_err err;

    ff_buf_init(&out, ANSWER_MAX);
    err = ff_buf_printf(&out,
                        "HTTP/1.1 %d %s\r\nContent-Type: %s; charset=utf-8\r\n"
                        "Content-Length: %zu\r\nConnection: close\r\n%s\r\n",
                        status, ff_http_phrase(status), content_type, body.len, headers);
    if (!err)
        err = ff_buf_append(&out, body.at, body.len);
    if (err)
        conn_abort(&session->conn);
    else
        conn_finish(&session->conn, out.data, out.len);
    ff_buf_deinit(&out);
}

/* One line of text saying what is wrong. */
static void refuse(struct session *session, int status, const char *why)
{
    char text[TEXT_MAX];
    int len = snprintf(text, sizeof(text), "%s\n", why);

    LOG_EVENT(LOG_INFO, "request_refused", LOG_NUM("status", status), LOG_TEXT("why", why));
    if (len >= (int)sizeof(text))
        len = (int)sizeof(text) - 1;
    http_answer(session, status,
                status == 426   ? "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
                : status == 405 ? "Allow: GET\r\n"
                                : "",
                "text/plain", (struct ff_slice){text, (size_t)len});
}

/* Goes back through one X-Forwarded-For as long as who is named last is a proxy of ours. */
static bool walk_back(const struct settings *settings, struct ff_slice list, struct address *peer)
{
    while (list.at && address_is_listed(peer, settings->proxies.at, settings->proxies.count)) {
        const char *comma = list.len ? memrchr(list.at, ',', list.len) : NULL;
        size_t from = comma ? (size_t)(comma - list.at) + 1 : 0;
        struct ff_slice last = {list.at + from, list.len - from};

        if (address_parse_ip(peer, ff_slice_trim(last)))
            return false;
        list = comma ? (struct ff_slice){list.at, from - 1} : (struct ff_slice){NULL, 0};
    }
    return true;
}

/*
 * Behind a trusted proxy the client is whom X-Forwarded-For names last, proxies apart. Where it
 * names nobody that can be read, nobody is counted.
 */
static void recount_address(struct session *session, const struct ff_http_head *head)
{
    const struct settings *settings = gateway_of(session)->settings;
    struct address peer = {.len = sizeof(peer.storage)};
    struct address client;
    bool is_readable = true;

    if (settings->proxies.count == 0 ||
        getpeername(conn_fd(&session->conn), (struct sockaddr *)&peer.storage, &peer.len) < 0 ||
        !address_is_listed(&peer, settings->proxies.at, settings->proxies.count))
        return;
    client = peer;
    for (size_t i = head->count; i > 0 && is_readable; i--) {
        const struct ff_http_header *header = &head->headers[i - 1];

        if (ff_slice_is_equal_nocase(header->name, FF_SLICE("X-Forwarded-For")))
            is_readable = walk_back(settings, header->value, &client);
    }
    admission_count_address(session, is_readable ? &client : &peer);
}

/* The topic of a plain client: from the query, else the configured one. Owned by the session. */
static bool take_plain_topic(struct session *session, struct ff_slice target)
{
    const char *configured = gateway_of(session)->settings->plain_topic;
    struct ff_slice query = ff_http_query(target, "topic");
    long len;

    if (configured[0] == '\0') {
        refuse(session, 400,
               "plain mode is off here (plain_topic is empty): offer the subprotocol "
               "fanfare.v1.json or fanfare.v1.msgpack");
        return false;
    }
    if (!query.at)
        query = ff_slice_of(configured);
    session->plain_text = ff_mem_dup(query.at, query.len);
    session->has_plain_text = session->plain_text != NULL;
    if (!session->plain_text) {
        conn_abort(&session->conn);
        return false;
    }
    len = query.at == configured ? (long)query.len
                                 : ff_http_percent_decode(session->plain_text, query);
    if (len >= 0)
        session->plain_text[len] = '\0';
    if (len < 0 ||
        ff_topic_kind((struct ff_slice){session->plain_text, (size_t)len}) == FF_TOPIC_BAD) {
        refuse(session, 400, "the topic in the query is no valid name or filter");
        return false;
    }
    return true;
}

static void switch_protocols(struct session *session, const struct ff_http_head *head,
                             const struct ff_handshake *handshake, bool is_echo)
{
    enum session_mode mode = is_echo                                         ? SESSION_ECHO
                             : handshake->subprotocol == FF_SUBPROTOCOL_NONE ? SESSION_PLAIN
                                                                             : SESSION_TYPED;
    struct ff_buf out;

    if (mode == SESSION_PLAIN && !take_plain_topic(session, head->target))
        return;
    recount_address(session, head);
    ff_buf_init(&out, TEXT_MAX);
    if (ff_handshake_write_answer(&out, handshake) || conn_send(&session->conn, out.data, out.len))
        conn_abort(&session->conn);
    else
        session_open(session, mode,
                     handshake->subprotocol == FF_SUBPROTOCOL_MSGPACK ? FF_MSGPACK : FF_JSON);
    ff_buf_deinit(&out);
}

static void upgrade(struct session *session, const struct ff_http_head *head, struct ff_slice path)
{
    const struct settings *settings = gateway_of(session)->settings;
    struct ff_handshake handshake;
    bool is_echo =
        settings->echo_path[0] && ff_slice_is_equal(path, ff_slice_of(settings->echo_path));
    char why[TEXT_MAX];

    if (!is_echo && !ff_slice_is_equal(path, FF_SLICE("/ws")) &&
        !ff_slice_is_equal(path, FF_SLICE("/"))) {
        refuse(session, 404, "there is no WebSocket here: the path is /ws");
    } else if (!ff_handshake_check(head, &handshake)) {
        refuse(session, handshake.status, handshake.why);
    } else if (!origin_is_allowed(settings, handshake.origin, handshake.host)) {
        (void)snprintf(
            why, sizeof(why),
            "the origin %.*s is not allowed: the option origins = {\"%.*s\"} would "
            "allow it",
            (int)(handshake.origin.len < 128 ? handshake.origin.len : 128), handshake.origin.at,
            (int)(handshake.origin.len < 128 ? handshake.origin.len : 128), handshake.origin.at);
        refuse(session, 403, why);
    } else {
        switch_protocols(session, head, &handshake, is_echo);
    }
}

static void serve(struct session *session, const struct ff_http_head *head, struct ff_slice path)
{
    const struct console *console = gateway_of(session)->console;

    if (!ff_slice_is_equal(head->method, FF_SLICE("GET")))
        refuse(session, 405, "only GET is answered here");
    else if (console && ff_slice_is_equal(path, FF_SLICE("/")))
        http_answer(session, 200, console->headers, "text/html", console->page);
    else if (ff_slice_is_equal(path, FF_SLICE("/healthz")))
        http_answer(session, 200, "Cache-Control: no-store\r\n", "text/plain", FF_SLICE("ok\n"));
    else if (ff_slice_is_equal(path, FF_SLICE("/ws")))
        refuse(session, 426, "this is a WebSocket endpoint: connect with new WebSocket(url)");
    else
        refuse(session, 404, "there is nothing here: / is the console, /ws the WebSocket");
}

/* Smuggling needs a body that two parsers see differently; nothing here takes one. */
static bool has_body(const struct ff_http_head *head)
{
    size_t lengths;
    const struct ff_http_header *length = ff_http_find(head, "Content-Length", &lengths);

    return ff_http_find(head, "Transfer-Encoding", NULL) || lengths > 1 ||
           (length && !ff_slice_is_equal(length->value, FF_SLICE("0")));
}

static void handle(struct session *session, const struct ff_http_head *head)
{
    struct ff_slice path = ff_http_path(head->target);
    size_t hosts;
    const struct ff_http_header *host = ff_http_find(head, "Host", &hosts);

    if (has_body(head)) {
        refuse(session, 400, "a request with a body is not taken here");
    } else if (hosts != 1 || host->value.len == 0) {
        refuse(session, 400, "exactly one Host header is needed");
    } else if (!host_is_allowed(gateway_of(session)->settings, host->value)) {
        char why[TEXT_MAX];
        int len = host->value.len < 128 ? (int)host->value.len : 128;

        (void)snprintf(why, sizeof(why),
                       "the host %.*s is not this broker's name while it listens on loopback "
                       "only: the option hosts = {\"%.*s\"} would allow it",
                       len, host->value.at, len, host->value.at);
        refuse(session, 403, why);
    } else if (ff_handshake_is_upgrade(head)) {
        upgrade(session, head, path);
    } else {
        serve(session, head, path);
    }
}

size_t upgrade_input(struct session *session, uint8_t *bytes, size_t len)
{
    struct ff_http_head head;
    size_t from = session->scanned;
    int size = ff_http_find_end((const char *)bytes, len, &from);
    int status;

    if (size == 0) {
        session->scanned = (uint32_t)from;
        return 0;
    }
    status = size < 0 ? -size : -ff_http_parse_request(&head, (const char *)bytes, (size_t)size);
    if (size < 0 || status) {
        refuse(session, status,
               status == 431   ? "at most 64 headers, 4 KiB a line and 8 KiB in all"
               : status == 414 ? "the request line is over 4 KiB"
                               : "this is not an HTTP/1.1 request");
        return len;
    }
    handle(session, &head);
    return session->mode == SESSION_HTTP ? len : (size_t)size;
}

void upgrade_late(struct session *session)
{
    http_answer(session, 408, "", "text/plain", FF_SLICE("no complete request came in time\n"));
}
