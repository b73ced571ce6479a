/* SPDX-License-Identifier: Apache-2.0 */
/* Two workers of one broker, whose turns are made by hand, in one thread. */
#include <sys/socket.h>
#include <unistd.h>

#include "broker/carrier/carrier.h"
#include "broker/carrier/channel.h"
#include "protocol/websocket/deflater.h"
#include "tests/support/client.h"
#include "tests/support/hand.h"
#include "tests/support/test.h"

enum { COUNT = 2, TEXT = 512 };

static int begin(void **state)
{
    (void)state;
    hand_begin(COUNT);
    return 0;
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
    late.half_open = hand_gateways[0].half_open_count;
}

static void post_late(struct ev_loop *ev, ev_prepare *prepare, int events)
{
    (void)ev;
    (void)prepare;
    (void)events;
    mailbox_post(&hand_workers[0].mailbox, &late.mail);
}

static void mail_is_opened_before_the_events_that_came_with_it(void **state)
{
    int fd = hand_accept(&hand_gateways[0]);

    (void)state;
    hand_turn(0);
    assert_int_equal(hand_gateways[0].half_open_count, 1);
    write_head(fd);
    mail_init(&late.mail, open_late);
    ev_prepare_init(&late.prepare, post_late);
    ev_set_priority(&late.prepare, EV_MINPRI); /* behind the turn's end */
    ev_prepare_start(hand_workers[0].net.loop.ev, &late.prepare);
    hand_turn(0);
    ev_prepare_stop(hand_workers[0].net.loop.ev, &late.prepare);
    assert_true(late.is_open);
    assert_int_equal(late.half_open, 1); /* what came with the mail was not read yet, */
    hand_turn(0);
    assert_int_equal(hand_gateways[0].half_open_count, 0); /* and is at the turn's end */
    (void)close(fd);
}

/* A topic's name that the other worker owns. */
static void name_foreign(char name[8])
{
    for (unsigned i = 0; i == 0 || carrier_owner(hand_gateways[0].carrier, ff_slice_of(name)) == 0;
         i++)
        (void)snprintf(name, 8, "t%u", i % 1000);
}

static void what_is_asked_in_the_flush_is_told_in_the_same_turn(void **state)
{
    char text[TEXT];
    char name[8];
    int fd;

    (void)state;
    hand_config->settings.messages_per_second = 1;
    name_foreign(name);
    (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"%s\",\"message\":1}", name);
    fd = hand_accept(&hand_gateways[0]);
    write_head(fd);
    hand_turn(0);
    hand_turn(0);
    for (int i = 0; i < 4; i++)
        write_text(fd, text);
    hand_turn(0); /* takes the first ones, then its rate stops it */
    hand_turn(0);
    hand_turn(1);
    assert_true(gateway_at(&hand_gateways[0], 0)->conn.pauses & PAUSE_RATE);
    assert_true(mailbox_is_empty(&hand_workers[1].mailbox));
    conn_resume(&gateway_at(&hand_gateways[0], 0)->conn, PAUSE_RATE);
    hand_turn(0);
    assert_false(mailbox_is_empty(&hand_workers[1].mailbox));
    (void)close(fd);
}

/* Newcomers are greeted first; their requests stand behind what others have sent. */
static void what_newcomers_ask_is_done_in_its_turn(void **state)
{
    struct hand_client old;
    char publish[TEXT];
    char subscribe[TEXT];
    char payload[HAND_FRAME];
    char name[64];
    size_t len;
    int fd;

    (void)state;
    (void)hand_name(0, 0, name);
    (void)snprintf(publish, sizeof(publish), "{\"type\":7,\"id\":1,\"topic\":\"%s\",\"message\":1}",
                   name);
    (void)snprintf(subscribe, sizeof(subscribe), "{\"type\":5,\"topic\":\"%s\"}", name);
    hand_connect(&old, 0, "/ws", "fanfare.v1.json");
    assert_int_not_equal(hand_next(&old, payload, &len), 0); /* WELCOME */
    atomic_fetch_add(&hand_workers[1].load, 1000);
    fd = hand_accept(&hand_gateways[0]);
    atomic_fetch_sub(&hand_workers[1].load, 1000);
    hand_turn(0);
    write_head(fd);
    write_text(fd, subscribe);
    hand_put_text(&old, publish);
    hand_turn(0); /* both are noted, */
    hand_turn(0); /* and read */
    assert_int_equal(hand_gateways[0].half_open_count, 0);
    hand_read(&old);
    assert_int_not_equal(hand_next(&old, payload, &len), 0);
    assert_non_null(strstr(payload, "\"receivers\":0"));
    hand_turn(0);
    hand_put_text(&old, publish);
    hand_turn(0);
    hand_turn(0);
    hand_read(&old);
    assert_int_not_equal(hand_next(&old, payload, &len), 0);
    assert_non_null(strstr(payload, "\"receivers\":1"));
    hand_disconnect(&old);
    (void)close(fd);
}

static void be_away(struct engine *engine, const struct engine_subscription *what,
                    struct engine_caller caller)
{
    static const struct engine_start away = {.err = FF_EAWAY};

    (void)what;
    engine->events->started(engine->arg, caller, &away);
}

/* An engine that cannot be reached is no want of memory: the client may try again. */
static void a_subscription_is_refused_as_its_engine_says(void **state)
{
    struct engine *engine = hand_gateways[0].carrier->env.engine;
    const struct engine_ops *ops = engine->ops;
    struct engine_ops away = *ops;
    struct hand_client client;
    char payload[HAND_FRAME];
    size_t len;

    (void)state;
    away.subscribe = be_away;
    engine->ops = &away;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    assert_int_not_equal(hand_next(&client, payload, &len), 0); /* WELCOME */
    hand_put_text(&client,
                  "{\"type\":5,\"id\":1,\"topic\":\"#\"}"); /* asks both, is refused once */
    for (int i = 0; i < 3; i++)
        hand_turn_all();
    hand_read(&client);
    assert_int_not_equal(hand_next(&client, payload, &len), 0);
    assert_non_null(strstr(payload, "\"code\":503"));
    assert_non_null(strstr(payload, "\"retry\":true"));
    assert_int_equal(hand_next(&client, payload, &len), 0);
    assert_int_equal(client.session->subscriptions.count, 0);
    engine->ops = ops;
    hand_disconnect(&client);
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
    hand_config->settings.max_half_open = 2; /* one of each worker */
    atomic_fetch_add(&hand_workers[0].load, 10);
    fds[0] = hand_accept(&hand_gateways[0]);
    fds[1] = hand_accept(&hand_gateways[0]); /* crosses before the other knows of the first */
    assert_int_equal(hand_gateways[0].half_open_count, 0);
    hand_turn(1);
    assert_int_equal(hand_gateways[1].half_open_count, 1);
    assert_false(is_reset(fds[0]));
    assert_true(is_reset(fds[1]));
    hand_turn(1);
    fds[2] = hand_accept(&hand_gateways[0]);
    assert_int_equal(hand_gateways[0].half_open_count, 1);
    write_head(fds[0]); /* it is one of the crowd no more */
    hand_turn(1);
    hand_turn(1);
    fds[3] = hand_accept(&hand_gateways[0]);
    hand_turn(1);
    assert_int_equal(hand_gateways[0].half_open_count, 1);
    assert_int_equal(hand_gateways[1].half_open_count, 1);
    atomic_fetch_sub(&hand_workers[0].load, 10);
    for (size_t i = 0; i < FF_COUNT(fds); i++)
        (void)close(fds[i]);
}

/* From worker 0 to worker 1, who has nothing but a box. */
static struct channel *open_channel(struct exchange *exchange, struct carrier *owner)
{
    struct channel *channel;

    assert_non_null(exchange);
    channel = exchange_channel(exchange, 0, 1);
    mailbox_init(owner->env.box, NULL, NULL);
    channel->owner = owner;
    mail_init(&channel->requested, open_late);
    assert_true(channel_open(channel));
    return channel;
}

/* Payloads that cross as blocks have a maximum on their way, of which the ring knows nothing. */
static void blocks_on_their_way_are_bounded(void **state)
{
    enum { RING = 4096 };
    struct exchange *exchange = exchange_new(COUNT, RING, 4 * RING);
    struct channel *channel;
    struct mailbox box;
    struct carrier owner = {.env.box = &box};
    unsigned count = 0;

    (void)state;
    channel = open_channel(exchange, &owner);
    while (channel_reserve(channel, 0, RING)) {
        channel_commit(channel, 0, RING);
        assert_true(++count <= CHANNEL_BLOCKS);
    }
    assert_int_equal(count, CHANNEL_BLOCKS);
    assert_true(atomic_load(&channel->requester_waits));
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

/* An owner may answer everything at any time: never more is asked of it than fits. */
static void no_more_is_asked_than_there_is_room_for_answers(void **state)
{
    enum { REQUESTS = 65536, ANSWERS = 1024 };
    struct exchange *exchange = exchange_new(COUNT, REQUESTS, ANSWERS);
    struct channel *channel;
    struct mailbox box;
    struct carrier owner = {.env.box = &box};
    uint32_t size;

    (void)state;
    channel = open_channel(exchange, &owner);
    for (int round = 0; round < 100; round++) { /* wherever the ring begins */
        while (channel_reserve(channel, 0, 0))
            channel_commit(channel, 0, 0);
        assert_int_equal(channel->unanswered, exchange->max_unanswered);
        for (uint32_t i = 0; i < exchange->max_unanswered; i++) {
            assert_non_null(ring_reserve(channel->answers, sizeof(struct answer)));
            ring_commit(channel->answers);
        }
        for (int i = 0; i <= round % 3; i++, channel->unanswered--) {
            assert_non_null(ring_peek(channel->answers, &size));
            ring_release(channel->answers);
            assert_non_null(ring_peek(channel->requests, &size));
            ring_release(channel->requests);
        }
        while (ring_peek(channel->answers, &size)) {
            ring_release(channel->answers);
            assert_non_null(ring_peek(channel->requests, &size));
            ring_release(channel->requests);
            channel->unanswered--;
        }
    }
    mailbox_open(&box);
    exchange_free(exchange);
}

static struct session *find_newest(struct gateway *gateway)
{
    for (uint32_t i = 0; i < gateway->slot_count; i++) {
        struct session *session = gateway_at(gateway, i);

        if (session && session->tag >> TAG_WORKER_BITS == gateway->newcomers)
            return session;
    }
    return NULL;
}

/* One comes, and goes again if `stays` is false; its ticket. */
static struct ticket come_and_go(struct gateway *gateway, bool stays, int *fd)
{
    struct session *session;
    struct ticket ticket;

    *fd = hand_accept(gateway);
    session = find_newest(gateway);
    assert_non_null(session);
    ticket = session_ticket(session);
    assert_ptr_equal(gateway_find(gateway, ticket), session);
    if (!stays) {
        conn_abort(&session->conn);
        assert_null(gateway_find(gateway, ticket));
        net_free_dead(&gateway->worker->net);
        (void)close(*fd);
    }
    return ticket;
}

/*
 * Messages that are kept name their publisher by it: who comes later must not take them for his
 * own. In 32 bits that held 20 of a place a tag came again with the 4,096th newcomer.
 */
static void a_tag_is_never_given_out_again(void **state)
{
    static const struct {
        const char *where;
        uint64_t newcomers;
    } borders[] = {
        {"12 bits", (1U << 12) - 3},          {"20 bits", (1U << 20) - 3},
        {"26 bits", (1U << 26) - 3},          {"32 bits", (UINT64_C(1) << 32) - 3},
        {"38 bits", (UINT64_C(1) << 38) - 3},
    };
    struct ticket dead;
    struct ticket first;
    int fds[2];

    (void)state;
    atomic_fetch_add(&hand_workers[1].load, 1000); /* all come to worker 0 */
    first = come_and_go(&hand_gateways[0], true, &fds[0]);
    dead = come_and_go(&hand_gateways[0], false, &fds[1]);
    for (unsigned i = 0; i < 2 * (1U << 12); i++) {
        struct ticket ticket = come_and_go(&hand_gateways[0], false, &fds[1]);

        assert_true(ticket.session_tag != dead.session_tag);
        assert_true(ticket.session_tag != first.session_tag);
        assert_int_equal(ticket.session_place, dead.session_place); /* the same place each time */
    }
    for (size_t i = 0; i < FF_COUNT(borders); i++) {
        uint64_t last = 0;

        print_message("    %s\n", borders[i].where);
        hand_gateways[0].newcomers = borders[i].newcomers;
        for (int k = 0; k < 6; k++) {
            struct ticket ticket = come_and_go(&hand_gateways[0], false, &fds[1]);

            assert_true(ticket.session_tag > last);
            last = ticket.session_tag;
        }
        assert_null(gateway_find(&hand_gateways[0], dead));
        assert_non_null(gateway_find(&hand_gateways[0], first));
    }
    atomic_fetch_sub(&hand_workers[1].load, 1000);
    (void)close(fds[0]);
}

static void workers_give_out_different_tags(void **state)
{
    struct ticket tickets[COUNT];
    int fds[COUNT];

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        atomic_fetch_add(&hand_workers[!i].load, 1000);
        tickets[i] = come_and_go(&hand_gateways[i], true, &fds[i]);
        atomic_fetch_sub(&hand_workers[!i].load, 1000);
    }
    assert_int_equal(tickets[0].session_place, tickets[1].session_place);
    assert_true(tickets[0].session_tag != tickets[1].session_tag);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_null(gateway_find(&hand_gateways[!i], tickets[i]));
        (void)close(fds[i]);
    }
}

/* A tag of 32 bits had room for 2^20 places in all workers, and a reset for who came then. */
static void no_worker_runs_out_of_places(void **state)
{
    enum { CROWD = (1 << 20) / COUNT + 1000 };
    struct session session = {.address = NULL}; /* stands for each of them */

    (void)state;
    for (uint32_t i = 0; i < CROWD; i++) {
        assert_true(gateway_admit(&hand_gateways[1], &session));
        assert_ptr_equal(gateway_find(&hand_gateways[1], session_ticket(&session)), &session);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        session.place = i;
        gateway_forget(&hand_gateways[1], &session);
    }
    assert_int_equal(hand_gateways[1].session_count, 0);
}

static unsigned count_answers(struct hand_client *client)
{
    char answer[HAND_FRAME];
    unsigned count = 0;
    size_t len;

    hand_read(client);
    while (hand_next(client, answer, &len))
        count += strncmp(answer, "{\"type\":1,\"id\":7,", 17) == 0;
    return count;
}

/* S18: a few octets that become many are not all taken in one turn, when others wait for theirs. */
static void what_a_message_becomes_counts_as_input(void **state)
{
    enum { LARGE = 60000, MESSAGES = 200, MOST = INPUT_OCTETS / LARGE + 2 };
    static char text[LARGE] = "{\"type\":1,\"id\":7";
    static uint8_t packed[LARGE];
    struct ff_deflater *deflater = ff_deflater_new(15, 9);
    struct hand_client client;
    unsigned answers = 0;
    unsigned most = 0;
    size_t size;

    (void)state;
    assert_non_null(deflater);
    memset(text + strlen(text), ' ', LARGE - 1 - strlen(text));
    text[LARGE - 1] = '}';
    size = ff_deflater_run(deflater, packed, LARGE, (const uint8_t *)text, LARGE);
    ff_deflater_free(deflater);
    assert_in_range(size, 1, 200);
    hand_connect(&client, 0, "/ws",
                 "fanfare.v1.json\r\nSec-WebSocket-Extensions: permessage-deflate");
    for (int i = 0; i < MESSAGES; i++)
        hand_put(&client, 0xc1, packed, size);
    for (int turns = 0; turns < MESSAGES && answers < MESSAGES; turns++) {
        unsigned before = answers;

        hand_turn(0);
        answers += count_answers(&client);
        most = answers - before > most ? answers - before : most;
    }
    assert_int_equal(answers, MESSAGES);
    assert_in_range(most, 2, MOST);
    hand_disconnect(&client);
}

/* Whoever says something when a plain client knows that it is open is heard by it. */
static void a_plain_client_is_open_when_it_is_subscribed(void **state)
{
    int fd = hand_accept(&hand_gateways[0]);
    char name[64];
    char path[96];
    char head[TEXT];
    size_t len;

    (void)state;
    (void)hand_name(1, 0, name);
    (void)snprintf(path, sizeof(path), "/ws?topic=%s", name);
    len = client_put_head(head, sizeof(head), path, NULL);
    assert_int_equal(send(fd, head, len, 0), len);
    for (int i = 0; i < 4; i++)
        hand_turn(0);
    assert_int_equal(recv(fd, head, sizeof(head), MSG_DONTWAIT), -1);
    hand_turn(1);
    hand_turn(0);
    hand_turn(0);
    assert_true(recv(fd, head, sizeof(head), MSG_DONTWAIT) > 12);
    assert_memory_equal(head, "HTTP/1.1 101", 12);
    (void)close(fd);
    hand_turn_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mail_is_opened_before_the_events_that_came_with_it, begin,
                                        hand_end),
        cmocka_unit_test(no_more_is_asked_than_there_is_room_for_answers),
        cmocka_unit_test_setup_teardown(what_is_asked_in_the_flush_is_told_in_the_same_turn, begin,
                                        hand_end),
        cmocka_unit_test_setup_teardown(what_newcomers_ask_is_done_in_its_turn, begin, hand_end),
        cmocka_unit_test_setup_teardown(a_subscription_is_refused_as_its_engine_says, begin,
                                        hand_end),
        cmocka_unit_test_setup_teardown(a_crowded_worker_is_handed_no_socket, begin, hand_end),
        cmocka_unit_test_setup_teardown(a_tag_is_never_given_out_again, begin, hand_end),
        cmocka_unit_test_setup_teardown(workers_give_out_different_tags, begin, hand_end),
        cmocka_unit_test_setup_teardown(no_worker_runs_out_of_places, begin, hand_end),
        cmocka_unit_test_setup_teardown(what_a_message_becomes_counts_as_input, begin, hand_end),
        cmocka_unit_test_teardown(blocks_on_their_way_are_bounded, nothing_leaked),
        cmocka_unit_test_setup_teardown(a_plain_client_is_open_when_it_is_subscribed, begin,
                                        hand_end),
    };

    return cmocka_run_group_tests_name("gateway", tests, NULL, NULL);
}
