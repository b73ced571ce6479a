/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/client.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "clients/c/stream.h"
#include "protocol/base/codes.h"
#include "protocol/base/mem.h"
#include "protocol/message/decode.h"
#include "protocol/message/encode.h"
#include "protocol/message/json.h"
#include "protocol/message/number.h"
#include "protocol/websocket/handshake.h"
#include "protocol/websocket/reader.h"

enum {
    READ_SIZE = 65536,
    IN_MAX = 256 * 1024 * 1024, /* read while a write waits */
    OUT_MAX = 64 * 1024 * 1024,
    MAX_MESSAGE = 1 << 30,
    NO_CLOSE_FRAME = 1006,
    WELCOME_MS = 10000,
    GRACE_MS = 10000, /* beyond the heartbeat's 2.5 intervals */
};

struct ff_client {
    struct ff_stream *stream;
    struct ff_reader reader;
    struct ff_buf in;
    struct ff_buf out;
    struct ff_buf spare;
    size_t in_at; /* octets of `in` already read */
    uint64_t buffered_limit;
    uint64_t message_limit; /* 0: not known */
    uint64_t heartbeat_ms;
    int64_t heard_ms;
    int64_t retry_ms; /* GOODBYE's; -1: none came */
    int close_code;
    bool is_over;    /* nothing more can be sent or read */
    bool has_closed; /* the broker's close frame was seen: nothing behind it counts */
    char why[FF_CLIENT_WHY];
};

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool end(struct ff_client *client, const char *why)
{
    if (!client->is_over)
        (void)snprintf(client->why, sizeof(client->why), "%s", why);
    client->is_over = true;
    return false;
}

/* Takes what is there to be read. */
static bool fill(struct ff_client *client)
{
    long got;

    if (client->in_at) {
        ff_buf_consume(&client->in, client->in_at);
        client->in_at = 0;
    }
    if (ff_buf_reserve(&client->in, READ_SIZE))
        return end(client, "out of memory for what the broker sends");
    got = ff_stream_read(client->stream, client->in.data + client->in.len, READ_SIZE);
    if (got == FF_STREAM_AGAIN)
        return true;
    if (got <= 0)
        return end(client, "the broker ended the connection without a word");
    client->in.len += (size_t)got;
    client->heard_ms = now_ms();
    return true;
}

/* Waits until something can be done and does it. False: it is over, or time is. */
static bool turn(struct ff_client *client, int timeout_ms)
{
    struct pollfd p = {.fd = ff_stream_fd(client->stream), .events = POLLIN};
    int ready = 1;

    if (client->out.len)
        p.events |= POLLOUT;
    if (ff_stream_has_input(client->stream))
        p.revents = POLLIN;
    else
        ready = poll(&p, 1, timeout_ms);
    if (ready >= 0)
        errno = 0;
    if (ready <= 0)
        return false;
    if ((p.revents & (POLLIN | POLLHUP | POLLERR)) && !fill(client))
        return false;
    if (client->out.len && (p.revents & POLLOUT)) {
        long sent = ff_stream_write(client->stream, client->out.data, client->out.len);

        if (sent == FF_STREAM_GONE)
            return end(client, "the broker ended the connection without a word");
        if (sent > 0)
            ff_buf_consume(&client->out, (size_t)sent);
    }
    return true;
}

/* How long the next wait may be; below 0: the broker was silent for too long. */
static int64_t next_wait(const struct ff_client *client, int64_t left_ms)
{
    int64_t quiet = now_ms() - client->heard_ms;
    int64_t wait = (int64_t)(client->heartbeat_ms * 5 / 2) + GRACE_MS - quiet;

    return left_ms < wait ? left_ms : wait;
}

/*
 * The broker seems to be silent for too long. What it sent while this program
 * did not run (it was stopped, the machine slept) waits in the socket and is
 * looked at first.
 */
static void judge_silence(struct ff_client *client)
{
    (void)turn(client, 0);
    if (!client->is_over && next_wait(client, 0) < 0)
        (void)end(client, "the broker was silent for too long");
}

static bool flush(struct ff_client *client)
{
    while (client->out.len && !client->is_over) {
        if (next_wait(client, 0) < 0)
            judge_silence(client);
        (void)turn(client, 1000);
    }
    return !client->is_over;
}

/* A masked frame into the output. */
static bool put_frame(struct ff_client *client, enum ff_opcode opcode, const void *bytes,
                      size_t len)
{
    uint8_t head[FF_FRAME_HEAD_MAX];
    uint8_t mask[4];
    size_t at;

    if (getrandom(mask, sizeof(mask), 0) != (ssize_t)sizeof(mask))
        return end(client, "no randomness for a mask");
    if (ff_buf_append(&client->out, head, ff_frame_write_masked_head(head, opcode, len, mask)))
        return end(client, "out of memory");
    at = client->out.len;
    if (ff_buf_append(&client->out, bytes, len))
        return end(client, "out of memory");
    ff_frame_mask((uint8_t *)client->out.data + at, len, mask, 0);
    return true;
}

static bool shake_hands(struct ff_client *client, const struct ff_url *url)
{
    struct ff_http_head head;
    uint8_t key[FF_KEY_SIZE];
    const char *wrong;
    size_t from = 0;
    int size = 0;
    int64_t until = now_ms() + WELCOME_MS;

    if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key) ||
        ff_handshake_write_request(&client->out, url->authority, url->target, FF_SUBPROTOCOL_JSON,
                                   key))
        return end(client, "out of memory");
    while (size == 0 && flush(client) && now_ms() < until) {
        (void)turn(client, 100);
        size = ff_http_find_end(client->in.data ? client->in.data : "", client->in.len, &from,
                                FF_HTTP_HEAD_MAX);
    }
    if (size <= 0)
        return end(client, size == 0 ? "the broker did not answer the handshake in 10 s"
                                     : "what answers there does not speak HTTP");
    client->in_at = (size_t)size;
    if (ff_http_parse_response(&head, client->in.data, (size_t)size))
        return end(client, "what answers there does not speak HTTP/1.1");
    if (head.status != 101) {
        (void)turn(client, 100);
        (void)snprintf(client->why, sizeof(client->why), "the broker refused with status %d: %.*s",
                       head.status, (int)strcspn(client->in.data + client->in_at, "\r\n"),
                       client->in.data + client->in_at);
        client->is_over = true;
        return false;
    }
    if (ff_handshake_check_answer(&head, FF_SUBPROTOCOL_JSON, key, &wrong))
        return end(client, wrong);
    return true;
}

static bool take_welcome(struct ff_client *client)
{
    struct ff_message m;
    struct ff_json limits;
    struct ff_slice key;
    struct ff_slice value;

    if (ff_client_next(client, &m, NULL, WELCOME_MS) <= 0)
        return end(client, "the broker sent no WELCOME in 10 s");
    if (m.type != FF_TYPE_WELCOME)
        return end(client, "the broker's first message is no WELCOME");
    client->heartbeat_ms = ff_message_has(&m, FF_FIELD_HEARTBEAT)
                               ? m.values[FF_FIELD_HEARTBEAT].integer * 1000
                               : 25000;
    if (!ff_message_has(&m, FF_FIELD_LIMITS))
        return true;
    limits = ff_json_enter(m.values[FF_FIELD_LIMITS].text);
    while (ff_json_next(&limits, &key, &value))
        if (ff_slice_is_equal(key, FF_SLICE("buffered")))
            client->buffered_limit = ff_number_read(value).u;
        else if (ff_slice_is_equal(key, FF_SLICE("message")))
            client->message_limit = ff_number_read(value).u;
    return true;
}

struct ff_client *ff_client_open(const struct ff_client_options *options, char why[FF_CLIENT_WHY])
{
    struct ff_client *client = ff_mem_zalloc(sizeof(*client));
    struct ff_url url;

    if (!client) {
        (void)snprintf(why, FF_CLIENT_WHY, "out of memory");
        return NULL;
    }
    ff_buf_init(&client->in, IN_MAX);
    ff_buf_init(&client->out, OUT_MAX);
    ff_buf_init(&client->spare, OUT_MAX);
    ff_reader_init(&client->reader, FF_ROLE_CLIENT, MAX_MESSAGE);
    client->heartbeat_ms = 25000;
    client->heard_ms = now_ms();
    client->retry_ms = -1;
    client->close_code = NO_CLOSE_FRAME;
    (void)snprintf(why, FF_CLIENT_WHY,
                   "%s is no URL: write ws://HOST:PORT/ws or wss://HOST:PORT/ws", options->url);
    if (ff_url_parse(&url, options->url))
        goto fail;
    client->stream =
        ff_stream_open(&url, options->ca_file, options->is_insecure, why, FF_CLIENT_WHY);
    if (!client->stream)
        goto fail;
    if (shake_hands(client, &url) && take_welcome(client))
        return client;
    (void)snprintf(why, FF_CLIENT_WHY, "%s", client->why);
fail:
    ff_client_free(client);
    return NULL;
}

void ff_client_free(struct ff_client *client)
{
    static const uint8_t normal[] = {0x03, 0xe8};

    if (!client)
        return;
    if (client->stream && !client->is_over && put_frame(client, FF_OP_CLOSE, normal, 2))
        (void)flush(client);
    ff_stream_free(client->stream);
    ff_reader_deinit(&client->reader);
    ff_buf_deinit(&client->in);
    ff_buf_deinit(&client->out);
    ff_buf_deinit(&client->spare);
    ff_mem_free(client);
}

static bool take_message(struct ff_client *client, const struct ff_reader_event *event,
                         struct ff_message *m, struct ff_slice *raw)
{
    struct ff_decoder decoder = {
        .encoding = FF_JSON, .sender = FF_BROKER, .unescape_buf = &client->spare};
    struct ff_slice text = {(const char *)event->bytes, event->len};
    const char *reason;
    size_t fault_at;

    if (ff_decode_begin(&decoder, text, &reason, &fault_at) || !ff_decode_next(&decoder, m))
        return false;
    if (raw)
        *raw = text;
    if (m->type == FF_TYPE_GOODBYE && ff_message_has(m, FF_FIELD_RETRY))
        client->retry_ms = (int64_t)ff_number_read(m->values[FF_FIELD_RETRY].text).u;
    if (m->error == FF_ERROR_NOT_FOUND)
        return false; /* a type of a later version: to be ignored */
    return !(m->type == FF_TYPE_HEARTBEAT && !ff_message_has(m, FF_FIELD_ID));
}

/* One event of the reader. True: there is a message. */
static bool take_event(struct ff_client *client, const struct ff_reader_event *event,
                       struct ff_message *m, struct ff_slice *raw)
{
    switch (event->kind) {
    case FF_READER_MESSAGE:
        return take_message(client, event, m, raw);
    case FF_READER_PING:
        (void)put_frame(client, FF_OP_PONG, event->bytes, event->len);
        break;
    case FF_READER_CLOSE: /* says more than that the connection ended */
        (void)snprintf(client->why, sizeof(client->why), "the broker closed with %d: %.*s",
                       event->code, (int)event->len, (const char *)event->bytes);
        client->is_over = client->has_closed = true;
        if (event->code != FF_CLOSE_NONE)
            client->close_code = event->code;
        break;
    case FF_READER_FAIL:
        (void)end(client, event->reason);
        client->has_closed = true;
        break;
    case FF_READER_PONG:
    case FF_READER_MORE:
        break;
    }
    return false;
}

/* Messages that were received already, also those that came before the connection ended. */
static bool take_received(struct ff_client *client, struct ff_message *m, struct ff_slice *raw)
{
    while (client->in_at < client->in.len && !client->has_closed) {
        struct ff_reader_event event;
        size_t used;

        ff_reader_next(&client->reader, (uint8_t *)client->in.data + client->in_at,
                       client->in.len - client->in_at, &used, &event);
        client->in_at += used;
        if (take_event(client, &event, m, raw))
            return true;
    }
    return false;
}

int ff_client_next(struct ff_client *client, struct ff_message *m, struct ff_slice *raw,
                   int timeout_ms)
{
    int64_t until = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;

    ff_reader_release(&client->reader);
    for (;;) {
        int64_t left = until - now_ms();
        int64_t wait = next_wait(client, left > 0 ? left : 0);

        if (take_received(client, m, raw))
            return 1;
        if (!client->is_over && wait < 0) {
            judge_silence(client);
            continue;
        }
        if (client->is_over)
            return -1;
        /* Nothing within the time, or a signal: the caller looks what it was. */
        if (!turn(client, (int)wait) && !client->is_over && (errno == EINTR || now_ms() >= until))
            return 0;
    }
}

static struct ff_writer begin(struct ff_client *client, enum ff_type type, uint64_t id)
{
    struct ff_writer w;

    client->spare.len = 0;
    ff_writer_begin(&w, &client->spare, FF_JSON, FF_CLIENT, type);
    if (id)
        ff_writer_integer(&w, FF_FIELD_ID, id);
    return w;
}

static bool finish(struct ff_client *client, struct ff_writer *w)
{
    if (ff_writer_end(w))
        return end(client, "out of memory");
    return !client->is_over &&
           put_frame(client, FF_OP_TEXT, client->spare.data, client->spare.len) && flush(client);
}

bool ff_client_subscribe(struct ff_client *client, uint64_t id, struct ff_slice topic,
                         const struct ff_subscribe *how)
{
    struct ff_writer w = begin(client, FF_TYPE_SUBSCRIBE, id);

    ff_writer_string(&w, FF_FIELD_TOPIC, topic);
    if (how && how->since)
        ff_writer_raw(&w, FF_FIELD_SINCE, ff_slice_of(how->since));
    if (how && how->overflow)
        ff_writer_string(&w, FF_FIELD_OVERFLOW, ff_slice_of(how->overflow));
    if (how && how->rate)
        ff_writer_raw(&w, FF_FIELD_RATE, ff_slice_of(how->rate));
    if (how && how->buffered)
        ff_writer_raw(&w, FF_FIELD_BUFFERED, ff_slice_of(how->buffered));
    return finish(client, &w);
}

bool ff_client_publish(struct ff_client *client, uint64_t id, struct ff_slice topic,
                       struct ff_slice json, bool is_retained)
{
    struct ff_writer w = begin(client, FF_TYPE_PUBLISH, id);

    ff_writer_string(&w, FF_FIELD_TOPIC, topic);
    ff_writer_raw(&w, FF_FIELD_MESSAGE, json);
    if (is_retained)
        ff_writer_bool(&w, FF_FIELD_RETAIN, true);
    return finish(client, &w);
}

bool ff_client_heartbeat(struct ff_client *client, uint64_t id)
{
    struct ff_writer w = begin(client, FF_TYPE_HEARTBEAT, id);

    return finish(client, &w);
}

const char *ff_client_why(const struct ff_client *client)
{
    return client->why;
}

int ff_client_close_code(const struct ff_client *client)
{
    return client->close_code;
}

int64_t ff_client_retry_ms(const struct ff_client *client)
{
    return client->retry_ms;
}

bool ff_client_is_too_large(const struct ff_client *client, uint64_t id, struct ff_slice topic,
                            struct ff_slice json, bool is_retained)
{
    /* As the writer lays it out: {"type":7,"id":1,"topic":"t","message":...,"retain":true} */
    int around = snprintf(NULL, 0, "{\"type\":%d,\"id\":%" PRIu64 ",\"topic\":,\"message\":%s}",
                          FF_TYPE_PUBLISH, id, is_retained ? ",\"retain\":true" : "");

    return client->message_limit &&
           (size_t)around + ff_json_quoted_size(topic) + json.len > client->message_limit;
}

uint64_t ff_client_message_limit(const struct ff_client *client)
{
    return client->message_limit;
}

uint64_t ff_client_buffered_limit(const struct ff_client *client)
{
    return client->buffered_limit;
}

int ff_client_fd(const struct ff_client *client)
{
    return ff_stream_fd(client->stream);
}

bool ff_client_has_input(const struct ff_client *client)
{
    return client->in_at < client->in.len || ff_stream_has_input(client->stream);
}
