/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade.c - the HTTP part of a conversation: one request, which becomes a
 * WebSocket or gets one answer. What concerns the request is answered by a
 * status; what concerns the client's right to be here by a close code after the
 * upgrade, because browsers cannot read a status.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "broker/session/admission.h"
#include "broker/session/authority.h"
#include "broker/session/console.h"
#include "broker/session/forwarded.h"
#include "broker/session/origin.h"
#include "broker/session/query.h"
#include "broker/session/reply.h"
#include "broker/session/trace.h"
#include "protocol/base/mem.h"
#include "protocol/websocket/handshake.h"

enum {
    TEXT_MAX = 512,
    SHOWN_MAX = 128,       /* octets of a header that a text quotes */
    LONG_HEADS_SHARE = 16, /* of the memory there may be: what all half heads over 4 KiB may hold */
    LEANERS_SHARE = 8,     /* and what may be kept of messages that later ones lean on, */
    LEANER_OCTETS = 40960, /* so much of each client who may */
};

/* What a request asks for, and through whom. */
struct request {
    const struct ff_http_head *head;
    struct ff_slice path;
    struct site site;
    struct forwarded forwarded; /* if site.is_proxied */
};

/* Who the socket is connected to. False: it cannot be told, and is nobody to trust. */
static bool take_peer(const struct session *session, struct address *peer)
{
    *peer = (struct address){.len = sizeof(peer->storage)};
    return getpeername(conn_fd(&session->conn), (struct sockaddr *)&peer->storage, &peer->len) == 0;
}

/* Through whom a request came. False: it is not known. */
static bool take_way(const struct session *session, struct site *site, struct address *peer)
{
    const struct settings *settings = gateway_of(session)->settings;

    if (session->is_named) { /* by a proxy, which is known; its peer was judged then */
        *peer = (struct address){.len = 0};
        site->is_indirect = true;
        site->is_proxied = session->is_of_proxy;
        return true;
    }
    if (!take_peer(session, peer))
        return false;
    site->is_indirect = peer->storage.ss_family == AF_UNIX;
    site->is_proxied = address_is_listed(peer, settings->proxies.at, settings->proxies.count);
    return true;
}

/* What a trusted proxy says holds: for which site the request is, and by whom. */
static void take_forwarded(struct session *session, struct request *request)
{
    struct forwarded *forwarded = &request->forwarded;
    struct site *site = &request->site;
    struct address peer;

    if (!take_way(session, site, &peer) || !site->is_proxied)
        return;
    forwarded_read(forwarded, gateway_of(session)->settings, request->head);
    /* No page can make a browser send these with a WebSocket. */
    site->is_indirect |= forwarded->is_there;
    site->port = forwarded->port;
    site->scheme = forwarded->scheme;
    if (forwarded->host.at)
        site->host = forwarded->host;
    if (forwarded->has_client)
        trace_client(session, &forwarded->client);
    if (forwarded->has_client || !session->is_named)
        admission_count_address(session, forwarded->has_client ? &forwarded->client : &peer);
}

/*
 * A client whose messages lean on earlier ones costs memory for as long as it stays. All of
 * them have a share of what there is: who comes when it is used up is asked to forget.
 */
static bool may_lean(const struct session *session)
{
    const struct gateway *gateway = gateway_of(session);
    uint64_t share = session->conn.net->budget.max / LEANERS_SHARE / gateway->shared->workers;

    return gateway->lean_count < share / LEANER_OCTETS;
}

static void negotiate(struct session *session, const struct request *request,
                      struct ff_handshake *handshake)
{
    const struct settings *settings = gateway_of(session)->settings;
    struct ff_deflate_wishes wishes = {.server_bits = (uint8_t)gateway_of(session)->window_bits,
                                       .client_forgets = !may_lean(session)};

    if (settings->deflate)
        (void)ff_terms_choose(request->head, &wishes, &handshake->deflate);
}

static void switch_protocols(struct session *session, const struct request *request,
                             struct ff_handshake *handshake, bool is_echo)
{
    enum session_mode mode = is_echo                                         ? SESSION_ECHO
                             : handshake->subprotocol == FF_SUBPROTOCOL_NONE ? SESSION_PLAIN
                                                                             : SESSION_TYPED;
    enum log_kind kind =
        handshake->subprotocol == FF_SUBPROTOCOL_MSGPACK ? KIND_MSGPACK : KIND_JSON;
    struct ff_buf out;

    if (mode == SESSION_PLAIN && !query_take(session, request->head->target, &kind))
        return;
    negotiate(session, request, handshake);
    ff_buf_init(&out, TEXT_MAX);
    if (ff_handshake_write_answer(&out, handshake) || conn_send(&session->conn, out.data, out.len))
        conn_abort(&session->conn);
    else {
        trace_open(session, mode);
        session->conn.is_held = mode == SESSION_PLAIN; /* until it is subscribed */
        session_open(session, mode, kind, &handshake->deflate);
    }
    ff_buf_deinit(&out);
}

/* Where a WebSocket is: anywhere, or where the operator says. */
static bool is_endpoint(const struct settings *settings, struct ff_slice path)
{
    for (uint32_t i = 0; i < settings->paths.count; i++)
        if (ff_slice_is_equal(path, ff_slice_of(settings->paths.at[i])))
            return true;
    return settings->paths.count == 0;
}

static bool is_echo_path(const struct settings *settings, struct ff_slice path)
{
    return settings->echo_path[0] && ff_slice_is_equal(path, ff_slice_of(settings->echo_path));
}

/* 404, with the paths that are right. */
static void refuse_path(struct session *session)
{
    const struct text_list *paths = &gateway_of(session)->settings->paths;
    char why[TEXT_MAX] = "there is no WebSocket here: the path is ";
    size_t len = strlen(why);

    for (uint32_t i = 0; i < paths->count && len < sizeof(why); i++)
        len +=
            (size_t)snprintf(why + len, sizeof(why) - len, "%s%s", i ? " or " : "", paths->at[i]);
    reply_refuse(session, 404, why);
}

/* 403, with the entry that is missing: only what could be one, and is none yet, is suggested. */
static void refuse_origin(struct session *session, struct ff_slice origin)
{
    int shown = origin.len < SHOWN_MAX ? (int)origin.len : SHOWN_MAX;
    char text[SITE_TEXT_MAX];
    char entry[SITE_TEXT_MAX];
    char unused[SITE_WHY_MAX];
    char why[TEXT_MAX];

    if (ff_slice_is_equal(origin, FF_SLICE("null")) ||
        (site_read_origin(text, origin) && site_read_origin_entry(entry, text, unused)))
        (void)snprintf(
            why, sizeof(why),
            "the origin %.*s is not allowed: the option origins = {\"%s\"} would allow it", shown,
            origin.at, origin.len == 4 ? "null" : entry);
    else
        (void)snprintf(why, sizeof(why),
                       "the Origin \"%.*s\" is none: a scheme, a host, and a port if it is not the "
                       "scheme's own, for example https://app.example",
                       shown, origin.at);
    reply_refuse(session, 403, why);
}

static void refuse_host(struct session *session, struct ff_slice host)
{
    int shown = host.len < SHOWN_MAX ? (int)host.len : SHOWN_MAX;
    char text[SITE_TEXT_MAX];
    char entry[SITE_TEXT_MAX];
    char unused[SITE_WHY_MAX];
    char why[TEXT_MAX];

    if (site_read_host(text, host) && site_read_host_entry(entry, text, unused))
        (void)snprintf(why, sizeof(why),
                       "the host %.*s is not this broker's name while it listens on loopback "
                       "only: the option hosts = {\"%s\"} would allow it",
                       shown, host.at, entry);
    else
        (void)snprintf(why, sizeof(why), "the host %.*s is not this broker's name", shown, host.at);
    reply_refuse(session, 403, why);
}

static void upgrade(struct session *session, const struct request *request)
{
    const struct settings *settings = gateway_of(session)->settings;
    struct ff_handshake handshake;
    bool is_echo = is_echo_path(settings, request->path);

    if (!is_echo && !is_endpoint(settings, request->path))
        refuse_path(session);
    else if (!ff_handshake_check(request->head, &handshake))
        reply_refuse(session, handshake.status, handshake.why);
    else if (!origin_is_allowed(settings, handshake.origin, &request->site))
        refuse_origin(session, handshake.origin);
    else
        switch_protocols(session, request, &handshake, is_echo);
}

/* Is this an address of a WebSocket, that somebody looks at with a browser or curl? */
static bool is_known_endpoint(const struct settings *settings, struct ff_slice path)
{
    return is_echo_path(settings, path) ||
           (settings->paths.count ? is_endpoint(settings, path)
                                  : ff_slice_is_equal(path, FF_SLICE("/ws")));
}

static void serve(struct session *session, const struct request *request)
{
    struct ff_slice path = request->path;
    const struct console *console = gateway_of(session)->console;

    if (!session->is_head && !ff_slice_is_equal(request->head->method, FF_SLICE("GET")))
        reply_refuse(session, 405, "only GET and HEAD are answered here");
    else if (console && ff_slice_is_equal(path, FF_SLICE("/")))
        reply_send(session, &(struct reply){200, console->headers, "text/html", console->page});
    else if (console && ff_slice_is_equal(path, FF_SLICE("/favicon.ico")))
        reply_send(session, &(struct reply){200,
                                            "Cache-Control: max-age=86400\r\n"
                                            "X-Content-Type-Options: nosniff\r\n",
                                            "image/svg+xml", console->icon});
    else if (ff_slice_is_equal(path, FF_SLICE("/healthz")))
        reply_send(session, &(struct reply){200, "Cache-Control: no-store\r\n", "text/plain",
                                            FF_SLICE("ok\n")});
    else if (is_known_endpoint(gateway_of(session)->settings, path))
        reply_refuse(session, 426, "this is a WebSocket endpoint: connect with new WebSocket(url)");
    else
        reply_refuse(session, 404, "there is nothing here: / is the console, /ws the WebSocket");
}

/* Smuggling needs a body that two parsers see differently; nothing here takes one. */
static bool has_body(const struct ff_http_head *head)
{
    size_t lengths;
    const struct ff_http_header *length = ff_http_find(head, "Content-Length", &lengths);

    return ff_http_find(head, "Transfer-Encoding", NULL) || lengths > 1 ||
           (length && !ff_slice_is_equal(length->value, FF_SLICE("0")));
}

/*
 * Whom the request is for. A target in absolute form replaces Host, which HTTP/1.1 needs
 * all the same (RFC 9112, section 3.2); HTTP/1.0 may have none: `host->at` is NULL then.
 */
static bool take_host(const struct ff_http_head *head, struct ff_slice *host)
{
    struct authority authority;
    size_t count;
    const struct ff_http_header *header = ff_http_find(head, "Host", &count);

    *host = header ? header->value : (struct ff_slice){NULL, 0};
    if (count > 1 || (count == 0 && head->minor_version > 0))
        return false;
    if (head->authority.at)
        *host = head->authority;
    else if (host->len == 0 && head->minor_version == 0)
        *host = (struct ff_slice){NULL, 0};
    return !host->at || authority_parse(&authority, *host);
}

static void handle(struct session *session, const struct ff_http_head *head)
{
    struct request request = {.head = head, .path = ff_http_path(head->target)};
    struct site *site = &request.site;

    session->is_head = ff_slice_is_equal(head->method, FF_SLICE("HEAD"));
    if (has_body(head)) {
        reply_refuse(session, 400, "a request with a body is not taken here");
        return;
    }
    if (!take_host(head, &site->host)) {
        reply_refuse(session, 400, "exactly one Host header is needed, with a host and no more");
        return;
    }
    take_forwarded(session, &request);
    if (site->host.at && !host_is_allowed(gateway_of(session)->settings, site))
        refuse_host(session, site->host);
    else if (!session->is_head && ff_handshake_is_upgrade(head))
        upgrade(session, &request);
    else
        serve(session, &request);
}

static void answer(struct session *session, const struct ff_http_head *head)
{
    trace_request(session, ff_http_path(head->target));
    handle(session, head);
    trace_request_done(session);
}

/*
 * Half a head is kept until the rest comes. So many connections could hold half a long one
 * that there is no memory for those who talk: all that are over 4 KiB have a share of it.
 */
static bool may_keep(struct session *session, uint32_t octets)
{
    struct gateway *gateway = gateway_of(session);
    struct ff_budget *budget = &session->conn.net->budget;

    gateway->head_octets += octets - session->http.scanned;
    session->http.scanned = octets;
    return octets <= FF_BUDGET_SMALL ||
           (ff_budget_level(budget) < FF_MEMORY_FULL &&
            gateway->head_octets <= budget->max / LONG_HEADS_SHARE / gateway->shared->workers);
}

static void refuse_head(struct session *session, int status)
{
    uint32_t max_head = gateway_of(session)->settings->max_head;
    char why[TEXT_MAX];

    if (status == 431)
        (void)snprintf(why, sizeof(why), "at most %d headers, and %u bytes in all (max_head)",
                       (int)FF_HTTP_HEADERS_MAX, max_head);
    else if (status == 414)
        (void)snprintf(why, sizeof(why), "the request line is over %u bytes (max_head)", max_head);
    else
        (void)snprintf(why, sizeof(why), "this is not an HTTP/1.1 request");
    reply_refuse(session, status, why);
}

/* How a ClientHello begins (RFC 8446, 5.1): no request does. */
static bool is_tls(const uint8_t *bytes, size_t len)
{
    return len >= 3 && bytes[0] == 0x16 && bytes[1] == 0x03 && bytes[2] <= 0x04;
}

size_t upgrade_input(struct session *session, const uint8_t *bytes, size_t len)
{
    const char *text = (const char *)bytes;
    struct ff_http_head head = {.count = 0};
    size_t from = session->http.scanned;
    int size = ff_http_find_end(text, len, &from, gateway_of(session)->settings->max_head);

    if (is_tls(bytes, len)) {
        reply_refuse(session, 400,
                     "this is TLS, and the port is plain: use ws:// here, or wss:// with a "
                     "listener that has tls: before its address");
        return len;
    }
    if (size == 0 && may_keep(session, (uint32_t)from))
        return 0;
    session->is_head = len > 5 && memcmp(text, "HEAD ", 5) == 0;
    if (size == 0) {
        reply_refuse(session, 503, "the memory for heads over 4 KiB is used up: come back later");
    } else if (size < 0) {
        refuse_head(session, -size);
    } else {
        int status = ff_http_parse_request(&head, text, (size_t)size);

        if (status)
            refuse_head(session, -status);
        else
            answer(session, &head);
    }
    return session->mode == SESSION_HTTP ? len : (size_t)size;
}

void upgrade_late(struct session *session)
{
    reply_send(session, &(struct reply){408, "", "text/plain",
                                        FF_SLICE("no complete request came in time\n")});
}
