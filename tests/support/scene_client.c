/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/scene_client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "broker/session/session.h"
#include "tests/support/calls.h"
#include "tests/support/client.h"
#include "tests/support/test.h"

enum {
    MOST_TURNS = 1000000, /* in which something happens: a broker that never rests hangs */
    NAP_US = 100,
    PATIENCE = 300000, /* naps, for what must come; an end to a test that has failed already */
    LITTLE_PATIENCE = 2,
};

struct client scene_clients[CLIENTS];
struct server scene_server;
SSL_CTX *scene_client_ctx;
struct scene_fault scene_played;
unsigned scene_steps;

void act_as_client(bool on)
{
    call_is_exempt = on;
    ff_mem_exempt(on);
}

void client_close(struct client *c)
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
        if (scene_clients[i].is_open && is_between(flow, &scene_clients[i]))
            return !scene_clients[i].is_stalled;
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
    struct worker_thread *thread = &scene_server.threads[0];
    const struct ff_list *closing = &thread->worker.net.closing;
    bool is_any_blocked = false;

    for (size_t i = 0; i < CLIENTS; i++)
        if (!is_still(&scene_clients[i]))
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

    ev_run(scene_server.threads[0].worker.net.loop.ev, EVRUN_NOWAIT);
    act_as_client(true);
    for (size_t k = 0; k < CLIENTS; k++)
        is_new |= client_read(&scene_clients[k]);
    act_as_client(false);
    return is_new || call_total != before;
}

/* Turns of the broker, until nothing happens any more and nothing is on its way. */
void pump(void)
{
    enum { STILL_TURNS = 3 }; /* what came is noted in one turn and read in the next */
    unsigned patience = scene_played.is_strict ? PATIENCE : LITTLE_PATIENCE;
    unsigned still = 0;

    for (unsigned turns = 0; still < STILL_TURNS; turns++) {
        if (turns == MOST_TURNS)
            fail_msg("the broker is never at rest (step %u)", scene_steps);
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

void pass_ms(uint64_t ms)
{
    scene_server.threads[0].worker.net.loop.now_ms += ms;
    pump();
}

void client_write(struct client *c, const void *bytes, size_t len)
{
    scene_steps++;
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

void client_connect(struct client *c, size_t listener, int receive_buffer)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in *at =
        (const struct sockaddr_in *)&scene_server.threads[0].listeners[listener].address.storage;
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t own_len = sizeof(own);
    int on = 1;

    act_as_client(true);
    scene_steps++;
    client_close(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    /* Packets of one octet overflow a small one: then the kernel's own timers send them again. */
    if (receive_buffer && !scene_played.is_always_short)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    to.sin_port = at->sin_port;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    call_flows[c->fd] = (struct call_flow){.sent = 0};
    c->is_open = connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0;
    (void)getsockname(c->fd, (struct sockaddr *)&own, &own_len);
    c->port = own.sin_port;
    c->listener = scene_server.threads[0].listeners[listener].io.fd;
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->len = 0;
    c->is_stalled = c->was_accepted = false;
    if (!c->is_open)
        (void)close(c->fd);
    act_as_client(false);
    pump();
}

/* The client's part of a TLS handshake. */
void client_secure(struct client *c)
{
    int done = -1;

    if (!c->is_open)
        return;
    act_as_client(true);
    c->ssl = SSL_new(scene_client_ctx);
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

void client_upgrade(struct client *c, const char *path, const char *protocol)
{
    char head[TEXT];

    client_write(c, head, client_put_head(head, sizeof(head), path, protocol));
}

void client_frame(struct client *c, uint8_t first, const void *bytes, size_t len)
{
    uint8_t frame[FF_FRAME_HEAD_MAX + TEXT];

    client_write(c, frame, client_put_frame(frame, first, bytes, len));
}

void client_send(struct client *c, const char *text)
{
    client_frame(c, 0x81, text, strlen(text));
}

/* `count` messages of `size` octets and a bit to a topic, at once. */
void client_publish_many(struct client *c, const char *topic, int size, int count)
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

void client_publish(struct client *c, const char *topic, int size)
{
    client_publish_many(c, topic, size, 1);
}

/* `text` came, and what was before it is forgotten; only a strict scene insists on it. */
void expect_bytes(struct client *c, const void *text, size_t len)
{
    char *found = memmem(c->bytes, c->len, text, len);

    if (scene_played.is_strict && !found)
        fail_msg("allocation %lu or call %lu failed (%d); at step %u \"%s\" did not come; there "
                 "is: %.*s",
                 (unsigned long)scene_played.allocation, (unsigned long)scene_played.call,
                 scene_played.error, scene_steps, (const char *)text, (int)c->len, c->bytes);
    if (!found)
        return;
    c->len -= (size_t)(found - c->bytes) + len;
    memmove(c->bytes, found + len, c->len);
}

void expect(struct client *c, const char *text)
{
    expect_bytes(c, text, strlen(text));
}
