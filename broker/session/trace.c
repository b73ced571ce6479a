/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/trace.h"

#include <stdio.h>
#include <sys/socket.h>

#include "broker/net/traffic.h"
#include "protocol/base/map.h"
#include "protocol/base/mem.h"

enum { NO_CLOSE_FRAME = 1006, NO_CLOSE_CODE = 1005, MS_A_TICK = 1000 / WHEEL_TICKS_A_SECOND };

struct trace {
    struct ff_map_node node;
    uint64_t tag;
    uint32_t began_at; /* tick */
    int code;          /* 0: none yet */
    char *peer;        /* NULL: the socket knows */
    char *path;
};

struct traces {
    struct ff_map map;     /* by tag */
    struct ff_slice asked; /* the path of the request that is being answered */
};

static bool is_of_tag(const void *arg, const struct ff_map_node *node)
{
    return FF_CONTAINER_CONST(node, struct trace, node)->tag == *(const uint64_t *)arg;
}

/* Tags are our own: nobody can make chains long. */
static uint32_t hash_of(uint64_t tag)
{
    return (uint32_t)(tag ^ tag >> 32) * 2654435761U;
}

static struct trace *find(const struct session *session)
{
    const struct traces *traces = gateway_of(session)->traces;
    struct ff_map_node *node =
        traces ? ff_map_find(&traces->map, hash_of(session->tag), is_of_tag, &session->tag) : NULL;

    return node ? FF_CONTAINER(node, struct trace, node) : NULL;
}

/* NULL: out of memory. */
static struct traces *get_traces(struct gateway *gateway)
{
    struct traces *traces = gateway->traces;

    if (traces)
        return traces;
    traces = ff_mem_zalloc(sizeof(*traces));
    if (traces && ff_map_init(&traces->map)) {
        ff_mem_free(traces);
        traces = NULL;
    }
    gateway->traces = traces;
    return traces;
}

void traces_free(struct gateway *gateway)
{
    struct traces *traces = gateway->traces;

    if (!traces)
        return;
    FF_CHECK(traces->map.count == 0);
    ff_map_deinit(&traces->map);
    ff_mem_free(traces);
    gateway->traces = NULL;
}

static const char *path_of(const struct trace *trace)
{
    return trace && trace->path ? trace->path : "";
}

/* What the kernel still knows of the peer. */
static void ask_peer(const struct session *session, char out[ADDRESS_TEXT_MAX])
{
    struct address peer = {.len = sizeof(peer.storage)};

    if (getpeername(conn_fd(&session->conn), (struct sockaddr *)&peer.storage, &peer.len))
        (void)snprintf(out, ADDRESS_TEXT_MAX, "gone");
    else if (peer.storage.ss_family == AF_UNIX)
        (void)snprintf(out, ADDRESS_TEXT_MAX, "unix");
    else
        address_text(&peer, true, out);
}

void trace_who(const struct session *session, struct trace_who *who)
{
    const struct trace *trace = find(session);

    (void)snprintf(who->session, sizeof(who->session), "%016llx",
                   (unsigned long long)session_id(session));
    if (trace && trace->peer)
        (void)snprintf(who->peer, sizeof(who->peer), "%s", trace->peer);
    else
        ask_peer(session, who->peer);
}

/* In HTTP it knows when it was accepted; of one that is traced only later this is when it began. */
static uint32_t began(const struct session *session)
{
    return session->mode == SESSION_HTTP ? session->http.accepted_at : net_tick(session->conn.net);
}

/* The session's trace; a new one if it has none. NULL: out of memory. */
static struct trace *get(struct session *session)
{
    struct traces *traces = get_traces(gateway_of(session));
    struct trace *trace = find(session);

    if (trace || !traces)
        return trace;
    trace = ff_mem_zalloc(sizeof(*trace));
    if (!trace)
        return NULL;
    trace->tag = session->tag;
    trace->began_at = began(session);
    ff_map_add(&traces->map, &trace->node, hash_of(trace->tag));
    return trace;
}

/* Keeps a copy in place of what is there; without memory that stays. */
static void keep_text(char **at, const char *text, size_t len)
{
    char *copy = ff_mem_dup(text, len);

    if (!copy)
        return;
    ff_mem_free(*at);
    *at = copy;
}

void trace_connect(struct session *session)
{
    char peer[ADDRESS_TEXT_MAX];
    struct trace *trace;

    if (!log_is_on(LOG_DEBUG))
        return;
    trace = get(session);
    ask_peer(session, peer);
    if (trace && !trace->peer)
        keep_text(&trace->peer, peer, strlen(peer)); /* the kernel forgets it before the end */
    LOG_SESSION(LOG_DEBUG, "connect", session, LOG_TEXT("tls", session->conn.tls ? "yes" : "no"));
}

void trace_request(struct session *session, struct ff_slice path)
{
    struct traces *traces = get_traces(gateway_of(session));
    struct trace *trace = log_is_on(LOG_DEBUG) ? get(session) : NULL;

    if (traces)
        traces->asked = path;
    if (trace)
        keep_text(&trace->path, path.at, path.len < TRACE_PATH_MAX ? path.len : TRACE_PATH_MAX);
}

void trace_client(struct session *session, const struct address *client)
{
    struct trace *trace = get(session);
    char peer[ADDRESS_TEXT_MAX];

    if (!trace)
        return;
    address_text(client, false, peer);
    keep_text(&trace->peer, peer, strlen(peer));
}

void trace_request_done(struct session *session)
{
    struct traces *traces = gateway_of(session)->traces;

    if (traces)
        traces->asked = (struct ff_slice){NULL, 0};
}

void trace_open(const struct session *session, enum session_mode mode)
{
    static const char *const modes[] = {[SESSION_HTTP] = "http",
                                        [SESSION_TYPED] = "typed",
                                        [SESSION_PLAIN] = "plain",
                                        [SESSION_ECHO] = "echo"};
    const struct trace *trace = find(session);
    const char *path = path_of(trace);

    if (mode == SESSION_PLAIN)
        LOG_SESSION(LOG_DEBUG, "open", session, LOG_TEXT("path", path),
                    LOG_TEXT("mode", modes[mode]), LOG_TEXT("topic", session->name.topic));
    else
        LOG_SESSION(LOG_DEBUG, "open", session, LOG_TEXT("path", path),
                    LOG_TEXT("mode", modes[mode]));
}

void trace_code(struct session *session, int code)
{
    struct trace *trace = find(session);

    if (trace && trace->code == 0)
        trace->code = code ? code : NO_CLOSE_CODE;
}

void trace_refused(struct session *session, int status, const char *why)
{
    const struct traces *traces = gateway_of(session)->traces;

    if (traces && traces->asked.at)
        LOG_SESSION(LOG_INFO, "request_refused", session, LOG_SLICE("path", traces->asked),
                    LOG_NUM("status", status), LOG_TEXT("why", why));
    else
        LOG_SESSION(LOG_INFO, "request_refused", session, LOG_NUM("status", status),
                    LOG_TEXT("why", why));
}

static void log_end_of(const struct session *session, const struct trace *trace)
{
    struct traffic traffic = traffic_of(conn_fd(&session->conn));
    uint32_t began_at = trace ? trace->began_at : began(session);
    uint64_t ms = (uint64_t)(net_tick(session->conn.net) - began_at) * MS_A_TICK;
    int code = trace && trace->code ? trace->code : NO_CLOSE_FRAME;

    if (!trace && session->mode != SESSION_HTTP) {
        /* It began before the level was debug: nobody knows when, or how it ended. */
        LOG_SESSION(LOG_DEBUG, "end", session, LOG_NUM("received", traffic.received),
                    LOG_NUM("sent", traffic.sent));
        return;
    }
    LOG_SESSION(LOG_DEBUG, "end", session, LOG_TEXT("path", path_of(trace)), LOG_NUM("code", code),
                LOG_NUM("ms", ms), LOG_NUM("received", traffic.received),
                LOG_NUM("sent", traffic.sent));
}

void trace_end(struct session *session)
{
    struct trace *trace = find(session);

    if (log_is_on(LOG_DEBUG))
        log_end_of(session, trace);
    if (!trace)
        return;
    ff_map_remove(&gateway_of(session)->traces->map, &trace->node);
    ff_mem_free(trace->peer);
    ff_mem_free(trace->path);
    ff_mem_free(trace);
}
