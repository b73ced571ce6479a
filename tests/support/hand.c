/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/hand.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/carrier/carrier.h"
#include "broker/net/logger.h"
#include "tests/support/client.h"
#include "tests/support/test.h"

enum { HEAD = 512, ROOM = 64 * 1024 * 1024 };

struct config *hand_config;
struct shared hand_shared;
struct worker hand_workers[HAND_WORKERS];
struct gateway hand_gateways[HAND_WORKERS];

static uint32_t worker_count;

void hand_begin(uint32_t workers)
{
    static char words[][16] = {"fanfared", "--workers", "1"};
    static char *argv[FF_COUNT(words)];
    struct config_request request;
    char error[CONFIG_ERROR_MAX];

    worker_count = workers;
    (void)snprintf(words[2], sizeof(words[2]), "%u", workers);
    for (size_t i = 0; i < FF_COUNT(words); i++)
        argv[i] = words[i];
    hand_config = config_new(FF_COUNT(words), argv, &request, error);
    assert_non_null(hand_config);
    log_set(LOG_ERROR, false);
    assert_int_equal(shared_init(&hand_shared, workers), FF_OK);
    for (uint32_t i = 0; i < workers; i++) {
        assert_int_equal(worker_init(&hand_workers[i], i, workers > 1 ? &hand_shared.qsbr : NULL),
                         FF_OK);
        assert_int_equal(
            gateway_init(&hand_gateways[i], &hand_workers[i], &hand_shared, &hand_config->settings),
            FF_OK);
    }
}

void hand_turn(uint32_t worker)
{
    ev_run(hand_workers[worker].net.loop.ev, EVRUN_NOWAIT);
}

void hand_turn_all(void)
{
    for (uint32_t i = 0; i < worker_count; i++)
        hand_turn(i);
}

static void abort_session(void *arg, struct session *session)
{
    (void)arg;
    conn_abort(&session->conn);
}

int hand_end(void **state)
{
    for (uint32_t i = 0; i < worker_count; i++) {
        gateway_each(&hand_gateways[i], abort_session, NULL);
        net_abort_all(&hand_workers[i].net);
    }
    for (int round = 0; round < 20; round++)
        hand_turn_all();
    for (uint32_t i = 0; i < worker_count; i++) {
        gateway_deinit(&hand_gateways[i]);
        worker_deinit(&hand_workers[i]);
    }
    shared_deinit(&hand_shared);
    config_free(hand_config);
    return nothing_leaked(state);
}

int hand_accept(struct gateway *gateway)
{
    struct newcomer newcomer = {.is_tls = false};
    int both[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both), 0);
    newcomer.fd = both[0];
    gateway_listener_ops.accepted(gateway, &newcomer);
    return both[1];
}

struct ff_slice hand_name(uint32_t owner, uint32_t n, char out[64])
{
    for (uint32_t i = 0;; i++) {
        (void)snprintf(out, 64, "name/%u", i);
        if (carrier_owner(hand_gateways[0].carrier, ff_slice_of(out)) == owner && n-- == 0)
            return ff_slice_of(out);
    }
}

/* The session that was admitted last. */
static struct session *find_newest(const struct gateway *gateway)
{
    for (uint32_t i = 0; i < gateway->slot_count; i++) {
        struct session *session = gateway_at(gateway, i);

        if (session && session->tag >> TAG_WORKER_BITS == gateway->newcomers)
            return session;
    }
    return NULL;
}

void hand_connect(struct hand_client *client, uint32_t worker, const char *path,
                  const char *protocol)
{
    char head[HEAD];
    size_t len = client_put_head(head, sizeof(head), path, protocol);
    size_t end = 0;

    *client = (struct hand_client){.fd = -1};
    ff_buf_init(&client->in, ROOM);
    ff_buf_init(&client->out, ROOM);
    for (uint32_t i = 0; i < worker_count; i++) /* it is not handed over to another one */
        atomic_fetch_add(&hand_workers[i].load, i == worker ? 0 : 1000);
    client->fd = hand_accept(&hand_gateways[worker]);
    for (uint32_t i = 0; i < worker_count; i++)
        atomic_fetch_sub(&hand_workers[i].load, i == worker ? 0 : 1000);
    client->session = find_newest(&hand_gateways[worker]);
    assert_non_null(client->session);
    assert_int_equal(send(client->fd, head, len, 0), len);
    for (int i = 0; i < 10 && !end; i++) {
        const char *at;

        if (protocol)
            hand_turn(worker);
        else
            hand_turn_all(); /* the owner of its topic must have subscribed it */
        hand_read(client);
        at = client->in.len ? memmem(client->in.data, client->in.len, "\r\n\r\n", 4) : NULL;
        end = at ? (size_t)(at - client->in.data) + 4 : 0;
    }
    assert_true(end > 0);
    client->taken = end;
}

void hand_disconnect(struct hand_client *client)
{
    if (client->fd >= 0)
        (void)close(client->fd);
    client->fd = -1;
    ff_buf_deinit(&client->in);
    ff_buf_deinit(&client->out);
}

void hand_send(struct hand_client *client)
{
    while (client->out.len) {
        ssize_t sent = send(client->fd, client->out.data, client->out.len, MSG_NOSIGNAL);

        if (sent < 0)
            return;
        memmove(client->out.data, client->out.data + sent, client->out.len - (size_t)sent);
        client->out.len -= (size_t)sent;
    }
}

void hand_put(struct hand_client *client, uint8_t first, const void *bytes, size_t len)
{
    assert_int_equal(ff_buf_reserve(&client->out, len + FF_FRAME_HEAD_MAX), FF_OK);
    client->out.len +=
        client_put_frame((uint8_t *)client->out.data + client->out.len, first, bytes, len);
    hand_send(client);
}

void hand_put_text(struct hand_client *client, const char *text)
{
    hand_put(client, 0x81, text, strlen(text));
}

void hand_read(struct hand_client *client)
{
    if (client->taken) {
        memmove(client->in.data, client->in.data + client->taken, client->in.len - client->taken);
        client->in.len -= client->taken;
        client->taken = 0;
    }
    for (;;) {
        ssize_t got;

        assert_int_equal(ff_buf_reserve(&client->in, HAND_FRAME), FF_OK);
        got = recv(client->fd, client->in.data + client->in.len, HAND_FRAME, 0);
        if (got <= 0) {
            client->is_at_end |= got == 0 || errno != EAGAIN;
            return;
        }
        client->in.len += (size_t)got;
    }
}

uint8_t hand_next(struct hand_client *client, char *payload, size_t *len)
{
    const uint8_t *at = (const uint8_t *)client->in.data + client->taken;
    size_t left = client->in.len - client->taken;
    size_t head = 2;

    if (left < head)
        return 0;
    *len = at[1];
    if (*len == 126) {
        head = 4;
        *len = left < head ? 0 : (size_t)at[2] << 8 | at[3];
    }
    assert_true(*len < HAND_FRAME); /* and no mask */
    if (left < head || left < head + *len)
        return 0;
    memcpy(payload, at + head, *len);
    payload[*len] = '\0';
    client->taken += head + *len;
    return at[0];
}
