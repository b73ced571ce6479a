/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole broker on a scripted transport, with tiny limits. The input is a
 * program: open a connection, shake hands, send this, let the socket take so
 * much, fail the next call, fail the next allocation, move the clock, run a
 * turn, reload, drain. What must hold whatever it says: no crash, no leak, every
 * descriptor closed once, and whole frames only on every wire (see wire.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/app/drain.h"
#include "broker/net/logger.h"
#include "broker/session/session.h"
#include "protocol/base/mem.h"
#include "tests/fuzz/grammar.h"
#include "tests/support/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_STEPS = 400, HEAD = 512, TEXT = 1500, MANY = 1 << 30 };

enum dialect { DIALECT_HTTP, DIALECT_JSON, DIALECT_MSGPACK, DIALECT_PLAIN, DIALECT_ECHO };

struct program {
    const uint8_t *at;
    const uint8_t *end;
};

static struct shared shared;
static struct worker worker;
static struct gateway gateway;
static struct drain drain;
static struct listener listener; /* never open: connections are handed in */
static struct settings settings;
static enum dialect dialects[WIRES];

static const char *const topics[] = {"a", "b", "a/b", "a/#", "+", "#", "$SYS/broker", "c//d"};
static const struct topic_rule rules[] = {
    {.filter = "b", .overflow = OVERFLOW_CLOSE, .max_buffered = 300},
    {.filter = "a/#", .overflow = OVERFLOW_LATEST, .max_message = 200},
};

static uint8_t next(struct program *program)
{
    return program->at < program->end ? *program->at++ : 0;
}

static struct settings tiny_settings(uint8_t variant)
{
    return (struct settings){
        .flush = FLUSH_SEND,
        .max_message = variant & 1 ? 4096 : 300,
        .max_buffered = variant & 2 ? 4000 : 500,
        .max_topics = 4,
        .max_filters = 3,
        .max_connections = 8,
        .max_connections_per_address = 3,
        .max_half_open = variant & 4 ? 2 : 6,
        .handshake_ms = 1000,
        .max_subscriptions = 5,
        .max_subscribed_filters = 2,
        .messages_per_second = variant & 8 ? 3 : 0,
        .bytes_per_second = variant & 16 ? 400 : 0,
        .pings_per_second = variant & 32 ? 4 : 0,
        .heartbeat_s = 5,
        .max_memory = variant & 64 ? ff_mem_live_bytes() + (variant & 63) * 512U : MANY,
        .plain_topic = variant & 128 ? "" : "b",
        .echo_path = "/echo",
        .sys = true,
    };
}

/* A masked frame; the mask is zero half of the time, which is legal. */
static void send_frame(struct test_wire *wire, uint8_t first, const void *bytes, size_t len)
{
    uint8_t frame[TEXT + 16];
    size_t n = 0;

    frame[n++] = first;
    if (len < 126) {
        frame[n++] = (uint8_t)(0x80 | len);
    } else {
        frame[n++] = 0x80 | 126;
        frame[n++] = (uint8_t)(len >> 8);
        frame[n++] = (uint8_t)len;
    }
    memset(frame + n, len & 1 ? 0x5a : 0, 4);
    n += 4;
    for (size_t i = 0; i < len; i++)
        frame[n++] = ((const uint8_t *)bytes)[i] ^ (len & 1 ? 0x5a : 0);
    wire_write(wire, frame, n);
}

static void shake_hands(struct program *program, int i)
{
    static const char *const lines[] = {"Sec-WebSocket-Protocol: fanfare.v1.json\r\n",
                                        "Sec-WebSocket-Protocol: fanfare.v1.msgpack\r\n", "",
                                        "Origin: http://a\r\nX-Forwarded-For: 192.0.2.1\r\n"};
    static const char *const paths[] = {"/ws", "/ws", "/ws?topic=a", "/echo", "/", "/nope"};
    uint8_t how = next(program);
    const char *path = paths[how % 6];
    char head[HEAD];
    int len = snprintf(head, sizeof(head),
                       "GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n%s\r\n",
                       path, lines[(how >> 4) % 4]);

    dialects[i] = how % 6 == 3          ? DIALECT_ECHO
                  : (how >> 4) % 4 == 0 ? DIALECT_JSON
                  : (how >> 4) % 4 == 1 ? DIALECT_MSGPACK
                                        : DIALECT_PLAIN;
    wire_write(&wires[i], head, (size_t)len);
}

static int write_subscribe(char *out, size_t size, const char *topic, uint8_t how)
{
    static const char *const overflows[] = {"", ",\"overflow\":\"skip\"",
                                            ",\"overflow\":\"latest\"", ",\"overflow\":\"close\""};
    static const char *const rates[] = {"", ",\"rate\":0", ",\"rate\":2.5", ",\"rate\":-1"};
    static const char *const echoes[] = {"", ",\"echo\":false", ",\"echo\":true", ",\"since\":3"};

    return snprintf(out, size, "{\"type\":5,\"id\":%u,\"topic\":\"%s\"%s%s%s}", how, topic,
                    overflows[how & 3], rates[(how >> 2) & 3], echoes[(how >> 4) & 3]);
}

static int write_publish(char *out, size_t size, const char *topic, uint8_t how)
{
    static const char filling[] =
        "0123456789012345678901234567890123456789012345678901234567890123"
        "0123456789012345678901234567890123456789012345678901234567890123"
        "0123456789012345678901234567890123456789012345678901234567890123";

    return snprintf(out, size, "{\"type\":7,%s\"topic\":\"%s\",\"message\":\"%.*s\"}",
                    how & 1 ? "\"id\":1," : "", topic, how < 192 ? how : 190, filling);
}

/* One message in JSON, or one with several in it. */
static size_t write_json(struct program *program, char *out, size_t size)
{
    uint8_t kind = next(program);
    const char *topic = topics[next(program) % 8];
    uint8_t how = next(program);
    char one[HEAD / 2];
    int len = 0;

    switch (kind % 8) {
    case 0:
    case 1:
        return (size_t)write_subscribe(out, size, topic, how);
    case 2:
        return (size_t)snprintf(out, size, "{\"type\":6,\"id\":%u,\"topic\":\"%s\"}", how, topic);
    case 3:
    case 4:
        return (size_t)write_publish(out, size, topic, how);
    case 5:
        return (size_t)snprintf(out, size, "{\"type\":%u,\"id\":%u,\"heartbeat\":5}",
                                how & 1 ? 1 : 3, how);
    case 6: /* a batch: to itself, and gone within it */
        (void)write_publish(one, sizeof(one), topic, how);
        len = snprintf(out, size, "[%s", one);
        for (int i = 0; i < (how & 3) && len + HEAD < (int)size; i++)
            len += snprintf(out + len, size - (size_t)len, ",%s", one);
        len += snprintf(out + len, size - (size_t)len, ",{\"type\":6,\"topic\":\"%s\"},", topic);
        len += write_subscribe(out + len, size - (size_t)len, topic, (uint8_t)(how * 7));
        return (size_t)(len + snprintf(out + len, size - (size_t)len, "]"));
    default:
        return (size_t)snprintf(out, size, how & 1 ? "ping" : "{\"type\":2,\"message\":%u}", how);
    }
}

static size_t write_msgpack(struct program *program, uint8_t *out)
{
    static const uint8_t types[] = {5, 6, 7, 7, 1, 3};
    uint8_t type = types[next(program) % 6];
    const char *topic = topics[next(program) % 8];
    uint8_t how = next(program);
    size_t n = 0;

    out[n++] = type == 5 ? 0x98 : 0x94;
    out[n++] = type;
    out[n++] = how & 1 ? 7 : 0xc0;
    out[n++] = (uint8_t)(0xa0 | strlen(topic));
    memcpy(out + n, topic, strlen(topic));
    n += strlen(topic);
    if (type == 5) { /* since, overflow, rate, presence, echo */
        out[n++] = 0xc0;
        out[n++] = 0xc0;
        out[n++] = how & 2 ? 2 : 0xc0;
        out[n++] = 0xc0;
        out[n++] = how & 4 ? 0xc2 : 0xc0;
    } else { /* a payload of `how` octets, or a wild one */
        out[n++] = how & 1 ? 0xc4 : 0xd9;
        out[n++] = how;
        memset(out + n, 'x', how);
        n += how;
    }
    return n;
}

static void send_message(struct program *program, int i)
{
    char text[TEXT];
    size_t len = dialects[i] == DIALECT_MSGPACK ? write_msgpack(program, (uint8_t *)text)
                                                : write_json(program, text, sizeof(text));
    bool is_binary = dialects[i] == DIALECT_MSGPACK;

    send_frame(&wires[i], is_binary ? 0x82 : 0x81, text, len);
}

/* A message by the grammar: two octets of the program decide which of 65,536. */
static void send_by_grammar(struct program *program, int i)
{
    char text[TEXT];
    uint32_t seed = next(program) * 256U + next(program);
    struct grammar g = grammar_begin(seed, text, sizeof(text));
    bool is_packed = dialects[i] == DIALECT_MSGPACK;

    if (is_packed)
        grammar_packed_envelope(&g);
    else
        grammar_envelope(&g);
    send_frame(&wires[i], is_packed ? 0x82 : 0x81, text, (size_t)(g.at - text));
}

static void send_control(struct program *program, int i)
{
    static const uint8_t firsts[] = {0x89, 0x89, 0x8a, 0x88, 0x01, 0x80, 0x00, 0x89};
    uint8_t how = next(program);
    static const uint8_t body[126] = {0x03, 0xe8, 'b', 'y', 'e'};

    send_frame(&wires[i], firsts[how & 7], body, (how >> 3) * 4);
}

static void send_raw(struct program *program, int i)
{
    size_t len = next(program) % 64;
    size_t left = (size_t)(program->end - program->at);

    len = len < left ? len : left;
    wire_write(&wires[i], program->at, len);
    program->at += len;
}

static void open_connection(struct program *program)
{
    static const size_t windows[] = {0, 100, 1000, MANY};
    uint8_t how = next(program);
    struct address peer = {.len = sizeof(struct sockaddr_storage)};
    char text[32];
    int fd;

    if (!gateway_listener_ops.can_accept(&gateway, &listener) || drain.is_running)
        return;
    fd = wire_open(windows[how & 3]);
    if (fd < 0)
        return;
    dialects[fd - WIRE_FIRST_FD] = DIALECT_HTTP;
    (void)snprintf(text, sizeof(text), how & 4 ? "127.0.0.1:1" : "10.0.0.%d:1", how & 8 ? 1 : 2);
    if (address_parse(&peer, text))
        abort();
    gateway_listener_ops.accepted(&gateway, &listener, fd, &peer);
}

static void change_wire(struct program *program, struct test_wire *wire)
{
    static const int failures[] = {EINTR,   EAGAIN, ECONNRESET, EPIPE,
                                   ENOBUFS, ENOMEM, EIO,        ETIMEDOUT};
    uint8_t what = next(program);
    uint8_t how = next(program);

    switch (what % 6) {
    case 0:
        wire->window = how < 200 ? how : MANY;
        break;
    case 1:
        wire->window += how * 16UL;
        break;
    case 2:
        wire->unsent = 0;
        break;
    case 3:
        wire->chop = how % 9;
        break;
    case 4:
        wire->failure = failures[how & 7];
        break;
    default:
        wire->in_end = true;
        break;
    }
}

static void turn(unsigned first)
{
    worker.net.loop.now_ms = wire_now_ms;
    wire_turn(&worker.net.loop, first);
}

static void pass_time(struct program *program)
{
    static const uint16_t steps_ms[] = {1, 10, 100, 400, 1000, 2500, 6000, 30000};
    uint8_t how = next(program);

    wire_now_ms += steps_ms[how & 7];
    turn(how >> 3);
}

static void step(struct program *program)
{
    uint8_t op = next(program);
    int i = (op >> 4) % WIRES;

    switch (op & 15) {
    case 0:
        open_connection(program);
        break;
    case 1:
        if (wires[i].is_used)
            shake_hands(program, i);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        if (wires[i].is_used)
            send_message(program, i);
        break;
    case 7:
        if (wires[i].is_used)
            send_control(program, i);
        break;
    case 8:
        if (wires[i].is_used)
            send_raw(program, i);
        break;
    case 9:
    case 10:
        change_wire(program, &wires[i]);
        break;
    case 11:
        pass_time(program);
        break;
    case 14:
        if (wires[i].is_used)
            send_by_grammar(program, i);
        break;
    case 12:
        ff_mem_fail_at(next(program) % 32);
        break;
    case 13:
        if (next(program) < 16 && !drain.is_running) {
            drain_begin(&drain, 2);
        } else {
            settings = tiny_settings(next(program));
            gateway_configure(&gateway, &settings, rules, (op >> 4) % 3);
        }
        break;
    default:
        turn(op >> 4);
        break;
    }
}

static void abort_session(void *arg, struct session *session)
{
    (void)arg;
    conn_abort(&session->conn);
}

static void on_drained(void *arg)
{
    (void)arg;
    wire_is_stopped = true;
}

static void end_all(void)
{
    ff_mem_fail_at(0);
    for (int i = 0; i < 3; i++)
        turn(0);
    gateway_each(&gateway, abort_session, NULL);
    net_abort_all(&worker.net);
    net_free_dead(&worker.net);
    wheel_stop(&worker.net.wheel, &drain.timer);
    gateway_deinit(&gateway);
    worker_deinit(&worker);
    shared_deinit(&shared);
    for (int i = 0; i < WIRES; i++)
        if (wires[i].is_used)
            abort(); /* a descriptor was left open */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct program program = {data, data + size};
    size_t before = ff_mem_live_blocks();

    if (!size)
        return 0;
    log_set(LOG_ERROR, false);
    wire_reset();
    settings = tiny_settings(next(&program));
    if (shared_init(&shared, 1) || worker_init(&worker, 0, NULL) ||
        gateway_init(&gateway, &worker, &shared, &settings))
        abort();
    gateway_configure(&gateway, &settings, rules, FF_COUNT(rules));
    worker.net.close_ms = 300;
    worker.net.outbox_max = 2000;
    drain_init(&drain, &gateway, on_drained, NULL);
    listener = (struct listener){.net = &worker.net};
    for (int i = 0; i < MAX_STEPS && program.at < program.end && !wire_is_stopped; i++)
        step(&program);
    end_all();
    if (ff_mem_live_blocks() != before)
        abort();
    return 0;
}
