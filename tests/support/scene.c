/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "broker/app/server.h"
#include "broker/net/logger.h"
#include "broker/session/session.h"
#include "tests/support/calls.h"
#include "tests/support/client.h"
#include "tests/support/test.h"

enum {
    CROWD = URING_LEAST + 4, /* some may be lost to a fault, the others still go out by one call */
    CLIENTS = 8 + CROWD,
    BUFFER = 1 << 16,
    TEXT = 8192,
    MOST_TURNS = 1000000, /* in which something happens: a broker that never rests hangs */
    NAP_US = 100,
    PATIENCE = 300000, /* naps, for what must come; an end to a test that has failed already */
    LITTLE_PATIENCE = 2,
};

static struct server server;
static SSL_CTX *client_ctx;
static char folder[] = "/tmp/scene-XXXXXX";
static char config_path[64];
static struct scene_fault fault;
static unsigned steps;

/* ---- Clients. ---- */

struct client {
    int fd;
    int listener; /* the one that it connected to */
    uint16_t port;
    SSL *ssl;
    char bytes[BUFFER];
    size_t len;
    bool is_open;
    bool was_accepted;
    bool is_stalled; /* it does not read */
};

static struct client clients[CLIENTS];

static void act_as_client(bool on)
{
    call_is_exempt = on;
    ff_mem_exempt(on);
}

static void client_close(struct client *c)
{
    if (!c->is_open)
        return;
    SSL_free(c->ssl);
    (void)close(c->fd);
    c->is_open = false;
    c->ssl = NULL;
}

/* True if something came. */
static bool client_read(struct client *c)
{
    bool is_new = false;

    while (c->is_open && !c->is_stalled) {
        if (c->len == BUFFER) { /* what nobody waited for is forgotten */
            c->len = BUFFER / 2;
            memmove(c->bytes, c->bytes + BUFFER / 2, c->len);
        }
        long got = c->ssl ? SSL_read(c->ssl, c->bytes + c->len, (int)(BUFFER - c->len))
                          : recv(c->fd, c->bytes + c->len, BUFFER - c->len, MSG_DONTWAIT);

        if (got <= 0 && (c->ssl ? SSL_get_error(c->ssl, (int)got) == SSL_ERROR_WANT_READ
                                : got < 0 && errno == EAGAIN))
            break;
        if (got <= 0)
            client_close(c);
        else
            c->len += (size_t)got;
        is_new = true;
    }
    return is_new;
}

static bool is_between(const struct call_flow *flow, const struct client *c)
{
    return flow->peer_port == c->port && flow->listener == c->listener;
}

/* The broker's end of a client's connection; -1: it is not accepted. */
static int broker_end(const struct client *c)
{
    for (int fd = 0; fd < CALL_FDS; fd++)
        if (is_between(&call_flows[fd], c))
            return fd;
    return -1;
}

/* Nobody has come, or the broker knows of him. */
static bool has_arrived(const struct client *c)
{
    struct pollfd listening = {.fd = c->listener, .events = POLLIN};

    return poll(&listening, 1, 0) != 0; /* or the listener is closed */
}

/* Is nothing of this connection on its way? What a client that reads is owed is on its way, too. */
static bool is_still(struct client *c)
{
    int fd = c->is_open ? broker_end(c) : -1;
    const struct call_flow *near = &call_flows[c->fd];
    const struct call_flow *far = &call_flows[fd < 0 ? 0 : fd];
    int waiting = 0;

    if (!c->is_open)
        return true;
    if (fd < 0) /* where the broker has closed its end, that is still to be seen */
        return c->was_accepted ? c->is_stalled : has_arrived(c);
    c->was_accepted = true;
    if (near->sent > far->received) {
        (void)ioctl(fd, FIONREAD, &waiting);
        if (near->sent > far->received + (uint64_t)waiting)
            return false;
    }
    return c->is_stalled || (!far->is_over && far->sent == near->received);
}

/* Does the broker wait for a socket that is being read? */
static bool is_blocked(const struct conn *conn)
{
    const struct call_flow *flow = &call_flows[conn_fd(conn)];

    if (conn->state == CONN_DEAD || !conn->is_blocked)
        return false;
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].is_open && is_between(flow, &clients[i]))
            return !clients[i].is_stalled;
    return false;
}

static void note_blocked(void *arg, struct session *session)
{
    bool *is_any = arg;

    *is_any |= is_blocked(&session->conn);
}

/* Loopback takes its time when the machine is busy. Is nothing on its way, in no direction? */
static bool is_all_still(void)
{
    struct worker_thread *thread = &server.threads[0];
    const struct ff_list *closing = &thread->worker.net.closing;
    bool is_any_blocked = false;

    for (size_t i = 0; i < CLIENTS; i++)
        if (!is_still(&clients[i]))
            return false;
    gateway_each(&thread->gateway, note_blocked, &is_any_blocked);
    for (const struct ff_list *node = closing->next; node != closing; node = node->next)
        is_any_blocked |= is_blocked(FF_CONTAINER_CONST(node, struct conn, group));
    return !is_any_blocked;
}

/* A turn of the broker, and of the clients. True if something happened. */
static bool turn(void)
{
    uint64_t before = call_total;
    bool is_new = false;

    ev_run(server.threads[0].worker.net.loop.ev, EVRUN_NOWAIT);
    act_as_client(true);
    for (size_t k = 0; k < CLIENTS; k++)
        is_new |= client_read(&clients[k]);
    act_as_client(false);
    return is_new || call_total != before;
}

/* Turns of the broker, until nothing happens any more and nothing is on its way. */
static void pump(void)
{
    enum { STILL_TURNS = 3 }; /* what came is noted in one turn and read in the next */
    unsigned patience = fault.is_strict ? PATIENCE : LITTLE_PATIENCE;
    unsigned still = 0;

    for (unsigned turns = 0; still < STILL_TURNS; turns++) {
        if (turns == MOST_TURNS)
            fail_msg("the broker is never at rest (step %u)", steps);
        if (turn()) {
            still = 0;
        } else if (patience == 0 || is_all_still()) {
            still++;
        } else {
            patience--;
            still = 0;
            (void)usleep(NAP_US);
        }
    }
}

static void pass_ms(uint64_t ms)
{
    call_clock_ahead_ns += ms * 1000000;
    pump();
}

static void client_write(struct client *c, const void *bytes, size_t len)
{
    steps++;
    act_as_client(true);
    for (size_t at = 0; c->is_open && at < len;) {
        long sent = c->ssl ? SSL_write(c->ssl, (const char *)bytes + at, (int)(len - at))
                           : send(c->fd, (const char *)bytes + at, len - at, MSG_NOSIGNAL);

        if (sent <= 0 && !c->ssl && errno == EAGAIN)
            break; /* the broker does not read: a stalled publisher's loss, not its */
        if (sent <= 0)
            client_close(c);
        else
            at += (size_t)sent;
    }
    act_as_client(false);
    pump();
}

static void client_connect(struct client *c, size_t listener, int receive_buffer)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in *at =
        (const struct sockaddr_in *)&server.threads[0].listeners[listener].address.storage;
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t own_len = sizeof(own);
    int on = 1;

    act_as_client(true);
    steps++;
    client_close(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    /* Packets of one octet overflow a small one: then the kernel's own timers send them again. */
    if (receive_buffer && !fault.is_always_short)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    to.sin_port = at->sin_port;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    call_flows[c->fd] = (struct call_flow){.sent = 0};
    c->is_open = connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0;
    (void)getsockname(c->fd, (struct sockaddr *)&own, &own_len);
    c->port = own.sin_port;
    c->listener = server.threads[0].listeners[listener].io.fd;
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->len = 0;
    c->is_stalled = c->was_accepted = false;
    if (!c->is_open)
        (void)close(c->fd);
    act_as_client(false);
    pump();
}

/* The client's part of a TLS handshake. */
static void client_secure(struct client *c)
{
    int done = -1;

    if (!c->is_open)
        return;
    act_as_client(true);
    c->ssl = SSL_new(client_ctx);
    assert_true(c->ssl && SSL_set_fd(c->ssl, c->fd) == 1);
    c->is_stalled = true; /* pump() must not read in between */
    act_as_client(false);
    for (int i = 0; i < 50 && done != 1 && c->is_open; i++) {
        act_as_client(true);
        done = SSL_connect(c->ssl);
        if (done != 1 && SSL_get_error(c->ssl, done) != SSL_ERROR_WANT_READ)
            client_close(c);
        act_as_client(false);
        pump();
    }
    c->is_stalled = false;
    act_as_client(true);
    if (done != 1)
        client_close(c);
    act_as_client(false);
}

static void client_upgrade(struct client *c, const char *path, const char *protocol)
{
    char head[TEXT];

    client_write(c, head, client_put_head(head, sizeof(head), path, protocol));
}

static void client_frame(struct client *c, uint8_t first, const void *bytes, size_t len)
{
    uint8_t frame[FF_FRAME_HEAD_MAX + TEXT];

    client_write(c, frame, client_put_frame(frame, first, bytes, len));
}

static void client_send(struct client *c, const char *text)
{
    client_frame(c, 0x81, text, strlen(text));
}

/* `count` messages of `size` octets and a bit to a topic, at once. */
static void client_publish_many(struct client *c, const char *topic, int size, int count)
{
    static char x[4000];
    static uint8_t frames[BUFFER];
    char text[TEXT];
    size_t len = 0;

    memset(x, 'x', sizeof(x));
    (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"%s\",\"message\":\"%.*s\"}", topic,
                   size, x);
    while (count-- > 0)
        len += client_put_frame(frames + len, 0x81, text, strlen(text));
    client_write(c, frames, len);
}

static void client_publish(struct client *c, const char *topic, int size)
{
    client_publish_many(c, topic, size, 1);
}

/* `text` came, and what was before it is forgotten; only a strict scene insists on it. */
static void expect_bytes(struct client *c, const void *text, size_t len)
{
    char *found = memmem(c->bytes, c->len, text, len);

    if (fault.is_strict && !found)
        fail_msg("allocation %lu or call %lu failed (%d); at step %u \"%s\" did not come; there "
                 "is: %.*s",
                 (unsigned long)fault.allocation, (unsigned long)fault.call, fault.error, steps,
                 (const char *)text, (int)c->len, c->bytes);
    if (!found)
        return;
    c->len -= (size_t)(found - c->bytes) + len;
    memmove(c->bytes, found + len, c->len);
}

static void expect(struct client *c, const char *text)
{
    expect_bytes(c, text, strlen(text));
}

/* ---- The script. ---- */

static struct config *new_config(char *error)
{
    static char words[][20] = {"fanfared",
                               "--config",
                               "",
                               "--listen",
                               "127.0.0.1:0",
                               "--listen",
                               "tls:127.0.0.1:0",
                               "--log-level",
                               "error",
                               "--workers",
                               "1"};
    static char *argv[FF_COUNT(words)];
    struct config *config;
    struct config_request request;

    for (size_t i = 0; i < FF_COUNT(words); i++)
        argv[i] = i == 2 ? config_path : words[i];
    config = config_new(FF_COUNT(argv), argv, &request, error);
    if (config && config->rule_count)
        config->rules[0].max_buffered = 8192; /* less than a file may say, so that it overflows */
    return config;
}

static void reload(void)
{
    char error[CONFIG_ERROR_MAX];
    struct config *config = new_config(error);

    if (config && !server_reload(&server, config, error))
        config = NULL;
    if (fault.is_strict)
        assert_non_null(config);
    pump();
    steps++;
}

static void play_typed(struct client *a, struct client *b)
{
    static const uint8_t subscribe[] = "\x93\x05\x01\xa1m";
    static const uint8_t publish[] = "\x94\x07\x02\xa1j\x93\x01\xc0\xa2hi";

    client_connect(a, 0, 0);
    client_upgrade(a, "/ws", "fanfare.v1.json");
    expect(a, "101 Switching");
    expect(a, "{\"type\":4,");
    client_send(a, "{\"type\":3,\"id\":1,\"heartbeat\":20}");
    expect(a, "\"id\":1,");
    client_send(a, "{\"type\":5,\"id\":2,\"topic\":\"j\"}");
    expect(a, "{\"type\":8,\"id\":2,\"topic\":\"j\"}");
    client_connect(b, 0, 0);
    client_upgrade(b, "/ws", "fanfare.v1.msgpack");
    expect(b, "101 Switching");
    client_frame(b, 0x82, subscribe, 5);
    expect(b, "\x93\x08\x01\xa1m");
    client_frame(b, 0x82, publish, 11);
    expect(a, "{\"type\":2,\"topic\":\"j\",\"message\":[1,null,\"hi\"]}");
    expect(b, "\x02");
    client_send(a, "{\"type\":7,\"id\":3,\"topic\":\"m\",\"message\":{\"k\":[1.5,\"\\u00e9\"]}}");
    expect(a, "\"receivers\":1");
    expect(b, "\x93\x02\xa1m\x81\xa1k\x92\xcb");
    client_send(a, "[{\"type\":5,\"id\":4,\"topic\":\"f/+\"},{\"type\":5,\"id\":5,\"topic\":\"#\"},"
                   "{\"type\":7,\"id\":6,\"topic\":\"f/1\",\"message\":1}]");
    expect(a, "\"id\":5,");
    expect(a, "\"id\":6,\"receivers\":2");
    expect(a, "\"filter\":");
    expect(a, "\"filter\":");
    client_send(a, "{\"type\":5,\"id\":7,\"topic\":\"r\",\"rate\":2,\"echo\":true}");
    expect(a, "\"id\":7,");
    for (int i = 0; i < 3; i++)
        client_publish(a, "r", 5);
    pass_ms(2000);
    expect(a, "\"cause\":\"rate\"");
    client_send(a, "{\"type\":6,\"id\":8,\"topic\":\"r\"}");
    expect(a, "\"id\":8,");
    client_send(a, "{\"type\":6,\"id\":9,\"topic\":\"#\"}");
    expect(a, "\"id\":9,");
    client_send(a, "{\"type\":9}");
    expect(a, "\"code\":404");
    client_send(a, "nonsense");
    expect(a, "\"code\":400");
}

static void play_plain(struct client *p, struct client *e, struct client *h)
{
    client_connect(p, 0, 0);
    client_upgrade(p, "/ws?topic=room%2F1", NULL);
    expect(p, "101 Switching");
    client_send(p, "Hi all");
    expect(p, "\"message\":\"Hi all\"");
    client_send(p, "ping");
    expect(p, "{\"type\":1}");
    client_frame(p, 0x82, "\0\xff", 2);
    expect(p, "\"data\":\"AP8=\"");
    client_send(p, "{\"type\":6,\"id\":1,\"topic\":\"room/1\"}");
    expect(p, "\"id\":1");
    client_connect(e, 0, 0);
    client_upgrade(e, "/echo", NULL);
    expect(e, "101 Switching");
    client_frame(e, 0x01, "one", 3);
    client_frame(e, 0x89, "p", 1);
    expect(e, "\x8a\x01p");
    client_frame(e, 0x80, "two", 3);
    expect(e, "\x81\x06onetwo");
    client_frame(e, 0x88, "\x03\xe8", 2);
    expect(e, "\x88\x02\x03\xe8");
    client_connect(h, 0, 0);
    client_write(h, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35);
    expect(h, "</html>");
    client_connect(h, 0, 0);
    client_write(h, "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n", 39);
    expect(h, "404 Not Found");
    client_connect(h, 0, 0);
    client_write(h, "GET / HT", 8);
    pass_ms(20000);
    expect(h, "408 Request Timeout");
}

static void play_tls(struct client *t, struct client *a)
{
    client_connect(t, 1, 0);
    client_secure(t);
    client_upgrade(t, "/ws", "fanfare.v1.json");
    expect(t, "{\"type\":4,");
    client_send(t, "{\"type\":5,\"id\":1,\"topic\":\"s\"}");
    expect(t, "\"id\":1,");
    client_publish(a, "s", 4000);
    expect(t, "\"topic\":\"s\",\"message\":\"xxx");
    reload();
    client_publish(a, "s", 10);
    expect(t, "\"topic\":\"s\",\"message\":\"xxxxxxxxxx\"}");
    client_frame(t, 0x88, "\x03\xe8", 2);
    expect(t, "\x88\x02\x03\xe8");
}

/* A reader that stands still is overrun; one whose topic says so is closed. */
static void play_stall(struct client *s, struct client *c, struct client *a)
{
    client_connect(s, 0, 4096);
    client_upgrade(s, "/ws", "fanfare.v1.json");
    expect(s, "{\"type\":4,");
    client_send(s, "{\"type\":5,\"id\":1,\"topic\":\"stall\"}");
    expect(s, "\"id\":1,");
    client_connect(c, 0, 4096);
    client_upgrade(c, "/ws", "fanfare.v1.json");
    expect(c, "{\"type\":4,");
    client_send(c, "{\"type\":5,\"id\":1,\"topic\":\"stall\",\"overflow\":\"close\"}");
    expect(c, "\"id\":1,");
    s->is_stalled = c->is_stalled = true;
    for (int i = 0; i < 12; i++)
        client_publish_many(a, "stall", 4000, 8);
    client_frame(s, 0x89, "ping", 4);
    s->is_stalled = false;
    pump();
    client_publish(a, "stall", 3);
    expect(s, "\"message\":\"xxx\"}");
    pass_ms(1100);
    c->is_stalled = false;
    pump();
}

static void play_end(struct client *a, struct client *b)
{
    server_stop(&server);
    pump();
    expect(a, "{\"type\":13,");
    for (int i = 0; i < 10; i++)
        pass_ms(250);
    expect(a, "the broker is restarting");
    expect(b, "the broker is restarting");
}

/* The crowd's topic has this message for each of them. */
static void expect_in_crowd(struct client *crowd, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        expect(&crowd[i], text);
}

static void join_crowd(struct client *c, size_t listener, int receive_buffer)
{
    client_connect(c, listener, receive_buffer);
    if (listener)
        client_secure(c);
    client_upgrade(c, "/ws?topic=stall", NULL);
    expect(c, "101 Switching");
}

/*
 * What is published is sent to all by one call: a small message, several at once (ranges of
 * a log), more than some sockets take, with some that are owed an answer or are closing.
 */
static void play_crowd(struct client *crowd, struct client *t, struct client *a)
{
    int large = fault.is_always_short ? 100 : 4000; /* an octet at a time takes its time */

    client_connect(a, 0, 0);
    client_upgrade(a, "/ws", "fanfare.v1.json");
    expect(a, "{\"type\":4,");
    join_crowd(t, 1, 0);
    for (size_t i = 0; i < CROWD; i++)
        join_crowd(&crowd[i], 0, i < 2 ? 4096 : 0);
    client_send(a, "{\"type\":7,\"id\":1,\"topic\":\"stall\",\"message\":\"first\"}");
    expect(a, "\"receivers\":");
    expect_in_crowd(crowd, CROWD, "\"message\":\"first\"}");
    expect(t, "\"message\":\"first\"}");
    client_publish_many(a, "stall", large / 6, 6);
    client_send(a, "{\"type\":7,\"topic\":\"stall\",\"message\":\"second\"}");
    expect_in_crowd(crowd, CROWD, "\"message\":\"second\"}");
    expect(t, "\"message\":\"second\"}");
    crowd[0].is_stalled = crowd[1].is_stalled = true;
    for (int i = 0; i < 6; i++)
        client_publish_many(a, "stall", large, 4);
    client_send(&crowd[2], "[{\"type\":7,\"topic\":\"stall\",\"message\":\"third\"},"
                           "{\"type\":3,\"id\":9}]");
    expect_in_crowd(crowd + 2, CROWD - 2, "\"message\":\"third\"}");
    crowd[0].is_stalled = crowd[1].is_stalled = false;
    pump();
    client_publish(a, "stall", 3);
    expect_in_crowd(crowd, CROWD, "\"message\":\"xxx\"}");
}

static void play_crowd_end(struct client *crowd)
{
    server_stop(&server);
    pump();
    expect_in_crowd(crowd, CROWD, "{\"type\":13,");
    for (int i = 0; i < 10; i++)
        pass_ms(250);
    expect_in_crowd(crowd, CROWD, "the broker is restarting");
}

/* Whatever happened: who comes now is served. */
static void serve_next(void)
{
    struct client *n = &clients[CLIENTS - 1];

    fault.is_strict = true;
    for (int i = 0; i < 3; i++) /* a starved listener waits a moment */
        pass_ms(1000);
    client_connect(n, 0, 0);
    client_upgrade(n, "/ws", "fanfare.v1.json");
    expect(n, "{\"type\":4,");
    client_send(
        n, "[{\"type\":5,\"id\":1,\"topic\":\"n\"},{\"type\":7,\"topic\":\"n\",\"message\":5}]");
    expect(n, "\"topic\":\"n\",\"message\":5}");
}

static void fail_no_more(void)
{
    ff_mem_fail_at(0);
    ff_mem_fail_often(0, 0);
    call_fault.call = 0;
}

static void play(void)
{
    bool was_strict = fault.is_strict;
    struct client *crowd = &clients[2];

    if (fault.by_uring) {
        play_crowd(crowd, &clients[1], &clients[0]);
    } else {
        play_typed(&clients[0], &clients[1]);
        play_plain(&clients[2], &clients[3], &clients[4]);
        play_tls(&clients[5], &clients[0]);
        play_stall(&clients[6], &clients[7], &clients[0]);
    }
    fail_no_more();
    serve_next();
    fault.is_strict = was_strict;
    if (fault.by_uring)
        play_crowd_end(crowd);
    else
        play_end(&clients[0], &clients[1]);
}

/* As the broker's threads do when they begin. */
static void use_uring(void)
{
    const char *why = net_use_uring(&server.threads[0].worker.net);

    if (why && fault.is_strict && !fault.call) /* else it is the one that was to fail */
        fail_msg("no io_uring here: %s", why);
}

struct scene_counts scene_play(const struct scene_fault *wanted)
{
    char error[CONFIG_ERROR_MAX];
    uint64_t asked = ff_mem_count();
    struct config *config;

    fault = *wanted;
    call_fault = (struct call_fault){.call = fault.call,
                                     .error = fault.error,
                                     .is_always_short = fault.is_always_short,
                                     .is_of_ring = fault.is_of_ring};
    call_count = 0;
    call_may_fail_reads = false;
    steps = 0;
    ff_mem_fail_at(fault.allocation);
    ff_mem_fail_often(fault.one_in, fault.seed);
    config = new_config(error);
    if (config && server_init(&server, config, error)) {
        call_may_fail_reads = true;
        if (fault.by_uring)
            use_uring();
        play();
        act_as_client(true);
        for (size_t i = 0; i < CLIENTS; i++)
            client_close(&clients[i]);
        act_as_client(false);
        server_deinit(&server);
    } else if (!fault.allocation && !fault.one_in && !fault.call) {
        fail_msg("%s", error);
    }
    fail_no_more();
    ERR_clear_error(); /* its entries hold memory */
    return (struct scene_counts){ff_mem_count() - asked, call_count, steps};
}

void scene_set_up(void)
{
    char command[512];
    FILE *config;

    tls_use_our_memory();
    (void)signal(SIGPIPE, SIG_IGN);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(command, sizeof(command),
                   "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
                   "%s/key -out %s/cert -days 2 -subj /CN=localhost 2>/dev/null",
                   folder, folder);
    assert_int_equal(system(command), 0);
    (void)snprintf(config_path, sizeof(config_path), "%s/conf", folder);
    config = fopen(config_path, "we");
    assert_non_null(config);
    (void)fprintf(config,
                  "tls_cert = \"%s/cert\"\ntls_key = \"%s/key\"\necho_path = \"/echo\"\n"
                  "drain_seconds = 2\nclose_seconds = 1\ntopic \"stall\" { overflow = \"skip\" }\n",
                  folder, folder);
    assert_int_equal(fclose(config), 0);
    client_ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(client_ctx);
    log_set(LOG_ERROR, false);
}

void scene_tear_down(void)
{
    static const char *const names[] = {"key", "cert", "conf"};
    char path[64];

    SSL_CTX_free(client_ctx);
    for (size_t i = 0; i < FF_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}
