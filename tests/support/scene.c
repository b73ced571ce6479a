/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/scene.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/net/logger.h"
#include "broker/session/session.h"
#include "protocol/websocket/deflater.h"
#include "tests/support/calls.h"
#include "tests/support/client.h"
#include "tests/support/scene_client.h"
#include "tests/support/test.h"

static char folder[] = "/tmp/scene-XXXXXX";
static char config_path[64];

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

    if (config && !server_reload(&scene_server, config, error))
        config = NULL;
    if (scene_played.is_strict)
        assert_non_null(config);
    pump();
    scene_steps++;
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
    expect(a, "{\"type\":8,\"id\":2,\"topic\":\"j\"");
    client_connect(b, 0, 0);
    client_upgrade(b, "/ws", "fanfare.v1.msgpack");
    expect(b, "101 Switching");
    client_frame(b, 0x82, subscribe, 5);
    expect(b, "\x08\x01\xa1m");
    client_frame(b, 0x82, publish, 11);
    expect(a, "{\"type\":2,\"topic\":\"j\",\"message\":[1,null,\"hi\"]");
    expect(b, "\x02");
    client_send(a, "{\"type\":7,\"id\":3,\"topic\":\"m\",\"message\":{\"k\":[1.5,\"\\u00e9\"]}}");
    expect(a, "\"receivers\":1");
    expect(b, "\x02\xa1m\x81\xa1k\x92\xcb");
    client_send(a, "[{\"type\":5,\"id\":4,\"topic\":\"f/+\"},{\"type\":5,\"id\":5,\"topic\":\"#\"},"
                   "{\"type\":7,\"id\":6,\"topic\":\"f/1\",\"message\":1}]");
    expect(a, "\"id\":5,");
    expect(a, "\"id\":6,");
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
    client_send(a, "{\"type\":7,\"id\":10,\"topic\":\"j\",\"message\":1,\"key\":\"k\"}");
    expect(a, "\"id\":10,");
    client_send(a, "{\"type\":7,\"id\":11,\"topic\":\"j\",\"message\":1,\"key\":\"k\"}");
    expect(a, "\"duplicate\":true");
    client_send(a, "{\"type\":6,\"id\":9,\"topic\":\"#\"}");
    expect(a, "\"id\":9,");
    client_send(a, "{\"type\":9}");
    expect(a, "\"code\":404");
    client_send(a, "nonsense");
    expect(a, "\"code\":400");
}

/* What was said, as a list; and to come back to, in the encoding that it was not said in. */
static void play_history(struct client *a, struct client *b)
{
    static const uint8_t subscribe[] = "\x94\x05\x03\xa1j\x09";

    client_send(a, "{\"type\":12,\"id\":12,\"topic\":\"j\",\"reverse\":true}");
    expect(a, "\"messages\":[");
    client_send(a, "{\"type\":6,\"id\":13,\"topic\":\"j\"}");
    expect(a, "\"id\":13,");
    client_send(a, "{\"type\":5,\"id\":14,\"topic\":\"j\",\"since\":5}");
    expect(a, "\"id\":14,");
    client_send(a,
                "{\"type\":5,\"id\":15,\"topic\":\"q\",\"since\":{\"epoch\":\"x\",\"offset\":1}}");
    expect(a, "\"id\":15,");
    client_frame(b, 0x82, subscribe, 6);
    expect(b, "\x08\x03\xa1j");
    client_send(a, "{\"type\":7,\"id\":16,\"topic\":\"now\",\"message\":1,\"retain\":true}");
    expect(a, "\"id\":16,");
    client_send(a, "{\"type\":5,\"id\":17,\"topic\":\"now\",\"since\":1}");
    expect(a, "\"message\":1,");
    client_send(a, "{\"type\":7,\"id\":18,\"topic\":\"now\",\"message\":null,\"retain\":true}");
    expect(a, "\"message\":null,");
}

static void play_presence(struct client *a, struct client *b)
{
    static const uint8_t subscribe[] = "\x97\x05\x01\xa6room/1\xc0\xc0\xc0\xc3";

    client_connect(a, 0, 0);
    client_upgrade(a, "/ws", "fanfare.v1.json");
    expect(a, "{\"type\":4,");
    client_send(a, "{\"type\":3,\"id\":1,\"user\":\"anna\"}");
    expect(a, "\"id\":1,");
    client_send(a, "{\"type\":5,\"id\":2,\"topic\":\"room/1\",\"presence\":true}");
    expect(a, "\"user\":\"anna\"}],\"count\":1}");
    client_connect(b, 0, 0);
    client_upgrade(b, "/ws", "fanfare.v1.msgpack");
    expect(b, "101 Switching");
    client_frame(b, 0x82, subscribe, sizeof(subscribe) - 1);
    expect(b, "\xa4user\xa4"
              "anna");
    pass_ms(200);
    expect(a, "\"left\":[],\"count\":2}");
    client_send(a, "{\"type\":11,\"id\":3,\"topic\":\"room/1\"}");
    expect(a, "\"id\":3,\"topic\":\"room/1\",\"members\":[{");
    client_send(a, "{\"type\":5,\"id\":4,\"topic\":\"room/1\",\"presence\":false}");
    expect(a, "\"id\":4,");
    client_send(a, "{\"type\":5,\"id\":5,\"topic\":\"room/1\",\"presence\":true}");
    expect(a, "\"count\":2}");
    client_close(b);
    pass_ms(10); /* it is found out, and waits from here on */
    pass_ms(2200);
    expect(a, "\"joined\":[],\"left\":[{");
    client_close(a);
}

static void play_plain(struct client *p, struct client *e, struct client *h)
{
    client_connect(p, 0, 0);
    client_upgrade(p, "/ws?topic=room%2F1", NULL);
    expect(p, "101 Switching");
    client_connect(e, 0, 0);
    client_upgrade(e, "/ws?topic=room/1&format=text", NULL);
    expect(e, "101 Switching");
    client_connect(h, 0, 0);
    client_upgrade(h, "/ws?topic=room/1&format=raw", NULL);
    expect(h, "101 Switching");
    client_send(p, "Hi all");
    expect(p, "\"message\":\"Hi all\"");
    client_send(p, "[\"\\n\"]");
    expect(e, "\"message\":\"[\\\"\\\\n\\\"]\"");
    expect(h, "[\"\\n\"]");
    client_close(e);
    client_close(h);
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

/* The frame of a compressed message, as a broker sends it, or a client. */
static size_t compress(char out[TEXT], bool is_masked, const char *text)
{
    struct ff_deflater *deflater;
    uint8_t body[TEXT];
    size_t head;
    size_t size;

    act_as_client(true);
    deflater = ff_deflater_new(15, 3);
    assert_non_null(deflater);
    size = ff_deflater_run(deflater, body, sizeof(body), (const uint8_t *)text, strlen(text));
    ff_deflater_free(deflater);
    act_as_client(false);
    if (is_masked)
        return client_put_frame((uint8_t *)out, 0xc1, body, size);
    head = ff_frame_write_head((uint8_t *)out, FF_OP_TEXT, size);
    out[0] = '\xc1';
    memcpy(out + head, body, size);
    return head + size;
}

static void upgrade_deflating(struct client *c, const char *path, const char *protocol)
{
    char head[TEXT];
    size_t len = client_put_head(head, sizeof(head), path, protocol) - 2;

    len += (size_t)snprintf(head + len, sizeof(head) - len,
                            "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    client_write(c, head, len);
    expect(c, "permessage-deflate; server_no_context_takeover\r\n");
}

static void send_compressed(struct client *c, const char *text)
{
    char frame[TEXT];

    client_write(c, frame, compress(frame, true, text));
}

static void play_deflating(struct client *d, struct client *e, struct client *a)
{
    char x[2000];
    char text[TEXT];
    char frame[TEXT];
    size_t len;

    client_connect(d, 0, 0);
    upgrade_deflating(d, "/ws", "fanfare.v1.json");
    expect(d, "{\"type\":4,");
    send_compressed(d, "{\"type\":5,\"id\":1,\"topic\":\"z\"}");
    expect(d, "\"id\":1,");
    memset(x, 'x', sizeof(x));
    (void)snprintf(text, sizeof(text),
                   "{\"type\":2,\"topic\":\"z\",\"message\":\"%.*s\",\"offset\":1}", (int)sizeof(x),
                   x);
    len = compress(frame, false, text);
    client_publish(a, "z", sizeof(x));
    expect_bytes(d, frame, len);
    client_publish(a, "z", 10);
    expect(d, "\"message\":\"xxxxxxxxxx\"");
    client_connect(e, 0, 0);
    upgrade_deflating(e, "/echo", NULL);
    send_compressed(e, text);
    expect_bytes(e, frame, len);
    client_frame(e, 0xc1, "\xff", 1);
    expect(e, "the compressed data is broken");
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
    expect(t, "\"topic\":\"s\",\"message\":\"xxxxxxxxxx\"");
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
    expect(s, "\"message\":\"xxx\"");
    pass_ms(1100);
    c->is_stalled = false;
    pump();
}

static void play_end(struct client *a, struct client *b)
{
    server_stop(&scene_server, "the broker is restarting");
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
    int large = scene_played.is_always_short ? 100 : 4000; /* an octet at a time takes its time */

    client_connect(a, 0, 0);
    client_upgrade(a, "/ws", "fanfare.v1.json");
    expect(a, "{\"type\":4,");
    join_crowd(t, 1, 0);
    for (size_t i = 0; i < CROWD; i++)
        join_crowd(&crowd[i], 0, i < 2 ? 4096 : 0);
    client_send(a, "{\"type\":7,\"id\":1,\"topic\":\"stall\",\"message\":\"first\"}");
    expect(a, "\"receivers\":");
    expect_in_crowd(crowd, CROWD, "\"message\":\"first\"");
    expect(t, "\"message\":\"first\"");
    client_publish_many(a, "stall", large / 6, 6);
    client_send(a, "{\"type\":7,\"topic\":\"stall\",\"message\":\"second\"}");
    expect_in_crowd(crowd, CROWD, "\"message\":\"second\"");
    expect(t, "\"message\":\"second\"");
    crowd[0].is_stalled = crowd[1].is_stalled = true;
    for (int i = 0; i < 6; i++)
        client_publish_many(a, "stall", large, 4);
    client_send(&crowd[2], "[{\"type\":7,\"topic\":\"stall\",\"message\":\"third\"},"
                           "{\"type\":3,\"id\":9}]");
    expect_in_crowd(crowd + 2, CROWD - 2, "\"message\":\"third\"");
    crowd[0].is_stalled = crowd[1].is_stalled = false;
    pump();
    client_publish(a, "stall", 3);
    expect_in_crowd(crowd, CROWD, "\"message\":\"xxx\"");
}

static void play_crowd_end(struct client *crowd)
{
    server_stop(&scene_server, "the broker is restarting");
    pump();
    expect_in_crowd(crowd, CROWD, "{\"type\":13,");
    for (int i = 0; i < 10; i++)
        pass_ms(250);
    expect_in_crowd(crowd, CROWD, "the broker is restarting");
}

/* Whatever happened: who comes now is served. */
static void serve_next(void)
{
    struct client *n = &scene_clients[CLIENTS - 1];

    scene_played.is_strict = true;
    for (int i = 0; i < 3; i++) /* a starved listener waits a moment */
        pass_ms(1000);
    client_connect(n, 0, 0);
    client_upgrade(n, "/ws", "fanfare.v1.json");
    expect(n, "{\"type\":4,");
    client_send(
        n, "[{\"type\":5,\"id\":1,\"topic\":\"n\"},{\"type\":7,\"topic\":\"n\",\"message\":5}]");
    expect(n, "\"topic\":\"n\",\"message\":5");
}

static void fail_no_more(void)
{
    ff_mem_fail_at(0);
    ff_mem_fail_often(0, 0);
    call_fault.call = 0;
}

static void play(void)
{
    bool was_strict = scene_played.is_strict;
    struct client *crowd = &scene_clients[2];

    if (scene_played.by_uring) {
        play_crowd(crowd, &scene_clients[1], &scene_clients[0]);
    } else {
        play_typed(&scene_clients[0], &scene_clients[1]);
        play_history(&scene_clients[0], &scene_clients[1]);
        play_presence(&scene_clients[2], &scene_clients[3]);
        play_plain(&scene_clients[2], &scene_clients[3], &scene_clients[4]);
        play_deflating(&scene_clients[3], &scene_clients[4], &scene_clients[0]);
        play_tls(&scene_clients[5], &scene_clients[0]);
        play_stall(&scene_clients[6], &scene_clients[7], &scene_clients[0]);
    }
    fail_no_more();
    serve_next();
    scene_played.is_strict = was_strict;
    if (scene_played.by_uring)
        play_crowd_end(crowd);
    else
        play_end(&scene_clients[0], &scene_clients[1]);
}

/* As the broker's threads do when they begin. */
static void use_uring(void)
{
    const char *why = net_use_uring(&scene_server.threads[0].worker.net);

    if (why && scene_played.is_strict &&
        !scene_played.call) /* else it is the one that was to fail */
        fail_msg("no io_uring here: %s", why);
}

struct scene_counts scene_play(const struct scene_fault *wanted)
{
    char error[CONFIG_ERROR_MAX];
    uint64_t asked = ff_mem_count();
    struct config *config;

    scene_played = *wanted;
    call_fault = (struct call_fault){.call = scene_played.call,
                                     .error = scene_played.error,
                                     .is_always_short = scene_played.is_always_short,
                                     .is_of_ring = scene_played.is_of_ring};
    call_count = 0;
    call_may_fail_reads = false;
    scene_steps = 0;
    ff_mem_fail_at(scene_played.allocation);
    ff_mem_fail_often(scene_played.one_in, scene_played.seed);
    config = new_config(error);
    if (config && server_init(&scene_server, config, error)) {
        call_may_fail_reads = true;
        if (scene_played.by_uring)
            use_uring();
        play();
        act_as_client(true);
        for (size_t i = 0; i < CLIENTS; i++)
            client_close(&scene_clients[i]);
        act_as_client(false);
        server_deinit(&scene_server);
    } else if (!scene_played.allocation && !scene_played.one_in && !scene_played.call) {
        fail_msg("%s", error);
    }
    fail_no_more();
    ERR_clear_error(); /* its entries hold memory */
    return (struct scene_counts){ff_mem_count() - asked, call_count, scene_steps};
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
                  "drain_seconds = 2\nclose_seconds = 1\ndeflate_readers = 1\ntopic \"stall\" { "
                  "overflow = \"skip\" }\n"
                  "topic \"room/#\" { presence = on }\n",
                  folder, folder);
    assert_int_equal(fclose(config), 0);
    scene_client_ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(scene_client_ctx);
    log_set(LOG_ERROR, false);
}

void scene_tear_down(void)
{
    static const char *const names[] = {"key", "cert", "conf"};
    char path[64];

    SSL_CTX_free(scene_client_ctx);
    for (size_t i = 0; i < FF_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}
