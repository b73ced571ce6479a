/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/hub.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "bench/load/payload.h"
#include "clients/c/url.h"
#include "protocol/base/mem.h"
#include "protocol/websocket/inflater.h"

enum {
    IN_SIZE = 4 * 1024 * 1024,
    EVENTS = 512,
    OUT_MAX = 1 << 30,
    REST_MAX = IN_SIZE,
    SMALL_REST = 4096, /* a larger one is given back when it is empty */
};

static const char key[] = "ZmFuZmFyZS1iZW5jaC1rZQ==";

uint64_t clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void find_dialect(struct hub *hub, const char *name)
{
    for (const struct dialect *const *d = dialects; *d; d++)
        if (strcmp((*d)->name, name) == 0)
            hub->dialect = *d;
    if (!hub->dialect)
        die("there is no dialect %s: fanfare-bench --help lists them", name);
}

static void find_address(struct hub *hub, const char *text)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    struct ff_url url;

    if (ff_url_parse(&url, text))
        die("%s is no ws:// or wss:// URL", text);
    if (getaddrinfo(url.host, url.port, &hints, &found))
        die("cannot find %s", url.host);
    memcpy(&hub->address, found->ai_addr, found->ai_addrlen);
    hub->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    (void)snprintf(hub->host, sizeof(hub->host), "%s", url.authority);
    (void)snprintf(hub->target, sizeof(hub->target), "%s", url.target);
    if (url.is_tls)
        hub->ctx = SSL_CTX_new(TLS_client_method());
    if (url.is_tls && !hub->ctx)
        die("no TLS here");
    if (url.is_tls)
        SSL_CTX_set_mode(hub->ctx,
                         SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

void hub_init(struct hub *hub, const struct options *options, const struct hub_ops *ops, void *arg)
{
    *hub = (struct hub){.ops = ops, .arg = arg, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    find_dialect(hub, options->dialect);
    find_address(hub, options->url);
    hub->is_deflating = options->is_deflating;
    ff_buf_init(&hub->packed, IN_SIZE);
    ff_buf_init(&hub->inflated, IN_SIZE);
    if (hub->is_deflating) {
        hub->inflater = ff_inflater_new(15);
        payload_use_records();
        if (!hub->inflater)
            die("out of memory");
    }
    ff_buf_init(&hub->scratch, OUT_MAX);
    hub->in = ff_mem_alloc(IN_SIZE);
    if (!hub->in || hub->epoll < 0)
        die("out of memory");
}

void hub_deinit(struct hub *hub)
{
    ff_buf_deinit(&hub->scratch);
    ff_buf_deinit(&hub->packed);
    ff_buf_deinit(&hub->inflated);
    ff_inflater_free(hub->inflater);
    ff_mem_free(hub->in);
    SSL_CTX_free(hub->ctx);
    (void)close(hub->epoll);
}

static void watch(struct hub *hub, struct peer *peer, int how)
{
    struct epoll_event event = {.data.ptr = peer};
    bool is_connecting = peer->state == PEER_CONNECTING;

    event.events = (peer->is_stalled || is_connecting ? 0U : (uint32_t)EPOLLIN) |
                   (peer->is_writing || is_connecting ? (uint32_t)EPOLLOUT : 0U);
    if (epoll_ctl(hub->epoll, how, peer->fd, &event))
        die("epoll: %s", strerror(errno));
}

/* One address has some 28,000 ports towards a server. */
static void choose_source(struct hub *hub, int fd)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + hub->source)};
    int on = 1;

    if (!hub->source)
        return;
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
        die("cannot connect from 127.0.0.%u: %s", 1 + hub->source, strerror(errno));
}

static void write_request(struct hub *hub, struct peer *peer, struct ff_slice topic)
{
    const struct dialect *d = hub->dialect;
    const char *path = peer->is_publisher ? d->publish_path : d->listen_path;
    const char *rest = path ? strstr(path, "%s") : NULL;
    char text[1024];
    int len = path ? snprintf(text, sizeof(text), "GET %.*s%.*s%s", rest ? (int)(rest - path) : 0,
                              path, (int)topic.len, topic.at, rest ? rest + 2 : path)
                   : snprintf(text, sizeof(text), "GET %s", hub->target);

    put(&peer->out, text, (size_t)len);
    len =
        snprintf(text, sizeof(text),
                 " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s\r\n",
                 hub->host, key, d->subprotocol ? "Sec-WebSocket-Protocol: " : "",
                 d->subprotocol ? d->subprotocol : "", d->subprotocol ? "\r\n" : "",
                 hub->is_deflating && !peer->is_publisher
                     ? "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                       "client_no_context_takeover\r\n"
                     : "");
    put(&peer->out, text, (size_t)len);
}

void hub_connect(struct hub *hub, struct peer *peer, struct ff_slice topic)
{
    int on = 1;

    ff_buf_init(&peer->rest, REST_MAX);
    ff_buf_init(&peer->out, OUT_MAX);
    peer->fd = socket(hub->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peer->fd < 0)
        die("socket: %s%s", strerror(errno),
            errno == EMFILE ? ". A larger --processes spreads them" : "");
    choose_source(hub, peer->fd);
    (void)setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(peer->fd, (struct sockaddr *)&hub->address, hub->address_len) &&
        errno != EINPROGRESS)
        die("cannot connect to %s: %s", hub->host, strerror(errno));
    if (hub->ctx) {
        peer->ssl = SSL_new(hub->ctx);
        if (!peer->ssl || !SSL_set_fd(peer->ssl, peer->fd))
            die("out of memory");
        SSL_set_connect_state(peer->ssl);
    }
    peer->state = PEER_CONNECTING;
    write_request(hub, peer, topic);
    watch(hub, peer, EPOLL_CTL_ADD);
}

void hub_close(struct hub *hub, struct peer *peer)
{
    (void)hub;
    if (peer->state == PEER_GONE)
        return;
    peer->state = PEER_GONE;
    SSL_free(peer->ssl);
    peer->ssl = NULL;
    (void)close(peer->fd);
    ff_buf_deinit(&peer->rest);
    ff_buf_deinit(&peer->out);
}

static void lose(struct hub *hub, struct peer *peer, const char *why)
{
    if (peer->state == PEER_GONE)
        return;
    if (!hub->ops->gone)
        die("a connection was lost: %s", why);
    hub->ops->gone(hub->arg, peer, why);
    hub_close(hub, peer);
}

void hub_stall(struct hub *hub, struct peer *peer, bool is_stalled)
{
    peer->is_stalled = is_stalled;
    watch(hub, peer, EPOLL_CTL_MOD);
}

/* -1: later; 0: the end. */
static long receive(struct peer *peer, void *out, size_t size)
{
    long got;

    if (!peer->ssl) {
        got = recv(peer->fd, out, size, 0);
        return got < 0 && errno != EAGAIN ? 0 : got;
    }
    got = SSL_read(peer->ssl, out, (int)size);
    if (got > 0)
        return got;
    got = SSL_get_error(peer->ssl, (int)got);
    return got == SSL_ERROR_WANT_READ || got == SSL_ERROR_WANT_WRITE ? -1 : 0;
}

static long transmit(struct peer *peer, const void *bytes, size_t len)
{
    long sent;

    if (!peer->ssl) {
        sent = send(peer->fd, bytes, len, MSG_NOSIGNAL);
        return sent < 0 && errno != EAGAIN ? 0 : sent;
    }
    sent = SSL_write(peer->ssl, bytes, (int)(len < IN_SIZE ? len : IN_SIZE));
    if (sent > 0)
        return sent;
    sent = SSL_get_error(peer->ssl, (int)sent);
    return sent == SSL_ERROR_WANT_READ || sent == SSL_ERROR_WANT_WRITE ? -1 : 0;
}

void hub_flush(struct hub *hub, struct peer *peer)
{
    size_t at = 0;
    bool was_writing = peer->is_writing;

    if (peer->state < PEER_UPGRADING || peer->state == PEER_GONE)
        return;
    while (at < peer->out.len) {
        long sent = transmit(peer, peer->out.data + at, peer->out.len - at);

        if (sent == 0) {
            lose(hub, peer, "the server closed the connection");
            return;
        }
        if (sent < 0)
            break;
        at += (size_t)sent;
    }
    ff_buf_consume(&peer->out, at);
    peer->is_writing = peer->out.len > 0;
    if (peer->is_writing != was_writing)
        watch(hub, peer, EPOLL_CTL_MOD);
}

/* A frame around what was written to `out` from `from` on; the mask is zero, so that it costs us
 * nothing. */
static void put_frame(struct ff_buf *out, enum ff_opcode opcode, struct ff_slice payload)
{
    static const uint8_t mask[4];
    uint8_t head[FF_FRAME_HEAD_MAX];

    put(out, head, ff_frame_write_masked_head(head, opcode, payload.len, mask));
    put(out, payload.at, payload.len);
}

static void put_scratch(struct hub *hub, struct peer *peer)
{
    put_frame(&peer->out, hub->dialect->opcode, ff_buf_slice(&hub->scratch));
    hub->scratch.len = 0;
}

void hub_subscribe(struct hub *hub, struct peer *peer, struct ff_slice topic)
{
    if (!hub->dialect->subscribe)
        return;
    hub->dialect->subscribe(&hub->scratch, topic);
    put_scratch(hub, peer);
}

void hub_recover(struct hub *hub, struct peer *peer, struct ff_slice topic, uint32_t count)
{
    if (!hub->dialect->recover)
        die("%s keeps no messages for who comes back", hub->dialect->name);
    hub->dialect->recover(&hub->scratch, topic, count);
    put_scratch(hub, peer);
}

void hub_attend(struct hub *hub, struct peer *peer, struct ff_slice topic)
{
    if (!hub->dialect->attend)
        die("%s tells nobody who else is there", hub->dialect->name);
    hub->dialect->attend(&hub->scratch, topic);
    put_scratch(hub, peer);
}

void hub_publish(struct hub *hub, struct peer *peer, struct ff_slice topic, struct ff_slice payload)
{
    hub->dialect->publish(&hub->scratch, topic, payload);
    put_scratch(hub, peer);
}

void hub_ask(struct hub *hub, struct peer *peer)
{
    if (hub->dialect->ask) {
        hub->dialect->ask(&hub->scratch);
        put_scratch(hub, peer);
    } else {
        put_frame(&peer->out, FF_OP_PING, FF_SLICE("ask"));
    }
}

static void handle(struct hub *hub, struct peer *peer, const struct event *event)
{
    if (event->kind == EVENT_ERROR)
        die("the server says: %.*s", (int)event->payload.len, event->payload.at);
    if (event->kind == EVENT_HEARTBEAT && hub->dialect->heartbeat) {
        hub->dialect->heartbeat(&hub->scratch);
        put_scratch(hub, peer);
        hub_flush(hub, peer);
    } else if (event->kind != EVENT_NONE) {
        hub->ops->event(hub->arg, peer, event);
    }
}

static void handle_control(struct hub *hub, struct peer *peer, uint8_t opcode,
                           struct ff_slice payload)
{
    struct event event = {.kind = EVENT_ANSWER};
    char why[64];

    if (opcode == FF_OP_PING) {
        put_frame(&peer->out, FF_OP_PONG, payload);
        hub_flush(hub, peer);
    } else if (opcode == FF_OP_PONG && !hub->dialect->ask) {
        handle(hub, peer, &event);
    } else if (opcode == FF_OP_CLOSE) {
        (void)snprintf(why, sizeof(why), "close %u %.*s",
                       payload.len >= 2 ? ff_load_u16(payload.at) : 1005,
                       payload.len > 2 ? (int)payload.len - 2 : 0, payload.at + 2);
        lose(hub, peer, why);
    }
}

/* A frame of a stream holds several events. */
static void handle_payload(struct hub *hub, struct peer *peer, struct ff_slice payload)
{
    while (payload.len && peer->state == PEER_OPEN) {
        struct event event = {.kind = EVENT_NONE};
        size_t taken = hub->dialect->take(payload.at, payload.len, &event);

        if (!taken)
            die("an event is cut by the end of its frame, which this dialect cannot mend");
        handle(hub, peer, &event);
        payload.at += taken;
        payload.len -= taken;
    }
}

/* What a compressed message is: many receive the same, so the last one is remembered. */
static struct ff_slice inflate(struct hub *hub, struct ff_slice packed)
{
    struct ff_inflation io = {.in = (const uint8_t *)packed.at, .in_len = packed.len};
    struct ff_buf *out = &hub->inflated;

    if (!hub->is_deflating)
        die("a compressed frame, and none was asked for");
    if (ff_slice_is_equal(ff_buf_slice(&hub->packed), packed))
        return ff_buf_slice(out);
    hub->packed.len = out->len = 0;
    put(&hub->packed, packed.at, packed.len);
    if (ff_buf_reserve(out, IN_SIZE))
        die("out of memory");
    io.out = (uint8_t *)out->data;
    io.out_len = IN_SIZE;
    if (ff_inflater_step(hub->inflater, &io) ||
        (ff_inflater_begin_end(hub->inflater, &io) && ff_inflater_step(hub->inflater, &io)) ||
        !io.out_len || !ff_inflater_end(hub->inflater))
        die("a compressed frame is broken");
    out->len = IN_SIZE - io.out_len;
    return ff_buf_slice(out);
}

/* Whole frames of what came; returns the octets taken. */
static size_t take_frames(struct hub *hub, struct peer *peer, const uint8_t *bytes, size_t len)
{
    size_t at = 0;

    while (peer->state == PEER_OPEN) {
        struct ff_frame_head head;
        int head_len = ff_frame_parse_head(&head, bytes + at, len - at);
        struct ff_slice payload;

        if (head_len < 0)
            die("a frame's head is wrong");
        if (head_len == 0 || len - at - (size_t)head_len < head.len)
            break;
        payload = (struct ff_slice){(const char *)bytes + at + head_len, head.len};
        at += (size_t)head_len + head.len;
        if (head.opcode >= FF_OP_CLOSE)
            handle_control(hub, peer, head.opcode, payload);
        else if (!head.fin || head.opcode == FF_OP_CONTINUATION)
            die("fragments are not for this client");
        else if (head.rsv)
            handle_payload(hub, peer, inflate(hub, payload));
        else
            handle_payload(hub, peer, payload);
    }
    return at;
}

static size_t take_upgrade(struct hub *hub, struct peer *peer, const char *bytes, size_t len)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);

    if (!end)
        return 0;
    if (len < 12 || memcmp(bytes, "HTTP/1.1 101", 12) != 0)
        die("the server refuses: %.*s", (int)(end - bytes), bytes);
    peer->state = PEER_OPEN;
    if (hub->dialect->greet) {
        hub->dialect->greet(&hub->scratch);
        put_scratch(hub, peer);
    }
    hub->ops->opened(hub, peer);
    hub_flush(hub, peer);
    return (size_t)(end + 4 - bytes);
}

static size_t take(struct hub *hub, struct peer *peer, const uint8_t *bytes, size_t len)
{
    size_t at = 0;

    if (peer->state == PEER_UPGRADING)
        at = take_upgrade(hub, peer, (const char *)bytes, len);
    if (peer->state == PEER_OPEN)
        at += take_frames(hub, peer, bytes + at, len - at);
    return at;
}

/* What was kept stands before what comes, so that frames are whole where they are cut. */
static void read_peer(struct hub *hub, struct peer *peer)
{
    size_t kept = peer->rest.len;
    size_t taken;
    long got;

    if (kept > IN_SIZE / 2)
        die("a frame of over %d octets", IN_SIZE / 2);
    if (kept)
        memcpy(hub->in, peer->rest.data, kept);
    got = receive(peer, hub->in + kept, IN_SIZE - kept);
    if (got == 0)
        lose(hub, peer, "the server ended the connection");
    if (got <= 0)
        return;
    hub->now_ns = clock_ns();
    hub->receives++;
    taken = take(hub, peer, hub->in, kept + (size_t)got);
    if (peer->state == PEER_GONE)
        return;
    peer->rest.len = 0;
    if (taken < kept + (size_t)got)
        put(&peer->rest, hub->in + taken, kept + (size_t)got - taken);
    else if (peer->rest.cap > SMALL_REST)
        ff_buf_deinit(&peer->rest);
}

/* Connected; with TLS the handshake comes first. */
static void go_on(struct hub *hub, struct peer *peer)
{
    if (peer->state == PEER_CONNECTING) {
        int failure = 0;
        socklen_t size = sizeof(failure);

        (void)getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &failure, &size);
        if (failure)
            die("cannot connect to %s: %s", hub->host, strerror(failure));
        peer->state = peer->ssl ? PEER_SECURING : PEER_UPGRADING;
    }
    if (peer->state == PEER_SECURING) {
        int done = SSL_do_handshake(peer->ssl);

        if (done == 1)
            peer->state = PEER_UPGRADING;
        else if (SSL_get_error(peer->ssl, done) != SSL_ERROR_WANT_READ)
            die("the TLS handshake failed");
    }
    watch(hub, peer, EPOLL_CTL_MOD);
    hub_flush(hub, peer);
}

void hub_poll(struct hub *hub, uint64_t timeout_ns)
{
    struct timespec timeout = {.tv_nsec = (long)(timeout_ns < POLL_NS ? timeout_ns : POLL_NS)};
    struct epoll_event events[EVENTS];
    int count = epoll_pwait2(hub->epoll, events, EVENTS, &timeout, NULL);

    for (int i = 0; i < count; i++) {
        struct peer *peer = events[i].data.ptr;

        if (peer->state < PEER_UPGRADING) {
            go_on(hub, peer);
            continue;
        }
        if (events[i].events & EPOLLOUT)
            hub_flush(hub, peer);
        if (peer->state == PEER_GONE)
            continue;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            read_peer(hub, peer);
    }
}
