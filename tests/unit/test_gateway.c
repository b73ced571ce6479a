/* SPDX-License-Identifier: Apache-2.0 */
/* Two workers of one broker, whose turns are made by hand, in one thread. */
#include <sys/socket.h>
#include <unistd.h>

#include "broker/app/config.h"
#include "broker/engine/channel.h"
#include "broker/engine/crossing.h"
#include "broker/net/logger.h"
#include "broker/session/session.h"
#include "tests/support/client.h"
#include "tests/support/test.h"

enum { COUNT = 2, TEXT = 512 };

static struct config *config;
static struct census census;
static struct worker workers[COUNT];
static struct gateway gateways[COUNT];

static int begin(void **state)
{
    static char words[][16] = {"fanfared", "--workers", "2"};
    static char *argv[FF_COUNT(words)];
    struct config_request request;
    char error[CONFIG_ERROR_MAX];

    (void)state;
    for (size_t i = 0; i < FF_COUNT(words); i++)
        argv[i] = words[i];
    config = config_new(FF_COUNT(words), argv, &request, error);
    assert_non_null(config);
    log_set(LOG_ERROR, false);
    assert_int_equal(census_init(&census, COUNT), FF_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(worker_init(&workers[i], i, &census.epochs), FF_OK);
        assert_int_equal(gateway_init(&gateways[i], &workers[i], &census, &config->settings),
                         FF_OK);
    }
    return 0;
}

/* The end of the turn before, then what came meanwhile. */
static void turn(uint32_t i)
{
    ev_run(workers[i].net.loop.ev, EVRUN_NOWAIT);
}

static void abort_session(void *arg, struct session *session)
{
    (void)arg;
    conn_abort(&session->conn);
}

static int end(void **state)
{
    for (uint32_t i = 0; i < COUNT; i++)
        gateway_each(&gateways[i], abort_session, NULL);
    for (int round = 0; round < 10; round++)
        for (uint32_t i = 0; i < COUNT; i++)
            turn(i);
    for (uint32_t i = 0; i < COUNT; i++) {
        gateway_deinit(&gateways[i]);
        worker_deinit(&workers[i]);
    }
    census_deinit(&census);
    config_free(config);
    return nothing_leaked(state);
}

/* A listener's answer; the client's end of it. */
static int accept_socket(struct gateway *gateway)
{
    static const struct listener listener = {.is_tls = false};
    static const struct address nobody = {.len = 0};
    int both[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both), 0);
    gateway_listener_ops.accepted(gateway, &listener, both[0], &nobody);
    return both[1];
}

static void write_text(int fd, const char *text)
{
    uint8_t frame[TEXT + FF_FRAME_HEAD_MAX];
    size_t len = client_put_frame(frame, 0x81, text, strlen(text));

    assert_int_equal(send(fd, frame, len, 0), len);
}

static void write_head(int fd)
{
    char head[TEXT];
    size_t len = client_put_head(head, sizeof(head), "/ws", "fanfare.v1.json");

    assert_int_equal(send(fd, head, len, 0), len);
}

/* A mail that comes while the worker waits for events: after its turn, before the next. */
static struct late_mail {
    ev_prepare prepare;
    struct mail mail;
    uint32_t half_open; /* handshakes that were not done when it was opened */
    bool is_open;
} late;

static void open_late(struct mail *mail)
{
    (void)mail;
    late.is_open = true;
    late.half_open = gateways[0].half_open_count;
}

static void post_late(struct ev_loop *ev, ev_prepare *prepare, int events)
{
    (void)ev;
    (void)prepare;
    (void)events;
    mailbox_post(&workers[0].mailbox, &late.mail);
}

static void mail_is_opened_before_the_events_that_came_with_it(void **state)
{
    int fd = accept_socket(&gateways[0]);

    (void)state;
    turn(0);
    assert_int_equal(gateways[0].half_open_count, 1);
    write_head(fd);
    mail_init(&late.mail, open_late);
    ev_prepare_init(&late.prepare, post_late);
    ev_set_priority(&late.prepare, EV_MINPRI); /* behind the turn's end */
    ev_prepare_start(workers[0].net.loop.ev, &late.prepare);
    turn(0);
    ev_prepare_stop(workers[0].net.loop.ev, &late.prepare);
    assert_true(late.is_open);
    assert_int_equal(late.half_open, 1); /* what came with the mail was not read yet, */
    turn(0);
    assert_int_equal(gateways[0].half_open_count, 0); /* and is at the turn's end */
    (void)close(fd);
}

/* A topic's name that the other worker owns. */
static void name_foreign(char name[8])
{
    for (unsigned i = 0; i == 0 || crossing_owner(gateways[0].engine, ff_slice_of(name)) == 0; i++)
        (void)snprintf(name, 8, "t%u", i % 1000);
}

static void what_is_asked_in_the_flush_is_told_in_the_same_turn(void **state)
{
    char text[TEXT];
    char name[8];
    int fd;

    (void)state;
    config->settings.messages_per_second = 1;
    name_foreign(name);
    (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"%s\",\"message\":1}", name);
    fd = accept_socket(&gateways[0]);
    write_head(fd);
    turn(0);
    turn(0);
    for (int i = 0; i < 4; i++)
        write_text(fd, text);
    turn(0); /* takes the first ones, then its rate stops it */
    turn(0);
    turn(1);
    assert_true(gateway_at(&gateways[0], 0)->conn.pauses & PAUSE_RATE);
    assert_true(mailbox_is_empty(&workers[1].mailbox));
    conn_resume(&gateway_at(&gateways[0], 0)->conn, PAUSE_RATE);
    turn(0);
    assert_false(mailbox_is_empty(&workers[1].mailbox));
    (void)close(fd);
}

static bool is_reset(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) == 0;
}

static void a_crowded_worker_is_handed_no_socket(void **state)
{
    int fds[4];

    (void)state;
    config->settings.max_half_open = 2; /* one of each worker */
    atomic_fetch_add(&workers[0].load, 10);
    fds[0] = accept_socket(&gateways[0]);
    fds[1] = accept_socket(&gateways[0]); /* crosses before the other knows of the first */
    assert_int_equal(gateways[0].half_open_count, 0);
    turn(1);
    assert_int_equal(gateways[1].half_open_count, 1);
    assert_false(is_reset(fds[0]));
    assert_true(is_reset(fds[1]));
    turn(1);
    fds[2] = accept_socket(&gateways[0]);
    assert_int_equal(gateways[0].half_open_count, 1);
    write_head(fds[0]); /* it is one of the crowd no more */
    turn(1);
    turn(1);
    fds[3] = accept_socket(&gateways[0]);
    turn(1);
    assert_int_equal(gateways[0].half_open_count, 1);
    assert_int_equal(gateways[1].half_open_count, 1);
    atomic_fetch_sub(&workers[0].load, 10);
    for (size_t i = 0; i < FF_COUNT(fds); i++)
        (void)close(fds[i]);
}

/* Payloads that cross as blocks have a maximum on their way, of which the ring knows nothing. */
static void blocks_on_their_way_are_bounded(void **state)
{
    enum { RING = 4096 };
    struct exchange *exchange = exchange_new(COUNT, RING, RING);
    struct channel *channel;
    struct mailbox box;
    unsigned count = 0;

    (void)state;
    assert_non_null(exchange);
    channel = exchange_channel(exchange, 0, 1);
    mailbox_init(&box, NULL, NULL);
    channel->owner_box = &box;
    mail_init(&channel->asked, open_late);
    assert_true(channel_open(channel));
    while (channel_reserve(channel, 0, RING)) {
        channel_commit(channel, 0, RING);
        assert_true(++count <= CHANNEL_BLOCKS);
    }
    assert_int_equal(count, CHANNEL_BLOCKS);
    assert_true(atomic_load(&channel->is_full));
    assert_non_null(channel_reserve(channel, 0, 0)); /* what is no block has room */
    channel_release_block(channel, RING);
    assert_non_null(channel_reserve(channel, 0, RING));
    assert_null(channel_reserve(channel, 0, RING + 1));
    while (--count > 0)
        channel_release_block(channel, RING);
    assert_non_null(channel_reserve(channel, 0, 100 * RING)); /* one alone may be any size */
    mailbox_open(&box);
    exchange_free(exchange);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mail_is_opened_before_the_events_that_came_with_it, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_is_asked_in_the_flush_is_told_in_the_same_turn, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_crowded_worker_is_handed_no_socket, begin, end),
        cmocka_unit_test_teardown(blocks_on_their_way_are_bounded, nothing_leaked),
    };

    return cmocka_run_group_tests_name("gateway", tests, NULL, NULL);
}
