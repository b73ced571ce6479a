/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flush by io_uring: each peer gets its own octets, whole and in order,
 * whatever the sockets take, whoever goes, and when the kernel refuses.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/net/conn.h"
#include "tests/support/test.h"

enum {
    PEERS = 300,
    ROUNDS = 400,
    NOTES = 100, /* the owner's room: a batch ends where it does */
    CYCLE = 251, /* of the stream's octets */
    CONTROL = 0xfe,
    RANGES_MAX = 5,
    RANGE_MAX = 3000,
};

static struct side {
    struct conn conn;
    int peer;
    uint64_t taken;  /* octets of the stream that were sent */
    uint64_t got;    /* and received */
    size_t controls; /* octets appended to the outbox */
    size_t got_controls;
    size_t asked; /* octets that the peer sent */
    size_t heard; /* and that were consumed */
    bool is_finished;
    bool is_gone;
    bool is_freed;
} sides[PEERS];

static struct net net;
static struct dice dice;
static uint8_t stream[CYCLE + RANGE_MAX];
static struct side *notes[NOTES];
static uint32_t range_count;
static int refusals;      /* so often the kernel takes nothing, from now on */
static int calls;         /* of the kernel */
static uint64_t hurry_us; /* so much time passes with each look at the clock, 0: a microsecond */
static bool is_forbidden; /* io_uring is */
static bool is_old;       /* the kernel knows no flags */

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    if (refusals > 0) {
        refusals--;
        return -EAGAIN;
    }
    calls++;
    return __real_io_uring_submit_and_wait(ring, count);
}

uint64_t __wrap_loop_clock_us(void);

uint64_t __wrap_loop_clock_us(void)
{
    static uint64_t now_us;

    now_us += hurry_us ? hurry_us : 1;
    return now_us;
}

int __real_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    if (is_old && flags)
        return -EINVAL;
    return is_forbidden ? -EPERM : __real_io_uring_queue_init(entries, ring, flags);
}

static struct side *side_of(struct conn *conn)
{
    return FF_CONTAINER(conn, struct side, conn);
}

/* Answers, or has it kept until the pause is over. */
static size_t input(struct conn *conn, uint8_t *bytes, size_t len)
{
    struct side *side = side_of(conn);

    if (dice_below(&dice, 2)) {
        conn_pause(conn, PAUSE_DEFERRED);
        return 0;
    }
    side->heard += len;
    memset(bytes, CONTROL, len);
    if (conn_send(conn, bytes, len) == FF_OK)
        side->controls += len;
    return len;
}

static void collect(struct conn *conn, struct plan *plan)
{
    struct side *side = side_of(conn);
    uint64_t at = side->taken;

    if (plan->is_first)
        range_count = 0;
    plan->first_range = range_count;
    for (uint64_t i = 1 + dice_below(&dice, RANGES_MAX); i > 0 && !plan_is_full(plan); i--) {
        size_t len = 1 + dice_below(&dice, RANGE_MAX - 1);

        plan_add(plan, stream + at % CYCLE, len);
        at += len;
    }
    assert_true(range_count < NOTES);
    notes[range_count++] = side;
    plan->range_count = 1;
    plan->is_last = range_count == NOTES;
}

static void taken(struct conn *conn, const struct plan *plan, size_t len)
{
    assert_int_equal(plan->range_count, 1);
    assert_ptr_equal(notes[plan->first_range], side_of(conn));
    side_of(conn)->taken += len;
}

static void blocked(struct conn *conn)
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
    .blocked = blocked,
    .timer = blocked,
    .peer_end = conn_abort,
    .end = ended,
    .free = freed,
};

static void begin(void *arg)
{
    (void)arg;
}

static bool is_all_flushed;

static uint64_t turn(void *arg)
{
    (void)arg;
    input_run(&net);
    is_all_flushed = net_flush(&net, 4000);
    net_free_dead(&net);
    return 0;
}

static void open_sides(void)
{
    for (size_t i = 0; i < sizeof(stream); i++)
        stream[i] = (uint8_t)(i % CYCLE);
    assert_int_equal(net_init(&net, begin, turn, NULL), FF_OK);
    net_serve(&net, &ops, NULL);
    if (net_use_uring(&net))
        fail_msg("the kernel gives us no io_uring: allow it (sysctl kernel.io_uring_disabled=0, "
                 "and a container's seccomp rules)");
    for (int i = 0; i < PEERS; i++) {
        int both[2];
        int room = 4096;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both), 0);
        if (i % 2) /* takes a part of what is offered */
            (void)setsockopt(both[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        sides[i] = (struct side){.peer = both[1]};
        conn_init(&sides[i].conn, &net, both[0], NULL);
    }
}

/* Takes up to `max` octets of what came, and looks at each. */
static void receive(struct side *side, size_t max)
{
    static uint8_t bytes[1 << 20];
    ssize_t got = recv(side->peer, bytes, max < sizeof(bytes) ? max : sizeof(bytes), 0);

    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] == CONTROL)
            side->got_controls++;
        else
            assert_int_equal(bytes[i], side->got++ % CYCLE);
    }
}

/* Its last words; it is closing then, and collects nothing any more. */
static void finish(struct side *side)
{
    static const uint8_t bye[] = {CONTROL, CONTROL};

    if (side->is_gone || side->peer < 0)
        return;
    side->controls += sizeof(bye);
    side->is_finished = true;
    conn_finish(&side->conn, bye, sizeof(bye));
}

static void close_peer(struct side *side)
{
    (void)close(side->peer);
    side->peer = -1;
}

static void ask(struct side *side)
{
    uint8_t question[32] = {0};
    ssize_t sent = send(side->peer, question, 1 + dice_below(&dice, 31), 0);

    side->asked += sent > 0 ? (size_t)sent : 0;
}

/* The dice may spare all of them: this one goes for certain. */
static void close_one(void)
{
    struct side *side = &sides[PEERS / 2];

    if (!side->is_gone && side->peer >= 0)
        close_peer(side);
}

/* Some have something to send, some are owed an answer, some ask, some read, few go. */
static void stir(void)
{
    uint8_t controls[64];

    memset(controls, CONTROL, sizeof(controls));
    if (dice_below(&dice, 10) == 0) /* the first in the list of the flush */
        finish(&sides[dice_below(&dice, PEERS)]);
    for (int i = 0; i < PEERS; i++) {
        struct side *side = &sides[i];
        size_t len = dice_below(&dice, sizeof(controls));

        if (side->peer >= 0 && dice_below(&dice, 3) == 0)
            receive(side, 1 + dice_below(&dice, 100000));
        if (side->is_gone || side->peer < 0)
            continue;
        if (dice_below(&dice, 3))
            conn_mark(&side->conn);
        if (dice_below(&dice, 4) == 0 && conn_send(&side->conn, controls, len) == FF_OK)
            side->controls += len;
        if (dice_below(&dice, 20) == 0)
            ask(side);
        if (dice_below(&dice, 4) == 0)
            conn_resume(&side->conn, PAUSE_DEFERRED);
        if (dice_below(&dice, 20000) == 0)
            close_peer(side);
    }
}

/* What is on its way arrives, then all of it was as it should be. */
static void close_sides(void)
{
    size_t gone = 0;

    close_one();

    for (int i = 0; i < PEERS; i++) {
        struct side *side = &sides[i];

        for (int tries = 0;
             tries < 1000 && side->peer >= 0 &&
             (conn_outbox_bytes(&side->conn) || (side->heard < side->asked && !side->is_finished));
             tries++) {
            conn_resume(&side->conn, PAUSE_DEFERRED);
            receive(side, SIZE_MAX);
            ev_run(net.loop.ev, EVRUN_NOWAIT);
        }
        if (side->peer >= 0) {
            conn_abort(&side->conn);
            for (int tries = 0; tries < 100; tries++)
                receive(side, SIZE_MAX);
            assert_int_equal(side->got, side->taken);
            assert_int_equal(side->got_controls, side->controls);
            assert_true(side->is_finished || side->heard == side->asked);
            assert_true(side->is_finished || side->taken > 100000);
            close_peer(side);
        } else {
            gone++;
            if (!side->is_gone)
                conn_abort(&side->conn);
        }
    }
    net_abort_all(&net);
    net_free_dead(&net);
    for (int i = 0; i < PEERS; i++)
        assert_true(sides[i].is_freed);
    assert_true(gone > 0 && gone < PEERS / 2);
    net_deinit(&net);
    assert_int_equal(ff_mem_live_blocks(), 0);
}

static void run_rounds(int count)
{
    while (count-- > 0) {
        stir();
        ev_run(net.loop.ev, EVRUN_NOWAIT);
    }
}

static void each_peer_gets_its_own_whole_and_in_order(void **state)
{
    (void)state;
    dice = (struct dice){11};
    open_sides();
    for (int round = 0; round < ROUNDS; round++) {
        stir();
        refusals = round % 7 == 0 ? 3 : 0; /* it takes them when it is asked again */
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        assert_non_null(net.uring);
    }
    close_sides();
}

static void a_kernel_that_refuses_is_not_asked_again(void **state)
{
    (void)state;
    dice = (struct dice){12};
    open_sides();
    for (int round = 0; round < ROUNDS; round++) {
        stir();
        refusals = round == ROUNDS / 2 ? 1000 : 0;
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        assert_int_equal(!net.uring, round >= ROUNDS / 2);
    }
    close_sides();
}

static void a_kernel_without_it_is_no_reason_to_stop(void **state)
{
    (void)state;
    is_forbidden = true;
    assert_int_equal(net_init(&net, begin, turn, NULL), FF_OK);
    assert_non_null(net_use_uring(&net));
    assert_null(net.uring);
    net_deinit(&net);
    is_forbidden = false;
}

static void an_old_kernel_is_asked_for_less(void **state)
{
    (void)state;
    dice = (struct dice){13};
    is_old = true;
    open_sides();
    run_rounds(ROUNDS);
    assert_non_null(net.uring);
    close_sides();
    is_old = false;
}

/* The notes of a batch begin anew although the first connection in it has none. */
static void who_is_closing_may_come_first(void **state)
{
    (void)state;
    dice = (struct dice){15};
    open_sides();
    for (int round = 0; round < 3; round++) {
        if (round > 0)
            finish(&sides[2 * round + 1]);
        for (int i = 0; i < NOTES; i++) {
            receive(&sides[2 * i], SIZE_MAX); /* those that take all */
            conn_mark(&sides[2 * i].conn);
        }
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        assert_int_equal(range_count, NOTES);
    }
    run_rounds(ROUNDS);
    close_sides();
}

static void a_turn_ends_when_its_time_is_over(void **state)
{
    unsigned left_over = 0;

    (void)state;
    dice = (struct dice){14};
    open_sides();
    hurry_us = 2000;
    for (int round = 0; round < 4 * ROUNDS; round++) {
        int before = calls;

        stir();
        ev_run(net.loop.ev, EVRUN_NOWAIT);
        assert_true(calls <= before + 2); /* all would take three: each ends at its notes */
        left_over += !is_all_flushed;
    }
    assert_true(left_over > ROUNDS);
    hurry_us = 0;
    close_sides();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_peer_gets_its_own_whole_and_in_order),
        cmocka_unit_test(a_kernel_that_refuses_is_not_asked_again),
        cmocka_unit_test(a_kernel_without_it_is_no_reason_to_stop),
        cmocka_unit_test(an_old_kernel_is_asked_for_less),
        cmocka_unit_test(who_is_closing_may_come_first),
        cmocka_unit_test(a_turn_ends_when_its_time_is_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
