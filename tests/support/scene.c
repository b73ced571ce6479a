/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/app/server.h"
#include "broker/net/logger.h"
#include "broker/session/session.h"
#include "tests/support/calls.h"
#include "tests/support/client.h"
#include "tests/support/test.h"

enum { CLIENTS = 12, BUFFER = 1 << 16, TEXT = 8192, PATIENCE = 3000 };

static struct server server;
static SSL_CTX *client_ctx;
static char folder[] = "/tmp/scene-XXXXXX";
static char config_path[64];
static struct scene_fault fault;
static unsigned steps;

/* ---- Clients. ---- */

struct client {
    int fd;
    SSL *ssl;
    char bytes[BUFFER];
    size_t len;
    bool is_open;
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

/* Turns of the broker, until nothing happens any more. */
static void pump(void)
{
    unsigned quiet = 0;

    for (unsigned i = 0; i < 3000 && quiet < 2; i++) {
        uint64_t before = call_count;
        bool is_new = false;

        ev_run(server.threads[0].worker.net.loop.ev, EVRUN_NOWAIT);
        act_as_client(true);
        for (size_t k = 0; k < CLIENTS; k++)
            is_new |= client_read(&clients[k]);
        act_as_client(false);
        quiet = is_new || call_count != before ? 0 : quiet + 1;
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

    act_as_client(true);
    steps++;
    client_close(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    if (receive_buffer)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    to.sin_port = at->sin_port;
    c->is_open = connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0;
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->len = 0;
    c->is_stalled = false;
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

    /* Loopback takes its time when the machine is busy. */
    for (int i = 0; !found && i < (fault.is_strict ? PATIENCE : 1); i++) {
        (void)usleep(fault.is_strict ? 1000 : 10);
        pump();
        found = memmem(c->bytes, c->len, text, len);
    }
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

    play_typed(&clients[0], &clients[1]);
    play_plain(&clients[2], &clients[3], &clients[4]);
    play_tls(&clients[5], &clients[0]);
    play_stall(&clients[6], &clients[7], &clients[0]);
    fail_no_more();
    serve_next();
    fault.is_strict = was_strict;
    play_end(&clients[0], &clients[1]);
}

struct scene_counts scene_play(const struct scene_fault *wanted)
{
    char error[CONFIG_ERROR_MAX];
    uint64_t asked = ff_mem_count();
    struct config *config;

    fault = *wanted;
    call_fault = (struct call_fault){fault.call, fault.error, fault.is_always_short};
    call_count = 0;
    call_may_fail_reads = false;
    steps = 0;
    ff_mem_fail_at(fault.allocation);
    ff_mem_fail_often(fault.one_in, fault.seed);
    config = new_config(error);
    if (config && server_init(&server, config, error)) {
        call_may_fail_reads = true;
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
