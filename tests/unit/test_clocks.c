/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session tells by the clock, where the clock's ticks of 32 bits begin
 * anew: after 497 days. Sockets are real, time is the test's.
 */
#include <ev.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/app/config.h"
#include "broker/net/logger.h"
#include "broker/session/session.h"
#include "tests/support/calls.h"
#include "tests/support/client.h"
#include "tests/support/test.h"

enum { HEARTBEAT_S = 5, TEXT = 1 << 16, MOST_TURNS = 1000 };

static const uint64_t wrap_ms = (UINT64_C(1) << 32) * WHEEL_TICK_MS;

static struct config *config;
static struct shared shared;
static struct worker worker;
static struct gateway gateway;

/* The only client, and what came to it so far. */
static int fd;
static char came[TEXT];
static size_t came_len;

/* The end of the turn before, then what came meanwhile. */
static void turn(void)
{
    ev_run(worker.net.loop.ev, EVRUN_NOWAIT);
}

static void read_all(void)
{
    ssize_t got;

    while ((got = recv(fd, came + came_len, TEXT - came_len, MSG_DONTWAIT)) > 0)
        came_len += (size_t)got;
}

static bool would_sleep(void)
{
    return wheel_wait_ms(&worker.net.wheel, worker.net.loop.now_ms, 1000) > 0;
}

/* Goes on until the broker would sleep: by turns that are due, not by any that are not. */
static void run_turns(void)
{
    for (int i = 0; i < 4 || (!would_sleep() && i < MOST_TURNS); i++)
        turn(); /* real time passes, too: on a busy machine something may be due again */
    assert_true(would_sleep());
    read_all();
}

/* Of the loop's time: the broker runs meanwhile. */
static void pass_ms(uint64_t ms)
{
    enum { STEP_MS = 100 };

    for (; ms > STEP_MS; ms -= STEP_MS) {
        worker.net.loop.now_ms += STEP_MS;
        run_turns();
    }
    worker.net.loop.now_ms += ms;
    run_turns();
}

/* Time passes while the broker is held still, or its clock leaps. */
static void leap_ms(int64_t ms)
{
    call_clock_ahead_ns += (uint64_t)(ms * 1000000);
    pass_ms(0);
}

/* The broker has run for so long when its client comes. */
static void begin(uint64_t age_ms)
{
    static char words[][16] = {"fanfared", "--heartbeat", "5", "--workers", "1"};
    static char *argv[FF_COUNT(words)];
    struct config_request request;
    char error[CONFIG_ERROR_MAX];

    for (size_t i = 0; i < FF_COUNT(words); i++)
        argv[i] = words[i];
    config = config_new(FF_COUNT(words), argv, &request, error);
    assert_non_null(config);
    log_set(LOG_ERROR, false);
    assert_int_equal(shared_init(&shared, 1), FF_OK);
    assert_int_equal(worker_init(&worker, 0, NULL), FF_OK);
    worker.net.wheel.tick = age_ms / WHEEL_TICK_MS;
    worker.net.wheel.start_ms = worker.net.loop.now_ms - age_ms;
    assert_int_equal(gateway_init(&gateway, &worker, &shared, &config->settings), FF_OK);
    pass_ms(0);
}

/* All of them at once. */
static void write_texts(const char *text, int count)
{
    static uint8_t frames[TEXT];
    size_t len = 0;

    while (count-- > 0)
        len += client_put_frame(frames + len, 0x81, text, strlen(text));
    assert_int_equal(send(fd, frames, len, MSG_NOSIGNAL), len);
    pass_ms(0);
}

static void write_text(const char *text)
{
    write_texts(text, 1);
}

/* How often it came; it is forgotten with all that came. */
static unsigned count(const void *bytes, size_t len)
{
    unsigned found = 0;
    const char *at = came;

    while ((at = memmem(at, came_len - (size_t)(at - came), bytes, len))) {
        at += len;
        found++;
    }
    came_len = 0;
    return found;
}

static unsigned count_text(const char *text)
{
    return count(text, strlen(text));
}

static struct session *session(void)
{
    struct session *only = NULL;

    for (uint32_t i = 0; i < gateway.slot_count && !only; i++)
        only = gateway_at(&gateway, i);
    return only;
}

static void come(const char *path, const char *protocol)
{
    struct newcomer newcomer = {.is_tls = false};
    char head[512];
    size_t len = client_put_head(head, sizeof(head), path, protocol);
    int both[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both), 0);
    newcomer.fd = both[0];
    gateway_listener_ops.accepted(&gateway, &newcomer);
    fd = both[1];
    came_len = 0;
    assert_int_equal(send(fd, head, len, 0), len);
    pass_ms(0);
    assert_int_equal(count_text("101 Switching"), 1);
    assert_non_null(session());
}

static int end(void **state)
{
    if (session())
        conn_abort(&session()->conn);
    (void)close(fd);
    for (int i = 0; i < 10; i++)
        turn();
    gateway_deinit(&gateway);
    worker_deinit(&worker);
    shared_deinit(&shared);
    config_free(config);
    call_clock_ahead_ns = 0;
    return nothing_leaked(state);
}

static void who_answers_lives_and_hears_across_the_border(void **state)
{
    uint8_t pong[16];
    size_t len = client_put_frame(pong, 0x8a, "", 0);
    unsigned pings = 0;
    unsigned beats = 0;
    unsigned messages = 0;

    (void)state;
    begin(wrap_ms - 30000);
    come("/ws", "fanfare.v1.json");
    write_text("{\"type\":5,\"id\":1,\"topic\":\"r\",\"rate\":2}");
    for (int tenth = 0; tenth < 600; tenth++) {
        char *ping;

        pass_ms(100);
        ping = memmem(came, came_len, "\x89\0", 2);
        pings += ping != NULL;
        if (ping)
            assert_int_equal(send(fd, pong, len, 0), len);
        beats += count_text("{\"type\":1}");
    }
    assert_true(pings >= 10 && pings <= 12); /* every five seconds */
    assert_true(beats >= 10 && beats <= 12);
    for (int i = 0; i < 100; i++) {
        write_text("{\"type\":7,\"topic\":\"r\",\"message\":1}");
        pass_ms(100);
        messages += count_text("{\"type\":2,");
    }
    assert_true(messages >= 19 && messages <= 21); /* two a second */
}

static void who_is_silent_is_closed_across_the_border(void **state)
{
    (void)state;
    for (uint64_t before_ms = 0; before_ms <= 15000; before_ms += 2500) {
        begin(wrap_ms - before_ms);
        come("/ws", "fanfare.v1.json");
        pass_ms(12400);
        assert_non_null(session());
        pass_ms(300);
        assert_null(session());
        assert_int_equal(count("\x0f\xa9", 2), 1); /* 4009 */
        assert_int_equal(end(state), 0);
    }
    begin(0);
    come("/ws", NULL);
}

/* As many ticks ago as come again `left` ticks from now. */
static uint32_t almost_a_wrap_ago(uint32_t left)
{
    return net_tick(&worker.net) + left;
}

/* Some five minutes at most before a mark would look new its session's timer is due. */
static void run_timer(void)
{
    heartbeat_timer(session());
}

static void malformed_messages_of_an_old_minute_are_forgotten(void **state)
{
    (void)state;
    begin(wrap_ms / 2);
    come("/ws", "fanfare.v1.json");
    for (int i = 0; i < CLOSE_AFTER_ERRORS - 1; i++)
        write_text("nonsense");
    session()->errors_at = almost_a_wrap_ago(50);
    run_timer();
    pass_ms(1000);
    write_text("nonsense");
    assert_non_null(session());
}

static void control_frames_of_an_old_second_are_forgotten(void **state)
{
    (void)state;
    begin(wrap_ms / 2);
    come("/ws", "fanfare.v1.json");
    session()->controls = (uint16_t)config->settings.pings_per_second;
    session()->control_at = almost_a_wrap_ago(50);
    run_timer();
    pass_ms(600);
    {
        uint8_t ping[16];
        size_t len = client_put_frame(ping, 0x89, "", 0);

        assert_int_equal(send(fd, ping, len, 0), len);
    }
    pass_ms(0);
    assert_non_null(session());
}

/* Time passes for a client that answers each PING; what came meanwhile is forgotten. */
static void live_ms(uint64_t ms)
{
    uint8_t pong[16];
    size_t len = client_put_frame(pong, 0x8a, "", 0);

    for (uint64_t passed_ms = 0; passed_ms < ms; passed_ms += 1000) {
        pass_ms(1000);
        if (count("\x89\0", 2))
            assert_int_equal(send(fd, pong, len, 0), len);
    }
    assert_non_null(session());
}

static void an_old_answer_to_a_heartbeat_keeps_no_new_one_back(void **state)
{
    (void)state;
    begin(wrap_ms / 2);
    config->settings.plain_heartbeat_s = 0;
    come("/ws", NULL);
    write_text("ping");
    assert_int_equal(count_text("{\"type\":1}"), 1);
    live_ms(655000);
    pass_ms(360); /* the answer's tick of 16 bits comes again */
    came_len = 0;
    write_text("ping");
    assert_int_equal(count_text("{\"type\":1}"), 1);
}

static void plain_heartbeats_come_whatever_else_is_sent(void **state)
{
    unsigned beats = 0;

    (void)state;
    begin(1000);
    come("/ws", NULL);
    came_len = 0;
    for (int second = 0; second < 60; second++) {
        write_text("{\"type\":2,\"message\":1}");
        pass_ms(1000);
        beats += count_text("{\"type\":1}");
    }
    assert_int_equal(beats, 11); /* each five seconds, and a tick that each is late */
}

static void a_ping_stands_for_no_heartbeat(void **state)
{
    (void)state;
    begin(1000);
    come("/ws", "fanfare.v1.json");
    session()->conn.heard_at -= 2 * WHEEL_TICKS_A_SECOND; /* something was sent since */
    session()->talk.pinged_at = session()->conn.heard_at;
    run_timer();
    came_len = 0;
    pass_ms(3100);
    assert_int_equal(count("\x89\0", 2), 1);
    pass_ms(2000);
    assert_int_equal(count_text("{\"type\":1}"), 1);
}

/* The PING stands behind what the client has not read yet: it has four intervals, not one and a
 * half. */
static void a_ping_behind_other_data_is_given_time(void **state)
{
    static const char publish[] = "{\"type\":7,\"topic\":\"t\",\"message\":1}";

    (void)state;
    begin(1000);
    come("/ws", "fanfare.v1.json");
    write_text("{\"type\":5,\"topic\":\"t\"}");
    write_texts(publish, 40);
    pass_ms(24800);
    assert_int_equal(count_text("\"message\":1"), 40);
    assert_non_null(session());
    pass_ms(400);
    assert_null(session());
}

/* As often as they wish, and for as long: whoever has not seen a PING, or not had the time to
 * answer it. */
static void what_the_broker_sleeps_through_ends_nobody(void **state)
{
    (void)state;
    begin(1000);
    come("/ws", "fanfare.v1.json");
    pass_ms(4000);
    leap_ms(20000);
    assert_non_null(session());
    assert_int_equal(count("\x89\0", 2), 0);
    pass_ms(1100);
    assert_int_equal(count("\x89\0", 2), 1);
    leap_ms(100000);
    pass_ms(6000);
    assert_non_null(session());
    pass_ms(1600);
    assert_null(session());
}

/* Not a moment of a close, or of a handshake, that the broker slept through. */
static void a_handshake_has_all_its_time(void **state)
{
    (void)state;
    begin(1000);
    come("/ws", "fanfare.v1.json");
    session()->mode = SESSION_HTTP;
    session()->conn.is_in_handshake = true; /* it is aborted when its time is over */
    worker.net.handshakes++;
    conn_set_timer(&session()->conn, config->settings.handshake_ms);
    leap_ms(20000);
    pass_ms(8500);
    assert_non_null(session());
    pass_ms(1600);
    assert_null(session());
}

/* Blocked for longer than half a wrap, and heard all the time: the clocks count the later one. */
static void of_two_clocks_the_later_one_counts_however_old_the_other_is(void **state)
{
    static const uint32_t ages[] = {1000, (1U << 31) - 1, 1U << 31, (1U << 31) + 1000, UINT32_MAX};

    (void)state;
    begin(wrap_ms / 2);
    come("/ws", "fanfare.v1.json");
    for (size_t i = 0; i < FF_COUNT(ages); i++) {
        struct conn *conn = &session()->conn;

        conn->is_blocked = true;
        conn->heard_at = net_tick(&worker.net);
        conn->took_at = conn->heard_at - ages[i];
        run_timer();
        assert_non_null(session());
        conn->took_at = net_tick(&worker.net);
        conn->heard_at = conn->took_at - 1200;
        run_timer();
        assert_non_null(session());
        conn->is_blocked = false;
        conn->heard_at = net_tick(&worker.net);
    }
}

/* Nor is who waits for us: to be read, or behind others who are sent their past. */
static void who_stands_in_a_line_of_ours_lives(void **state)
{
    (void)state;
    begin(0);
    come("/ws", "fanfare.v1.json");
    for (int line = 0; line < 2; line++) {
        struct conn *conn = &session()->conn;
        uint32_t now = net_tick(&worker.net);

        conn->is_ready = line == 0;
        conn->is_late = line == 1;
        if (line == 1)
            ff_list_append(&worker.net.late, &conn->link);
        conn->heard_at = now - 5000;
        session()->talk.pinged_at = now - 4000;
        run_timer();
        assert_non_null(session());
        assert_int_equal(conn->heard_at, now);
        conn->is_ready = conn->is_late = false;
        ff_list_remove(&conn->link);
    }
    session()->conn.heard_at = net_tick(&worker.net) - 5000;
    session()->talk.pinged_at = net_tick(&worker.net) - 4000;
    run_timer();
    assert_null(session());
}

/* A PING that was sent a whole wrap ago is none for this silence. */
static void each_silence_gets_its_own_ping(void **state)
{
    (void)state;
    begin(wrap_ms / 2);
    come("/ws", "fanfare.v1.json");
    session()->conn.heard_at = session()->talk.pinged_at = net_tick(&worker.net);
    run_timer();
    pass_ms(5100);
    assert_int_equal(count("\x89\0", 2), 1);
}

/* Asks without reading until it is not read from any more. */
static void owe_answers(void)
{
    static const char ask[] = "{\"type\":6,\"id\":1,\"topic\":\"nobody is subscribed to this\"}";
    uint8_t frame[128];
    size_t len = client_put_frame(frame, 0x81, ask, sizeof(ask) - 1);

    while (!(session()->conn.pauses & PAUSE_OUTBOX) || !session()->conn.is_blocked) {
        for (int i = 0; i < 100 && send(fd, frame, len, MSG_NOSIGNAL | MSG_DONTWAIT) > 0; i++)
            continue;
        turn();
    }
}

/* Whether it came by TCP or by a Unix socket: see TCP_USER_TIMEOUT. */
static void who_takes_nothing_of_what_it_is_owed_is_closed(void **state)
{
    (void)state;
    begin(wrap_ms - 5000);
    come("/ws", "fanfare.v1.json");
    owe_answers();
    for (int tenth = 0; tenth < 120; tenth++) {
        worker.net.loop.now_ms += 100;
        turn();
    }
    assert_non_null(session());
    for (int tenth = 0; tenth < 10; tenth++) {
        worker.net.loop.now_ms += 100;
        turn();
    }
    assert_null(session());
}

static void who_takes_a_little_of_what_it_is_owed_lives(void **state)
{
    (void)state;
    begin(wrap_ms - 5000);
    come("/ws", "fanfare.v1.json");
    for (int round = 0; round < 6; round++) {
        owe_answers();
        for (int second = 0; second < 12; second++) {
            worker.net.loop.now_ms += 1000;
            turn();
            assert_non_null(session());
            assert_true(session()->conn.pauses & PAUSE_OUTBOX);
        }
        for (int i = 0; i < 100; i++) /* enough that the socket has room */
            (void)!recv(fd, came, 2048, MSG_DONTWAIT);
        turn();
        turn();
    }
}

/* What came while a reload had ended the limit is not held against the session afterwards. */
static void a_limit_that_was_off_leaves_no_debt(void **state)
{
    unsigned answers = 0;

    (void)state;
    begin(1000);
    config->settings.messages_per_second = 1;
    config->settings.bytes_per_second = 100;
    come("/ws", "fanfare.v1.json");
    config->settings.messages_per_second = config->settings.bytes_per_second = 0;
    for (write_texts("{\"type\":1,\"id\":1}", 1000); answers < 1000; pass_ms(0))
        answers += count_text("\"id\":1");
    assert_int_equal(session()->conn.pauses, 0);
    config->settings.messages_per_second = 1;
    config->settings.bytes_per_second = 100;
    pass_ms(3000);
    write_text("{\"type\":1,\"id\":1}");
    assert_int_equal(session()->conn.pauses, 0);
    pass_ms(2000);
    write_texts("{\"type\":1,\"id\":1}", 2);
    assert_int_equal(session()->conn.pauses, PAUSE_RATE); /* it holds again */
    pass_ms(1100);
    assert_int_equal(session()->conn.pauses, 0);
}

/* A monotonic clock does not go back, but a hypervisor may have another opinion. */
static void a_clock_that_leaps_ends_nobody(void **state)
{
    static const int64_t leaps_ms[] = {1000, 20000, 100000, 3 * 24 * 3600 * 1000};

    (void)state;
    begin(wrap_ms);
    come("/ws", "fanfare.v1.json");
    for (size_t i = 0; i < FF_COUNT(leaps_ms) * 2; i++) {
        uint32_t before = net_tick(&worker.net);

        leap_ms(i % 2 ? -leaps_ms[i / 2] : leaps_ms[i / 2]);
        assert_true(net_tick(&worker.net) - before < 2 * WHEEL_TICKS_A_SECOND);
        assert_non_null(session());
    }
    pass_ms(5100);
    assert_int_equal(count("\x89\0", 2), 1); /* and time goes on */
}

/* A close frame is out, and the client has all of close_seconds to answer it. */
static void a_close_has_all_its_time(void **state)
{
    (void)state;
    begin(1000);
    come("/ws", "fanfare.v1.json");
    session_close(session(), FF_CLOSE_POLICY, "the test says so");
    pass_ms(0);
    assert_null(session());
    leap_ms(100000);
    assert_int_equal(worker.net.connections, 1);
    pass_ms(3000);
    assert_int_equal(worker.net.connections, 1);
    pass_ms(2500);
    assert_int_equal(worker.net.connections, 0);
}

/* What was due meanwhile comes once, and the pace is what it was. */
static void a_rate_is_kept_through_a_leap(void **state)
{
    unsigned messages = 0;

    (void)state;
    begin(1000);
    come("/ws", "fanfare.v1.json");
    write_text("{\"type\":5,\"topic\":\"r\",\"rate\":2}");
    for (int i = 0; i < 40; i++) {
        write_text("{\"type\":7,\"topic\":\"r\",\"message\":1}");
        if (i % 10 == 5)
            leap_ms(i % 20 == 5 ? 20000 : -20000);
        pass_ms(100);
        messages += count_text("{\"type\":2,");
    }
    assert_true(messages >= 8 && messages <= 14); /* two a second, and what the leaps count as */
}

#define FROM_THE_BEGINNING(test) cmocka_unit_test_teardown(test, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FROM_THE_BEGINNING(who_answers_lives_and_hears_across_the_border),
        FROM_THE_BEGINNING(who_is_silent_is_closed_across_the_border),
        FROM_THE_BEGINNING(malformed_messages_of_an_old_minute_are_forgotten),
        FROM_THE_BEGINNING(control_frames_of_an_old_second_are_forgotten),
        FROM_THE_BEGINNING(an_old_answer_to_a_heartbeat_keeps_no_new_one_back),
        FROM_THE_BEGINNING(of_two_clocks_the_later_one_counts_however_old_the_other_is),
        FROM_THE_BEGINNING(each_silence_gets_its_own_ping),
        FROM_THE_BEGINNING(who_stands_in_a_line_of_ours_lives),
        FROM_THE_BEGINNING(who_takes_nothing_of_what_it_is_owed_is_closed),
        FROM_THE_BEGINNING(who_takes_a_little_of_what_it_is_owed_lives),
        FROM_THE_BEGINNING(a_limit_that_was_off_leaves_no_debt),
        FROM_THE_BEGINNING(plain_heartbeats_come_whatever_else_is_sent),
        FROM_THE_BEGINNING(a_ping_stands_for_no_heartbeat),
        FROM_THE_BEGINNING(a_ping_behind_other_data_is_given_time),
        FROM_THE_BEGINNING(what_the_broker_sleeps_through_ends_nobody),
        FROM_THE_BEGINNING(a_handshake_has_all_its_time),
        FROM_THE_BEGINNING(a_close_has_all_its_time),
        FROM_THE_BEGINNING(a_rate_is_kept_through_a_leap),
        FROM_THE_BEGINNING(a_clock_that_leaps_ends_nobody),
    };

    return cmocka_run_group_tests_name("clocks", tests, NULL, NULL);
}
