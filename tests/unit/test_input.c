/* SPDX-License-Identifier: Apache-2.0 */
/* Reading is fair and bounded: many connections whose peers send all they can. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/net/conn.h"
#include "broker/net/listener.h"
#include "broker/net/turn.h"
#include "tests/support/test.h"

enum { PEERS = 60, MESSAGE = 64, FLOOD = 100 * 1024 };

struct side {
    struct conn conn;
    int peer;
    uint64_t sent;
    uint64_t heard; /* octets handled, each of them the next one of the stream */
    uint32_t calls; /* turns of its in this round */
    bool is_gone;
    bool is_freed;
};

static struct side sides[PEERS];
static struct net net;
static size_t spent;     /* octets handled in this turn, messages counted */
static size_t max_spent; /* of all turns */
static int first_heard;  /* whose input was handled first; -1: nobody's */
static bool pauses;      /* an owner pauses at each message */
static bool is_costly;   /* each message costs as much as a turn may */

static struct side *side_of(struct conn *conn)
{
    return FF_CONTAINER(conn, struct side, conn);
}

/* Messages of MESSAGE octets. */
static size_t input(struct conn *conn, uint8_t *bytes, size_t len)
{
    struct side *side = side_of(conn);
    size_t at = 0;

    side->calls++;
    if (first_heard < 0)
        first_heard = (int)(side - sides);
    while (at < len) {
        size_t part = len - at < MESSAGE ? len - at : MESSAGE;

        for (size_t i = 0; i < part; i++)
            assert_int_equal(bytes[at + i], (uint8_t)(side->heard++ % 251));
        at += part;
        spent += part + INPUT_MESSAGE;
        if (pauses && at < len) {
            conn_pause(conn, PAUSE_RATE);
            break;
        }
        if (!input_spend(&net.input, is_costly ? INPUT_OCTETS : part) && at < len) {
            input_yield(conn);
            break;
        }
    }
    return at;
}

static void collect(struct conn *conn, struct plan *plan)
{
    (void)conn;
    plan->range_count = 0;
}

static void taken(struct conn *conn, const struct plan *plan, size_t len)
{
    (void)conn;
    (void)plan;
    (void)len;
}

static void nothing(struct conn *conn)
{
    (void)conn;
}

static void ended(struct conn *conn)
{
    side_of(conn)->is_gone = true;
}

static void freed(struct conn *conn)
{
    side_of(conn)->is_freed = true;
}

static const struct conn_ops ops = {
    .input = input,
    .collect = collect,
    .taken = taken,
    .blocked = nothing,
    .timer = nothing,
    .peer_end = conn_abort,
    .end = ended,
    .free = freed,
};

static void begin(void *arg)
{
    (void)arg;
}

static uint64_t turn(void *arg)
{
    (void)arg;
    spent = 0;
    input_run(&net);
    max_spent = spent > max_spent ? spent : max_spent;
    net_free_dead(&net);
    return 0;
}

static int open_sides(void **state)
{
    (void)state;
    max_spent = 0;
    pauses = false;
    is_costly = false;
    first_heard = -1;
    assert_int_equal(net_init(&net, begin, turn, NULL), FF_OK);
    net_serve(&net, &ops, NULL);
    for (int i = 0; i < PEERS; i++) {
        int both[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both), 0);
        sides[i] = (struct side){.peer = both[1]};
        conn_init(&sides[i].conn, &net, both[0], NULL);
        sides[i].conn.is_new = false;
    }
    return 0;
}

static int close_sides(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS; i++) {
        (void)close(sides[i].peer);
        conn_abort(&sides[i].conn);
    }
    net_abort_all(&net);
    net_free_dead(&net);
    for (int i = 0; i < PEERS; i++)
        assert_true(sides[i].is_freed);
    net_deinit(&net);
    return nothing_leaked(state);
}

/* The next octets of a peer's stream, as many as its socket takes. */
static void send_some(struct side *side, uint64_t up_to)
{
    uint8_t bytes[4096];

    while (side->sent < up_to) {
        size_t len =
            up_to - side->sent < sizeof(bytes) ? (size_t)(up_to - side->sent) : sizeof(bytes);
        ssize_t sent;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)((side->sent + i) % 251);
        sent = send(side->peer, bytes, len, 0);
        if (sent < 0)
            return;
        side->sent += (size_t)sent;
    }
}

static bool is_all_heard(void)
{
    for (int i = 0; i < PEERS; i++)
        if (sides[i].heard < FLOOD && !sides[i].is_gone)
            return false;
    return true;
}

/* Runs until all has come; after each turn `look` is called. */
static void run(void (*look)(void))
{
    for (unsigned turns = 0; !is_all_heard(); turns++) {
        assert_true(turns < 100000);
        for (int i = 0; i < PEERS; i++)
            if (!sides[i].is_gone)
                send_some(&sides[i], FLOOD);
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        look();
    }
}

/* Nobody is read a third time while another one, which has something, waits for its first. */
static void look_for_fairness(void)
{
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;

    for (int i = 0; i < PEERS; i++) {
        if (sides[i].heard == FLOOD)
            return; /* some are done: the round is over */
        least = sides[i].calls < least ? sides[i].calls : least;
        most = sides[i].calls > most ? sides[i].calls : most;
    }
    assert_true(most - least <= 2);
}

static void a_turn_reads_so_much_and_everybody_in_turn(void **state)
{
    (void)state;
    run(look_for_fairness);
    assert_true(max_spent <= INPUT_OCTETS + INPUT_LOOK + MESSAGE + INPUT_MESSAGE);
}

static void look_at_nothing(void)
{
}

static void one_alone_is_read_in_large_pieces(void **state)
{
    (void)state;
    for (int i = 1; i < PEERS; i++)
        conn_abort(&sides[i].conn);
    run(look_at_nothing);
    assert_true(sides[0].calls <= FLOOD / 32768 + 8);
}

static void resume_all(void)
{
    for (int i = 0; i < PEERS; i++)
        conn_resume(&sides[i].conn, PAUSE_RATE);
}

static void what_waits_is_offered_again_without_a_copy(void **state)
{
    uint64_t before;

    (void)state;
    pauses = true;
    send_some(&sides[0], 100 * MESSAGE);
    ev_run(net.loop.ev, EVRUN_NOWAIT);
    ev_run(net.loop.ev, EVRUN_NOWAIT);
    assert_int_equal(sides[0].heard, MESSAGE);
    before = ff_mem_count();
    for (int i = 2; i <= 100; i++) {
        conn_resume(&sides[0].conn, PAUSE_RATE);
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        assert_int_equal(sides[0].heard, i * MESSAGE);
    }
    assert_int_equal(ff_mem_count(), before);
    pauses = false;
    resume_all();
    run(look_at_nothing);
}

static void newcomers_do_not_stand_behind_the_others(void **state)
{
    (void)state;
    sides[0].conn.is_new = true;
    for (int i = PEERS - 1; i >= 0; i--)
        send_some(&sides[i], FLOOD);
    ev_run(net.loop.ev, EVRUN_NOWAIT);
    assert_int_equal(net.input.newcomers.count, 1);
    assert_int_equal(net.input.ready.count, PEERS - 1);
    ev_run(net.loop.ev, EVRUN_NOWAIT);
    assert_int_equal(first_heard, &sides[0] - sides);
    run(look_at_nothing);
}

/* Nor do those wait for them who speak all the time, however many the others are; they wait, too.
 */
static void who_speaks_all_the_time_is_read_first(void **state)
{
    enum { TURNS = 20 };

    struct side *regular = &sides[PEERS - 1];
    uint32_t others = 0;

    (void)state;
    for (uint64_t i = 1; i <= 4; i++) {
        assert_false(conn_is_regular(&regular->conn));
        if (i > 1) /* a second later */
            regular->conn.heard_at -= WHEEL_TICKS_A_SECOND;
        send_some(regular, i * MESSAGE);
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        assert_int_equal(regular->heard, i * MESSAGE);
    }
    assert_true(conn_is_regular(&regular->conn));
    is_costly = true; /* one message, and a part of the turn is over */
    for (int i = 0; i < PEERS - 1; i++)
        send_some(&sides[i], FLOOD);
    for (uint64_t i = 1; i <= TURNS; i++) {
        send_some(regular, (4 + i) * MESSAGE);
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        assert_int_equal(regular->heard, (4 + i) * MESSAGE);
    }
    for (int i = 0; i < PEERS - 1; i++)
        others += sides[i].calls;
    assert_true(others >= 2 * TURNS - 1);
    is_costly = false;
    run(look_at_nothing);
}

/* Of a crowd in the queue no event tells again and again; all of them are read. */
static void a_crowd_that_waits_is_not_told_of_again(void **state)
{
    int unwatched = 0;

    (void)state;
    is_costly = true;
    for (int i = 0; i < PEERS; i++)
        send_some(&sides[i], FLOOD);
    for (int turns = 0; turns < 3; turns++)
        ev_run(net.loop.ev, EVRUN_NOWAIT);
    for (int i = 0; i < PEERS; i++) {
        assert_true(sides[i].conn.is_unwatched != ev_is_active(&sides[i].conn.io));
        assert_true(!sides[i].conn.is_unwatched || sides[i].conn.is_ready);
        unwatched += sides[i].conn.is_unwatched;
    }
    assert_true(unwatched > PEERS / 2);
    is_costly = false;
    run(look_at_nothing);
    for (int i = 0; i < PEERS; i++)
        assert_true(ev_is_active(&sides[i].conn.io));
}

static struct conn *flushed[PEERS];
static int flushed_count;

static void note_collected(struct conn *conn, struct plan *plan)
{
    plan->range_count = 0;
    flushed[flushed_count++] = conn;
}

/* What is said now goes out before what was said once, whoever was marked first. */
static void the_past_is_sent_behind_what_is_new(void **state)
{
    struct conn_ops noting = ops;

    (void)state;
    noting.collect = note_collected;
    net_serve(&net, &noting, NULL);
    flushed_count = 0;
    for (int i = 0; i < PEERS; i++) {
        if (i % 3 == 0)
            conn_set_late(&sides[i].conn, true);
        conn_mark(&sides[i].conn);
        if (i % 3 == 1) /* it is in the other line by then */
            conn_set_late(&sides[i].conn, true);
    }
    assert_true(net_flush(&net, 1000));
    assert_int_equal(flushed_count, PEERS);
    for (int i = 0; i < PEERS; i++)
        assert_int_equal(flushed[i]->is_late, i >= PEERS / 3);
    net_serve(&net, &ops, NULL);
}

static int accepted_count;

static bool can_accept(void *arg, const struct listener *listener)
{
    (void)arg;
    (void)listener;
    return true;
}

static void accepted(void *arg, const struct newcomer *newcomer)
{
    (void)arg;
    (void)close(newcomer->fd);
    accepted_count++;
}

/* Peers that connect, and wait in the backlog. */
static void connect_all(const struct listener *listener, int *fds, int count)
{
    const struct sockaddr *to = (const struct sockaddr *)&listener->address.storage;

    for (int i = 0; i < count; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], to, listener->address.len), 0);
    }
}

/* So much later: who was held back looks again. */
static void newcomers_are_not_accepted_while_others_wait_to_be_read(void **state)
{
    static const struct listener_ops listener_ops = {.can_accept = can_accept,
                                                     .accepted = accepted};
    enum { NEWCOMERS = PEERS + 20 };
    struct endpoint endpoint;
    char why[ENDPOINT_WHY_MAX];
    struct listener listener;
    int fds[NEWCOMERS];

    (void)state;
    accepted_count = 0;
    is_costly = true; /* one is read in a turn */
    for (int i = 0; i < PEERS; i++)
        send_some(&sides[i], MESSAGE);
    for (int i = 0; i < 2; i++)
        ev_run(net.loop.ev, EVRUN_NOWAIT);
    assert_int_equal(net.input.ready.count, PEERS - 1);
    assert_true(endpoint_parse(&endpoint, "127.0.0.1:0", why));
    assert_int_equal(listener_open(&listener, &net, &endpoint, &listener_ops, NULL), FF_OK);
    connect_all(&listener, fds, NEWCOMERS);
    assert_true(net.input.is_behind);
    for (int before = 0;; before = accepted_count) {
        ev_run(net.loop.ev, EVRUN_NOWAIT); /* the end of a turn, then the events of the next */
        if (!net.input.is_behind)
            break;
        assert_in_range(accepted_count - before, 0, 1); /* the busiest can be reached */
    }
    assert_in_range(accepted_count, 1, NEWCOMERS - 5);
    for (int before = accepted_count; accepted_count < NEWCOMERS; before = accepted_count) {
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        assert_in_range(accepted_count - before, 0, TURN_ACCEPTS); /* not all in one turn */
    }
    listener_close(&listener);
    for (int i = 0; i < NEWCOMERS; i++)
        (void)close(fds[i]);
}

static void who_ends_in_the_queue_is_passed_over(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS; i++)
        send_some(&sides[i], MESSAGE);
    ev_run(net.loop.ev, EVRUN_NOWAIT); /* all are noted, and none is read */
    assert_int_equal(net.input.ready.count, PEERS);
    for (int i = 0; i < PEERS; i += 2)
        conn_abort(&sides[i].conn);
    net_free_dead(&net);
    assert_false(sides[0].is_freed);
    ev_run(net.loop.ev, EVRUN_NOWAIT);
    for (int i = 0; i < PEERS; i++) {
        assert_int_equal(sides[i].heard, i % 2 ? MESSAGE : 0);
        assert_int_equal(sides[i].is_freed, i % 2 == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_turn_reads_so_much_and_everybody_in_turn, open_sides,
                                        close_sides),
        cmocka_unit_test_setup_teardown(one_alone_is_read_in_large_pieces, open_sides, close_sides),
        cmocka_unit_test_setup_teardown(what_waits_is_offered_again_without_a_copy, open_sides,
                                        close_sides),
        cmocka_unit_test_setup_teardown(newcomers_do_not_stand_behind_the_others, open_sides,
                                        close_sides),
        cmocka_unit_test_setup_teardown(who_speaks_all_the_time_is_read_first, open_sides,
                                        close_sides),
        cmocka_unit_test_setup_teardown(a_crowd_that_waits_is_not_told_of_again, open_sides,
                                        close_sides),
        cmocka_unit_test_setup_teardown(the_past_is_sent_behind_what_is_new, open_sides,
                                        close_sides),
        cmocka_unit_test_setup_teardown(newcomers_are_not_accepted_while_others_wait_to_be_read,
                                        open_sides, close_sides),
        cmocka_unit_test_setup_teardown(who_ends_in_the_queue_is_passed_over, open_sides,
                                        close_sides),
    };

    return cmocka_run_group_tests_name("input", tests, NULL, NULL);
}
