/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole broker on a scripted transport, with tiny limits. The input is a
 * program: open a connection, shake hands, send this, let the socket take so
 * much, fail the next call, fail the next allocation, move the clock, run a
 * turn, reload, drain. What must hold whatever it says: no crash, no leak, every
 * descriptor closed once, and whole frames only on every wire (see wire.h).
 *
 * The first octet says what is played: one to four workers, a flush by io_uring,
 * TLS. Several workers are one thread, and the program says whose turn it is, and
 * at which calls of that turn others have one of theirs: at the end of it nobody
 * may be owed an answer, and who reads all has all.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/app/drain.h"
#include "broker/carrier/channel.h"
#include "broker/net/logger.h"
#include "broker/session/session.h"
#include "protocol/base/mem.h"
#include "protocol/websocket/deflater.h"
#include "tests/fuzz/grammar.h"
#include "tests/fuzz/speech.h"
#include "tests/support/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MAX_STEPS = 400,
    MANY = 1 << 30,
    WORKERS = 4,
    SINGLES = 12,            /* wires that the program names each by itself, */
    CROWD = URING_LEAST + 2, /* and those of the crowd */
    TLS_MOST = 3,            /* handshakes of a run: each costs as much as a plain run */
    LEAST_ROUNDS = 6,        /* of all workers, until nothing is left to do */
    MOST_ROUNDS = 3000,
};
_Static_assert(SINGLES + CROWD <= WIRES, "there are wires for all of them");

enum dialect { DIALECT_HTTP, DIALECT_JSON, DIALECT_MSGPACK, DIALECT_PLAIN, DIALECT_ECHO };

/* The first octet of the input. */
enum {
    SHAPE_WORKERS = 3, /* one more than that */
    SHAPE_URING = 4,   /* the first worker flushes by io_uring, and has a crowd to send to */
    SHAPE_TLS = 8,     /* some connections speak TLS */
    SHAPE_TIGHT = 16,  /* rings between workers are full soon */
};

static struct shared shared;
static struct worker workers[WORKERS];
static struct gateway gateways[WORKERS];
static struct drain drains[WORKERS];
static struct listener listener; /* never open: connections are handed in */
static uint8_t shape;
static uint32_t worker_count;
static bool is_in_turn[WORKERS];
static uint32_t yields; /* a bit for each place where a worker may be stopped: is it? */
static uint32_t undrained;
static bool is_draining;
static unsigned handshakes; /* of TLS, so far */
static struct settings settings;
static enum dialect dialects[WIRES];

static const struct topic_rule rules[] = {
    {.filter = "b", .overflow = OVERFLOW_CLOSE, .max_buffered = 300, .has_presence = true},
    {.filter = "a/#", .overflow = OVERFLOW_LATEST, .max_message = 200, .has_presence = true},
};

static struct settings tiny_settings(uint8_t variant)
{
    return (struct settings){
        .flush = shape & SHAPE_URING ? FLUSH_URING : FLUSH_SEND,
        .max_head = variant & 1 ? 4096 : 1024,
        .max_message = variant & 1 ? 4096 : 300,
        .max_buffered = variant & 2 ? 4000 : 500,
        .max_topics = 4,
        .max_filters = 3,
        .dedup_seconds = 2,
        .max_keys = 3,
        .max_connections = shape & SHAPE_URING ? 8 + CROWD : 8,
        .max_connections_per_address = 3,
        .max_half_open = shape & SHAPE_URING ? 2 * CROWD
                         : variant & 4       ? 2
                                             : 6,
        .handshake_ms = 1000,
        .max_subscriptions = 5,
        .max_subscribed_filters = 2,
        .messages_per_second = variant & 8 ? 3 : 0,
        .bytes_per_second = variant & 16 ? 400 : 0,
        .pings_per_second = variant & 32 ? 4 : 0,
        .heartbeat_s = 5,
        .plain_heartbeat_s = 5,
        .plain_format = (variant >> 3) % 3,
        .max_memory = variant & 64 ? ff_mem_live_bytes() + (variant & 63) * 512U : MANY,
        .plain_topic = variant & 128 ? "" : "b",
        .echo_path = "/echo",
        .sys = true,
        .deflate = 1,
        .deflate_level = 1,
        .deflate_window = 15,
        .deflate_min = 50,
        .deflate_readers = 1 + (variant & 1),
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

static void write_head(struct test_wire *wire, const char *path, const char *line)
{
    char head[HEAD];
    int len = snprintf(head, sizeof(head),
                       "GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n%s\r\n",
                       path, line);

    wire_write(wire, head, (size_t)len);
}

static void shake_hands(struct program *program, int i)
{
    static const char *const lines[] = {"Sec-WebSocket-Protocol: fanfare.v1.json\r\n",
                                        "Sec-WebSocket-Protocol: fanfare.v1.msgpack\r\n", "",
                                        "Origin: http://a\r\nX-Forwarded-For: 192.0.2.1\r\n"};
    static const char *const paths[] = {"/ws", "/ws", "/ws?topic=a", "/echo", "/", "/nope"};
    static const char offer[] = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    uint8_t how = next(program);
    char line[HEAD / 2];

    dialects[i] = how % 6 == 3          ? DIALECT_ECHO
                  : (how >> 4) % 4 == 0 ? DIALECT_JSON
                  : (how >> 4) % 4 == 1 ? DIALECT_MSGPACK
                                        : DIALECT_PLAIN;
    (void)snprintf(line, sizeof(line), "%s%s", lines[(how >> 4) % 4], how & 64 ? offer : "");
    wires[i].out.may_compress |= (how & 64) != 0;
    wires[i].out.is_echo |= dialects[i] == DIALECT_ECHO;
    write_head(&wires[i], paths[how % 6], line);
}

/* The same, compressed by the level that makes stored blocks, or a real one. */
static void send_compressed(struct program *program, int i)
{
    uint8_t how = next(program);
    char text[TEXT];
    uint8_t packed[TEXT + 64];
    size_t len = write_json(program, text, sizeof(text));
    struct ff_deflater *deflater;

    ff_mem_exempt(true);
    deflater = ff_deflater_new(15, how % 3);
    if (!deflater)
        abort();
    len = ff_deflater_run(deflater, packed, sizeof(packed), (const uint8_t *)text, len);
    ff_deflater_free(deflater);
    ff_mem_exempt(false);
    if (how & 64 && len) /* now and then it is broken, or cut */
        packed[how % len] ^= how;
    if (how & 128)
        len /= 2;
    send_frame(&wires[i], how & 32 ? 0x41 : 0xc1, packed, len);
    if (how & 32)
        send_frame(&wires[i], 0x80, packed, 0);
}

static void send_message(struct program *program, int i)
{
    char text[TEXT];
    size_t len = dialects[i] == DIALECT_MSGPACK ? write_msgpack(program, (uint8_t *)text)
                                                : write_json(program, text, sizeof(text));
    bool is_binary = dialects[i] == DIALECT_MSGPACK;

    send_frame(&wires[i], is_binary ? 0x82 : 0x81, text, len);
}

/* Several publishes at once: rings get full, logs are trimmed while others read them. */
static void send_burst(struct program *program, int i)
{
    const char *topic = topics[next(program) % 4];
    uint8_t how = next(program);
    char text[TEXT];

    for (int count = 2 + how % 32; count > 0; count--)
        send_frame(&wires[i], 0x81, text,
                   (size_t)write_publish(text, sizeof(text), topic, (uint8_t)(how ^ count)));
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
    if (len & 1)
        wire_write_raw(&wires[i], program->at, len); /* where it speaks TLS, that is no record */
    else
        wire_write(&wires[i], program->at, len);
    program->at += len;
}

/* Hands a new connection to a worker's gateway, which may hand it on; its wire, or NULL. */
static struct test_wire *accept_wire(uint32_t worker, int first, size_t window, const char *from)
{
    struct newcomer newcomer = {.is_tls = listener.is_tls};
    struct test_wire *wire;
    int fd;

    listener.net = &workers[worker].net;
    if (!gateway_listener_ops.can_accept(&gateways[worker], &listener) || is_draining)
        return NULL;
    fd = wire_open(first, first == SINGLES ? WIRES : SINGLES, window);
    if (fd < 0)
        return NULL;
    wire = &wires[fd - WIRE_FIRST_FD];
    dialects[fd - WIRE_FIRST_FD] = DIALECT_HTTP;
    if (address_parse(&newcomer.peer, from))
        abort();
    newcomer.fd = fd;
    gateway_listener_ops.accepted(&gateways[worker], &newcomer);
    return wire;
}

static void open_connection(struct program *program)
{
    static const size_t windows[] = {0, 100, 1000, MANY};
    uint8_t how = next(program);
    bool is_tls = (shape & SHAPE_TLS) && (how & 16) && gateways[0].tls && handshakes < TLS_MOST;
    struct test_wire *wire;
    char text[32];

    (void)snprintf(text, sizeof(text), how & 4 ? "127.0.0.1:1" : "10.0.0.%d:1", how & 8 ? 1 : 2);
    listener.is_tls = is_tls;
    wire = accept_wire((how >> 5) % worker_count, 0, windows[how & 3], text);
    if (wire && is_tls && wire->is_used) {
        static const size_t records[] = {16384, 1, 30, 200};

        handshakes++;
        wire_tls_begin(wire, records[next(program) & 3]);
    }
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

static void turn_of(uint32_t i, unsigned first)
{
    is_in_turn[i] = true;
    workers[i].net.loop.now_ms = wire_now_ms;
    if (shape & SHAPE_TLS)
        for (int k = 0; k < SINGLES; k++)
            if (wires[k].is_used && wires[k].tls)
                wire_tls_work(&wires[k]);
    wire_turn(&workers[i].net.loop, first);
    is_in_turn[i] = false;
}

/* A worker is stopped in the midst of its turn where the program says so, and another has one. */
static void let_another(void)
{
    bool is_now = yields & 1;

    yields >>= 1;
    for (uint32_t i = 0; is_now && i < worker_count; i++) {
        if (!is_in_turn[i]) {
            turn_of(i, 0);
            return;
        }
    }
}

static void turn_all(unsigned first)
{
    for (uint32_t i = 0; i < worker_count; i++)
        turn_of((first + i) % worker_count, first);
}

/* One worker's, or one of each; what is left of `yields` holds for nobody else. */
static void turn(struct program *program, unsigned first)
{
    uint8_t how = worker_count > 1 ? next(program) : 0;

    if (how & 8)
        yields = next(program) + next(program) * 256U + next(program) * 65536U;
    if (how & 4 || worker_count == 1)
        turn_all(first);
    else
        turn_of(how % worker_count, first);
    yields = 0;
}

static void pass_time(struct program *program)
{
    static const uint16_t steps_ms[] = {1, 10, 100, 400, 1000, 2500, 6000, 30000};
    uint8_t how = next(program);

    wire_now_ms += steps_ms[how & 7];
    turn_all(how >> 3);
}

/* The wire that an operation is about: one by itself, or one of the crowd. */
static int choose_wire(struct program *program, uint8_t op)
{
    int i = op >> 4;

    if (i >= SINGLES && shape & SHAPE_URING)
        return SINGLES + next(program) % CROWD;
    return i % SINGLES;
}

static void on_drained(void *arg)
{
    (void)arg;
    wire_is_stopped = --undrained == 0;
}

static void begin_drain(void)
{
    is_draining = true;
    undrained = worker_count;
    for (uint32_t i = 0; i < worker_count; i++)
        drain_begin(&drains[i], 2, "the broker is restarting");
}

static void fail_something(struct program *program, uint8_t op)
{
    static const int errors[] = {EINTR, EAGAIN, EBUSY};
    uint8_t how = next(program);

    if (!(shape & SHAPE_URING) || op & 16)
        ff_mem_fail_at(how % 32);
    else
        wire_ring = (struct wire_ring){.refusals = how % 20,
                                       .error = errors[how % 3],
                                       .most = (how >> 5) * 3U,
                                       .is_backwards = op & 32};
}

static void speak(struct program *program, uint8_t op)
{
    int i = choose_wire(program, op);

    if (!wires[i].is_used)
        return;
    switch (op & 15) {
    case 1:
        shake_hands(program, i);
        break;
    case 6:
        if (worker_count > 1 && dialects[i] == DIALECT_JSON)
            send_burst(program, i);
        else
            send_message(program, i);
        break;
    case 7:
        send_control(program, i);
        break;
    case 8:
        send_raw(program, i);
        break;
    case 5:
        if (wires[i].out.may_compress)
            send_compressed(program, i);
        else
            send_message(program, i);
        break;
    case 14:
        send_by_grammar(program, i);
        break;
    default:
        send_message(program, i);
        break;
    }
}

static void step(struct program *program)
{
    uint8_t op = next(program);

    switch (op & 15) {
    case 0:
        open_connection(program);
        break;
    case 9:
    case 10:
        change_wire(program, &wires[choose_wire(program, op)]);
        break;
    case 11:
        pass_time(program);
        break;
    case 12:
        fail_something(program, op);
        break;
    case 13:
        if (next(program) < 16 && !is_draining) {
            begin_drain();
            break;
        }
        settings = tiny_settings(next(program));
        for (uint32_t i = 0; i < worker_count; i++)
            gateway_configure(&gateways[i], &settings, rules, (op >> 4) % 3);
        break;
    case 15:
        turn(program, op >> 4);
        break;
    default:
        speak(program, op);
        break;
    }
}

static void abort_session(void *arg, struct session *session)
{
    (void)arg;
    conn_abort(&session->conn);
}

/* Has a session that reads all that it asked for, and all that came? */
static void check_session(void *arg, struct session *session)
{
    const struct subscription *s = NULL;
    bool *is_calm = arg;

    if (!session_is_open(session))
        return;
    *is_calm &= !session->awaited && !session->conn.is_blocked;
    while ((s = subscriptions_next(&session->subscriptions, s)))
        if (!s->rate && s->state != SUBSCRIPTION_IDLE)
            *is_calm &= s->state == SUBSCRIPTION_LINKED &&
                        s->cursor.byte == log_look(s->link->log).head_byte;
}

static bool is_calm(void)
{
    bool is_calm = true;

    for (uint32_t i = 0; i < worker_count; i++)
        gateway_each(&gateways[i], check_session, &is_calm);
    return is_calm;
}

/*
 * Whoever was stopped goes on, and sockets take everything, while time stands: then an answer
 * that is not there was lost, or a worker was not told of something.
 */
static void settle(void)
{
    ff_mem_fail_at(0);
    wire_ring = (struct wire_ring){.refusals = 0};
    for (int round = 0; round < LEAST_ROUNDS || !is_calm(); round++) {
        if (round == MOST_ROUNDS)
            abort();
        for (int i = 0; i < WIRES; i++) {
            wires[i].window = MANY;
            wires[i].unsent = wires[i].chop = 0;
            wires[i].failure = 0;
        }
        turn_all((unsigned)round);
    }
}

/* As the server does it: what workers still have to tell each other is told. */
static void wind_up(void)
{
    bool is_quiet = false;

    for (int round = 0; !is_quiet; round++) {
        if (round == 1000)
            abort(); /* they never come to an end */
        is_quiet = true;
        for (uint32_t i = 0; i < worker_count; i++) {
            mailbox_open(&workers[i].mailbox);
            gateway_each(&gateways[i], abort_session, NULL);
            net_abort_all(&workers[i].net);
            net_free_dead(&workers[i].net);
            carrier_notify(gateways[i].carrier);
            is_quiet &= worker_count == 1 || registry_is_unread(&gateways[i].router.registry);
        }
        for (uint32_t i = 0; i < worker_count; i++)
            is_quiet &= mailbox_is_empty(&workers[i].mailbox);
    }
}

static void end_all(void)
{
    ff_mem_fail_at(0);
    yields = 0;
    if (shape && !wire_is_stopped)
        settle();
    for (int i = 0; i < 3; i++)
        turn_all(0);
    wire_yield = NULL;
    wind_up();
    for (uint32_t i = 0; i < worker_count; i++)
        wheel_stop(&workers[i].net.wheel, &drains[i].timer);
    for (uint32_t i = 0; i < worker_count; i++)
        gateway_deinit(&gateways[i]);
    for (uint32_t i = 0; i < worker_count; i++)
        worker_deinit(&workers[i]);
    shared_deinit(&shared);
    for (int i = 0; i < WIRES; i++)
        if (wires[i].is_used)
            abort(); /* a descriptor was left open */
}

/* So many of the first worker's that it flushes by io_uring. */
static void open_crowd(void)
{
    for (int i = 0; i < CROWD; i++) {
        struct test_wire *wire;

        for (uint32_t k = 1; k < worker_count; k++) /* it is not handed on */
            atomic_fetch_add(&workers[k].load, 1000);
        wire = accept_wire(0, SINGLES, MANY, "127.0.0.1:1");
        for (uint32_t k = 1; k < worker_count; k++)
            atomic_fetch_sub(&workers[k].load, 1000);
        if (wire)
            write_head(wire, "/ws?topic=a", "");
    }
    for (int i = 0; i < 4; i++)
        turn_all(0);
}

static void begin(void)
{
    static const struct listener closed = {.is_open = false};

    listener = closed;
    is_draining = false;
    yields = 0;
    handshakes = 0;
    worker_count = 1 + (shape & SHAPE_WORKERS);
    if (shared_init(&shared, worker_count))
        abort();
    if (shared.exchange) {
        exchange_free(shared.exchange);
        shared.exchange = shape & SHAPE_TIGHT ? exchange_new(worker_count, 4096, 1024)
                                              : exchange_new(worker_count, 16384, 4096);
    }
    for (uint32_t i = 0; i < worker_count; i++) {
        if (worker_init(&workers[i], i, worker_count > 1 ? &shared.qsbr : NULL) ||
            gateway_init(&gateways[i], &workers[i], &shared, &settings))
            abort();
        gateway_configure(&gateways[i], &settings, rules, FF_COUNT(rules));
        gateways[i].tls = shape & SHAPE_TLS ? wire_tls_context() : NULL;
        workers[i].net.close_ms = 300;
        workers[i].net.outbox_max = 2000;
        drain_init(&drains[i], &gateways[i], on_drained, NULL);
    }
    if (shape & SHAPE_URING && net_use_uring(&workers[0].net))
        abort();
    if (shape & SHAPE_URING)
        open_crowd();
    if (worker_count > 1)
        wire_yield = let_another;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct program program = {data, data + size};
    size_t before;

    if (size < 2)
        return 0;
    log_set(LOG_ERROR, false);
    shape = next(&program);
    if (shape & SHAPE_TLS) /* what it makes once is there before the first descriptor */
        (void)wire_tls_context();
    before = ff_mem_live_blocks();
    wire_reset();
    settings = tiny_settings(next(&program));
    begin();
    for (int i = 0; i < MAX_STEPS && program.at < program.end && !wire_is_stopped; i++)
        step(&program);
    end_all();
    if (ff_mem_live_blocks() != before)
        abort();
    return 0;
}
