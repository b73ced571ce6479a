/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backpressure, end to end: subscribers that stop reading beside some that
 * read, and a publisher paced by the slowest of those.
 *
 *   backpressure PORT PID RULE MIB STALLED READERS
 *
 * A peer of the tests' own, without a line of Fanfare's: it speaks just enough
 * WebSocket and knows the JSON that the broker writes. Prints one JSON line
 * with what it saw; exits 1 with a sentence when something is not as it must be.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MESSAGE = 1024,
    WINDOW = 256 * 1024, /* octets under way to the slowest reader */
    IN_SIZE = 1 << 18,
    CLOSE_WAIT_MS = 120000,
};

struct conn {
    int fd;
    bool is_stalled;
    bool is_over;
    int close_code;    /* 0: none seen */
    uint64_t received; /* messages */
    uint64_t last;     /* number of the last one */
    uint64_t skipped;  /* as told by gaps */
    uint64_t gaps;
    uint64_t before_gap; /* messages before the first gap */
    uint64_t at_gap;     /* and before the last one */
    uint8_t *in;
    size_t in_len;
};

static struct conn *conns; /* stalled ones, then readers, then the monitor */
static int conn_count;
static int stalled_count;
static int reader_count;
static int epoll;
static uint64_t published;
static uint64_t live_bytes; /* as $SYS/broker last told */
static uint64_t reports;
static const char *rule;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t resident(int pid)
{
    char path[64];
    unsigned long pages = 0;
    FILE *in;

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    in = fopen(path, "r");
    if (!in || fscanf(in, "%*u %lu", &pages) != 1)
        fail("the broker is gone");
    (void)fclose(in);
    return pages * 4096;
}

static void send_all(int fd, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    while (len) {
        ssize_t sent = send(fd, p, len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EAGAIN)
            continue;
        if (sent <= 0)
            fail("send: %s", strerror(errno));
        p += sent;
        len -= (size_t)sent;
    }
}

/* A masked text frame with a key of zeros: the payload stays as it is. */
static void send_text(int fd, const char *text, size_t len)
{
    uint8_t frame[MESSAGE + 300];
    size_t at = 0;

    frame[at++] = 0x81;
    if (len < 126) {
        frame[at++] = (uint8_t)(0x80 | len);
    } else {
        frame[at++] = 0x80 | 126;
        frame[at++] = (uint8_t)(len >> 8);
        frame[at++] = (uint8_t)len;
    }
    memset(frame + at, 0, 4);
    memcpy(frame + at + 4, text, len);
    send_all(fd, frame, at + 4 + len);
}

static int dial(int port)
{
    static const char request[] = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                  "Sec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    char head[512];
    size_t len = 0;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        fail("connect: %s", strerror(errno));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    send_all(fd, request, sizeof(request) - 1);
    do { /* an octet at a time, so that nothing behind the head is taken */
        if (len == sizeof(head) - 1 || recv(fd, head + len, 1, 0) != 1)
            fail("no answer to the handshake");
        head[++len] = '\0';
    } while (!strstr(head, "\r\n\r\n"));
    if (!strstr(head, " 101 "))
        fail("the handshake was refused: %s", head);
    return fd;
}

static uint64_t number_behind(const char *text, size_t len, const char *key)
{
    const char *at = memmem(text, len, key, strlen(key));

    return at ? strtoull(at + strlen(key), NULL, 10) : UINT64_MAX;
}

static void on_text(struct conn *c, const char *text, size_t len)
{
    if (memmem(text, len, "\"type\":2,\"topic\":\"$SYS", 22)) {
        live_bytes = number_behind(text, len, "\"memory\":");
        reports++;
    } else if (memcmp(text, "{\"type\":2,", 10) == 0) {
        uint64_t n = number_behind(text, len, "{\"n\":");

        if (n <= c->last)
            fail("message %llu came behind %llu", (unsigned long long)n,
                 (unsigned long long)c->last);
        if (n != c->received + c->skipped + 1)
            fail("message %llu came, but %llu were received and %llu told of as missed",
                 (unsigned long long)n, (unsigned long long)c->received,
                 (unsigned long long)c->skipped);
        c->last = n;
        c->received++;
    } else if (memcmp(text, "{\"type\":10,", 11) == 0) {
        if (c->gaps && c->received == c->at_gap)
            fail("a gap in two: what is missing is told at once");
        if (c->gaps++ == 0)
            c->before_gap = c->received;
        c->at_gap = c->received;
        c->skipped += number_behind(text, len, "\"skipped\":");
    } else if (memcmp(text, "{\"type\":9,", 10) == 0) {
        fail("an error: %.*s", (int)len, text);
    }
}

static void on_frame(struct conn *c, uint8_t opcode, uint8_t *payload, size_t len)
{
    if (opcode == 1) {
        on_text(c, (char *)payload, len);
    } else if (opcode == 8) {
        c->close_code = len >= 2 ? payload[0] << 8 | payload[1] : 1005;
        c->is_over = true;
    }
}

/* All whole frames in the buffer. */
static void take_frames(struct conn *c)
{
    size_t at = 0;

    while (c->in_len - at >= 2) {
        size_t head = 2;
        size_t len = c->in[at + 1] & 0x7f;

        if (len == 126) {
            head = 4;
            if (c->in_len - at < head)
                break;
            len = (size_t)c->in[at + 2] << 8 | c->in[at + 3];
        }
        if (c->in_len - at < head + len)
            break;
        on_frame(c, c->in[at] & 15, c->in + at + head, len);
        at += head + len;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void receive(struct conn *c)
{
    ssize_t got = recv(c->fd, c->in + c->in_len, IN_SIZE - c->in_len, MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        c->is_over = true;
        (void)epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
        return;
    }
    c->in_len += (size_t)got;
    take_frames(c);
}

static void poll_once(int timeout_ms)
{
    struct epoll_event events[256];
    int count = epoll_wait(epoll, events, 256, timeout_ms);

    for (int i = 0; i < count; i++)
        receive(events[i].data.ptr);
}

static void watch(struct conn *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        fail("epoll: %s", strerror(errno));
}

static void subscribe(struct conn *c, int port, const char *topic)
{
    /* Who reads at full speed may find its socket full for a moment: that is enough for `latest`.
     */
    bool is_reader = c - conns >= stalled_count;
    const char *own = is_reader && strcmp(rule, "latest") == 0 ? "skip" : rule;
    char text[128];
    int len = snprintf(text, sizeof(text),
                       "{\"type\":5,\"id\":1,\"topic\":\"%s\",\"overflow\":\"%s\"}", topic, own);

    c->fd = dial(port);
    c->in = malloc(IN_SIZE);
    send_text(c->fd, text, (size_t)len);
    while (!memmem(c->in, c->in_len, "\"type\":8", 8)) { /* its ACK: the subscription stands */
        ssize_t got = recv(c->fd, c->in + c->in_len, IN_SIZE - c->in_len, 0);

        if (got <= 0)
            fail("no ACK");
        c->in_len += (size_t)got;
    }
    take_frames(c);
}

static uint64_t slowest(void)
{
    uint64_t least = UINT64_MAX;

    for (int i = stalled_count; i < stalled_count + reader_count; i++) {
        if (conns[i].is_over || conns[i].gaps)
            fail("a reader that reads lost its place: %llu gaps, close %d",
                 (unsigned long long)conns[i].gaps, conns[i].close_code);
        if (conns[i].received < least)
            least = conns[i].received;
    }
    return least;
}

static void publish_all(int fd, uint64_t count)
{
    char text[MESSAGE + 128];
    char payload[MESSAGE + 1];

    memset(payload, 'x', MESSAGE);
    while (published < count) {
        uint64_t reached = slowest();
        uint64_t burst = 0;

        while (published < count && (published - reached) * MESSAGE < WINDOW && burst++ < 64) {
            int head = snprintf(payload, sizeof(payload), "{\"n\":%llu,\"pad\":\"",
                                (unsigned long long)++published);
            int len;

            payload[head] = 'x';
            payload[MESSAGE - 2] = '"';
            payload[MESSAGE - 1] = '}';
            len = snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"t\",\"message\":%.*s}",
                           MESSAGE, payload);
            send_text(fd, text, (size_t)len);
        }
        poll_once(burst ? 0 : 10);
    }
    while (slowest() < count)
        poll_once(10);
}

static void wait_for_report(void)
{
    uint64_t before = reports;

    while (reports < before + 2)
        poll_once(10);
}

/* The stopped ones read again. */
static void check_stalled(uint64_t count, uint64_t *in_flight)
{
    bool is_close = strcmp(rule, "close") == 0;
    uint64_t until = now_ms() + CLOSE_WAIT_MS;

    for (int i = 0; i < stalled_count; i++)
        watch(&conns[i]);
    for (int i = 0; i < stalled_count; i++) {
        struct conn *c = &conns[i];

        while (!c->is_over && (is_close || c->received + c->skipped < count) && now_ms() < until)
            poll_once(10);
        if (is_close) {
            if (!c->is_over || (c->close_code && c->close_code != 4008))
                fail("a stalled one with the rule close: over %d, code %d", c->is_over,
                     c->close_code);
            continue;
        }
        if (c->is_over || c->received + c->skipped != count)
            fail("stalled %d: %llu received and %llu told of as missed of %llu, close %d", i,
                 (unsigned long long)c->received, (unsigned long long)c->skipped,
                 (unsigned long long)count, c->close_code);
        /* The kernel may take more of it after all, before it takes nothing any more. */
        if (c->gaps < 1)
            fail("stalled %d: no gap", i);
        if (strcmp(rule, "latest") == 0 && c->received != c->at_gap + 1)
            fail("latest: %llu messages behind the last gap",
                 (unsigned long long)(c->received - c->at_gap));
        *in_flight += c->before_gap;
    }
}

int main(int argc, char **argv)
{
    uint64_t live_before;
    uint64_t live_after;
    uint64_t rss_before;
    uint64_t rss_after;
    uint64_t begin;
    uint64_t took;
    uint64_t count;
    uint64_t in_flight = 0;
    int port;
    int pid;
    int publisher;

    if (argc != 7)
        fail("usage: backpressure PORT PID RULE MIB STALLED READERS");
    port = atoi(argv[1]);
    pid = atoi(argv[2]);
    rule = argv[3];
    count = strtoull(argv[4], NULL, 10) * 1048576 / MESSAGE;
    stalled_count = atoi(argv[5]);
    reader_count = atoi(argv[6]);
    conn_count = stalled_count + reader_count + 1;
    conns = calloc((size_t)conn_count, sizeof(*conns));
    epoll = epoll_create1(0);
    for (int i = 0; i < conn_count; i++) {
        subscribe(&conns[i], port, i == conn_count - 1 ? "$SYS/broker" : "t");
        if (i >= stalled_count)
            watch(&conns[i]);
    }
    publisher = dial(port);
    wait_for_report();
    live_before = live_bytes;
    rss_before = resident(pid);
    begin = now_ms();
    publish_all(publisher, count);
    took = now_ms() - begin;
    wait_for_report();
    live_after = live_bytes;
    rss_after = resident(pid);
    check_stalled(count, &in_flight);
    (void)printf("{\"rule\":\"%s\",\"messages\":%llu,\"seconds\":%.2f,\"live_growth\":%lld,"
                 "\"rss_growth\":%lld,\"in_flight\":%llu}\n",
                 rule, (unsigned long long)count, (double)took / 1000,
                 (long long)(live_after - live_before), (long long)(rss_after - rss_before),
                 (unsigned long long)(stalled_count ? in_flight / (uint64_t)stalled_count : 0));
    return 0;
}
