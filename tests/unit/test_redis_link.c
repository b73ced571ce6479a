/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine may rely on, whatever the Redis at the other end does; --seed S. */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/redis.h"

static uint64_t seed = 1;

static void answers_come_in_order_and_commands_at_once(void **state)
{
    (void)state;
    redis_bring_up(false);
    assert_true(redis_ask("SET a 1", "a"));
    assert_true(redis_ask("GET  b", "b")); /* an empty text among it */
    assert_true(redis_ask("INCR c", "c"));
    assert_string_equal(redis_heard(), "");
    redis_link_flush(redis_link);
    redis_link_flush(redis_link);
    assert_string_equal(redis_heard(), "*3  $3  SET  $1  a  $1  1  *3  $3  GET  $0    $1  b  "
                                       "*2  $4  INCR  $1  c  ");
    redis_say("+OK\r\n$5\r\nhel");
    redis_saw("a:+OK ");
    redis_say("lo\r\n:");
    redis_saw("b:$hello ");
    redis_say("7\r\n");
    redis_saw("c::7 ");
    assert_true(redis_ask("LRANGE x 0 1", "x"));
    redis_link_flush(redis_link);
    redis_say("*2\r\n$1\r\na\r\n$-1\r\n");
    redis_saw("x:*2$an ");
    assert_true(redis_ask("NO", "y"));
    redis_link_flush(redis_link);
    redis_say("-ERR unknown command\r\n");
    redis_saw("y:-ERR unknown command ");
}

static void what_is_lost_is_told_before_the_link_is_down(void **state)
{
    (void)state;
    redis_bring_up(false);
    assert_true(redis_ask("SET a 1", "a"));
    assert_true(redis_ask("SET b 1", "b"));
    redis_link_flush(redis_link);
    assert_true(redis_ask("SET c 1", "c"));
    (void)redis_heard();
    redis_say("+OK\r\n");
    redis_hang_up();
    redis_turns();
    redis_saw("a:+OK b:lost c:unsent down(it has closed the connection) ");
    assert_false(redis_link_is_up(redis_link));
    assert_false(redis_ask("SET d 1", "d"));
    redis_link_flush(redis_link);
}

static void an_answer_that_nobody_asked_for_ends_it(void **state)
{
    (void)state;
    redis_bring_up(false);
    redis_say("+OK\r\n");
    redis_saw("down(it answers what nobody has asked) ");
}

static void what_is_no_answer_ends_it(void **state)
{
    (void)state;
    redis_bring_up(false);
    assert_true(redis_ask("GET a", "a"));
    redis_link_flush(redis_link);
    redis_say("$1\r\nabc\r\n");
    redis_saw("a:lost down(it does not speak the protocol of Redis (RESP2)) ");
}

static void silence_is_a_loss_after_two_seconds(void **state)
{
    (void)state;
    redis_bring_up(false);
    assert_true(redis_ask("GET a", "a"));
    redis_link_flush(redis_link);
    redis_pass_ms(1000);
    assert_true(redis_ask("GET b", "b")); /* younger: that is of no matter */
    redis_link_flush(redis_link);
    redis_pass_ms(REDIS_DEADLINE_MS - 1000 - 20);
    redis_saw("");
    redis_pass_ms(REDIS_LOOK_MS + 40);
    redis_saw("a:lost b:lost down(no answer for 2 s) ");
    redis_greet(false, false); /* at once: it had been up for a while */
    redis_saw("up ");
}

static void who_is_answered_in_time_waits_for_ever(void **state)
{
    (void)state;
    redis_bring_up(false);
    for (int i = 0; i < 10; i++) {
        assert_true(redis_ask("GET a", "a"));
        redis_link_flush(redis_link);
        redis_pass_ms(REDIS_DEADLINE_MS - 100);
        redis_say("$-1\r\n");
        redis_saw("a:n ");
    }
}

static void a_quiet_link_is_asked_by_a_ping(void **state)
{
    (void)state;
    redis_bring_up(false);
    for (int i = 0; i < 3; i++) {
        redis_pass_ms(REDIS_QUIET_MS - 20);
        assert_string_equal(redis_heard(), "");
        redis_pass_ms(REDIS_LOOK_MS + 40);
        assert_string_equal(redis_heard(), "*1  $4  PING  ");
        redis_say("+PONG\r\n");
    }
    redis_saw("");
    redis_pass_ms(REDIS_QUIET_MS + REDIS_LOOK_MS + REDIS_DEADLINE_MS + 300);
    redis_saw("down(no answer for 2 s) ");
}

static void a_subscriber_is_told_all_that_comes(void **state)
{
    (void)state;
    redis_bring_up(true);
    assert_true(redis_ask("SUBSCRIBE a", NULL));
    redis_link_flush(redis_link);
    assert_string_equal(redis_heard(), "*2  $9  SUBSCRIBE  $1  a  ");
    redis_say(
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi");
    redis_saw("pushed:*3$subscribe$a:1 ");
    redis_say("\r\n-ERR x\r\n");
    redis_saw("pushed:*3$message$a$hi pushed:-ERR x ");
    redis_pass_ms(REDIS_QUIET_MS + REDIS_LOOK_MS + 40);
    assert_string_equal(redis_heard(), "*1  $4  PING  ");
    redis_say("*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    redis_saw("pushed:*2$pong$ ");
    redis_hang_up();
    redis_turns();
    redis_saw("down(it has closed the connection) ");
}

static void a_subscriber_has_to_hear_something_in_time(void **state)
{
    (void)state;
    redis_bring_up(true);
    assert_true(redis_ask("SUBSCRIBE a", NULL));
    redis_link_flush(redis_link);
    redis_pass_ms(REDIS_DEADLINE_MS - 50);
    redis_say("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"); /* anything */
    redis_saw("pushed:*3$message$a$hi ");
    redis_pass_ms(REDIS_QUIET_MS + REDIS_DEADLINE_MS - 50); /* then it is asked */
    redis_saw("");
    redis_pass_ms(REDIS_LOOK_MS * 2 + 100);
    redis_saw("down(no answer for 2 s) ");
    redis_greet(false, false);
    redis_saw("up ");
    assert_true(redis_ask("SUBSCRIBE a", NULL));
    redis_link_flush(redis_link);
    redis_pass_ms(REDIS_DEADLINE_MS + REDIS_LOOK_MS + 40);
    redis_saw("down(no answer for 2 s) ");
}

static void no_more_than_is_allowed_is_under_way(void **state)
{
    (void)state;
    redis_env.out_max = 64; /* "*2\r\n$3\r\nGET\r\n$1\r\na\r\n" is 20 */
    redis_env.unanswered_max = 5;
    redis_bring_up(false);
    assert_true(redis_ask("GET 1", "1"));
    assert_true(redis_ask("GET 2", "2"));
    assert_true(redis_ask("GET 3", "3"));
    assert_false(redis_ask("GET 4", "4")); /* octets */
    redis_link_flush(redis_link);
    assert_true(redis_ask("GET 4", "4"));
    assert_true(redis_ask("GET 5", "5"));
    assert_false(redis_ask("GET 6", "6")); /* commands */
    assert_false(redis_ask("GET 12345678901234567890123456789012345678901234567890", "long"));
    redis_link_flush(redis_link);
    redis_say(":1\r\n");
    redis_saw("1::1 ");
    assert_true(redis_ask("GET 6", "6"));
    assert_false(redis_ask("GET 7", "7"));
    redis_link_flush(redis_link);
    redis_say(":2\r\n:3\r\n:4\r\n:5\r\n:6\r\n");
    redis_saw("2::2 3::3 4::4 5::5 6::6 ");
}

static size_t answered;

static void count_answer(void *context, const struct redis_reply *reply, bool was_sent)
{
    (void)context;
    assert_true(reply && was_sent);
    answered++;
}

static char big[1 << 20];

static bool append_big(void)
{
    const struct ff_slice argv[] = {FF_SLICE("ECHO"), {big, sizeof(big)}};

    return redis_link_command(redis_link, 2, argv, count_answer, NULL);
}

/* The sockets do not hold as much: what is left goes out as there is room, in order. */
static void what_the_socket_does_not_take_follows(void **state)
{
    enum { HEAD = 24 };
    size_t commands = 0;
    size_t came = 0;
    static char in[65536];

    (void)state;
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7 % 127);
    redis_bring_up(false);
    answered = 0;
    for (int turn = 0; turn < 60; turn++) { /* they are refused for as long as nothing is read */
        while (commands < 32 && append_big())
            commands++;
        redis_link_flush(redis_link);
        redis_turns();
    }
    assert_true(commands > 3 && commands < 32);
    while (came < commands * (HEAD + sizeof(big) + 2)) {
        ssize_t len = recv(redis_fd, in, sizeof(in), 0);

        for (ssize_t i = 0; i < len; i++) {
            size_t at = (came + (size_t)i) % (HEAD + sizeof(big) + 2);

            if (at >= HEAD && at < HEAD + sizeof(big))
                assert_int_equal(in[i], big[at - HEAD]);
        }
        came += len > 0 ? (size_t)len : 0;
        redis_turns();
    }
    for (size_t i = 0; i < commands; i++)
        redis_say("+OK\r\n");
    assert_int_equal(answered, commands);
    redis_pass_ms(REDIS_LOOK_MS + 30);
    assert_true(ff_mem_live_bytes() < 400000); /* what the burst needed has gone */
}

/* Bursts of any size, answers in any pieces: each gets its own. */
static uint32_t next_answer;

static void check_answer(void *context, const struct redis_reply *reply, bool was_sent)
{
    assert_true(reply && was_sent);
    assert_ptr_equal(context, &big[next_answer % sizeof(big)]);
    assert_int_equal(reply->values[0].integer, next_answer);
    next_answer++;
}

static void each_command_gets_its_own_answer(void **state)
{
    struct dice dice = {seed};
    uint32_t asked = 0;
    uint32_t said = 0;
    struct ff_slice word = FF_SLICE("INCR");

    (void)state;
    next_answer = 0;
    redis_bring_up(false);
    for (int step = 0; step < 1000; step++) {
        static char text[65536];
        size_t len = 0;

        for (uint32_t n = dice_below(&dice, dice_below(&dice, 10) ? 20 : 500); n > 0; n--)
            assert_true(redis_link_command(redis_link, 1, &word, check_answer,
                                           &big[asked++ % sizeof(big)]));
        redis_link_flush(redis_link);
        for (uint32_t n = dice_below(&dice, 2) ? dice_below(&dice, asked - said + 1) : 0; n > 0;
             n--)
            len += (size_t)snprintf(text + len, sizeof(text) - len, ":%u\r\n", said++);
        assert_true(len < sizeof(text) - 16);
        if (len) {
            char kept = text[len / 2];

            text[len / 2] = '\0';
            redis_say(text);
            text[len / 2] = kept;
            redis_say(text + len / 2);
        }
        (void)redis_heard();
        assert_int_equal(next_answer, said);
    }
    for (; said < asked; said++) {
        char text[16];

        (void)snprintf(text, sizeof(text), ":%u\r\n", said);
        redis_say(text);
    }
    assert_int_equal(next_answer, asked);
}

/* A Redis that has as much to say as it likes is read in shares. */
static void much_comes_in_shares_and_whole(void **state)
{
    static char line[32768];
    const struct ff_slice get[] = {FF_SLICE("GET"), FF_SLICE("big")};
    size_t left = 3 * sizeof(big);

    (void)state;
    redis_bring_up(false);
    answered = 0;
    assert_true(redis_link_command(redis_link, 2, get, count_answer, NULL));
    redis_link_flush(redis_link);
    memset(line, 'x', sizeof(line));
    redis_say("$3145728\r\n");
    while (left > 0) {
        ssize_t len = send(redis_fd, line, left < sizeof(line) ? left : sizeof(line), MSG_NOSIGNAL);

        left -= len > 0 ? (size_t)len : 0;
        redis_turns();
        assert_int_equal(answered, 0);
    }
    redis_say("\r\n");
    redis_turns();
    assert_int_equal(answered, 1);
    redis_turns();
    assert_true(ff_mem_live_bytes() < 400000);
}

static const char *trigger;

static void free_it(const char *what)
{
    if (strcmp(what, trigger) != 0)
        return;
    redis_link_free(redis_link);
    redis_link = NULL;
}

static void drop_it(const char *what)
{
    if (strcmp(what, trigger) != 0)
        return;
    redis_link_drop(redis_link, "dropped");
    redis_link_drop(redis_link, "dropped again");
    assert_false(redis_link_is_up(redis_link));
}

static void ask_three(void)
{
    assert_true(redis_ask("GET a", "a"));
    assert_true(redis_ask("GET b", "b"));
    assert_true(redis_ask("GET c", "c"));
    redis_link_flush(redis_link);
}

static void it_may_be_freed_in_any_callback(void **state)
{
    (void)state;
    redis_on_event = free_it;
    trigger = "up";
    redis_link_begin(false);
    redis_greet(false, false);
    redis_saw("up ");
    assert_null(redis_link);

    trigger = "b";
    redis_bring_up(false);
    ask_three();
    redis_say(":1\r\n:2\r\n:3\r\n");
    redis_saw("a::1 b::2 c:lost ");
    assert_null(redis_link);

    redis_bring_up(false); /* the same while all of them are told that it is lost */
    ask_three();
    redis_hang_up();
    redis_turns();
    redis_saw("a:lost b:lost c:lost ");
    assert_null(redis_link);

    trigger = "down";
    redis_bring_up(false);
    redis_hang_up();
    redis_turns();
    redis_saw("down(it has closed the connection) ");
    assert_null(redis_link);

    trigger = "pushed";
    redis_bring_up(true);
    redis_say("+a\r\n+b\r\n");
    redis_saw("pushed:+a ");
    assert_null(redis_link);
    assert_false(redis_accept());
}

static void it_may_be_dropped_in_any_callback(void **state)
{
    (void)state;
    redis_on_event = drop_it;
    trigger = "up";
    redis_link_begin(false);
    redis_greet(false, false);
    redis_saw("up down(dropped) ");
    trigger = "b";
    redis_pass_ms(REDIS_RETRY_MAX_MS);
    redis_greet(false, false);
    ask_three();
    redis_say(":1\r\n:2\r\n:3\r\n");
    redis_saw("up a::1 b::2 c:lost down(dropped) ");
    redis_pass_ms(REDIS_RETRY_MAX_MS);
    redis_greet(false, false);
    ask_three();
    redis_hang_up();
    redis_turns();
    redis_saw("up a:lost b:lost c:lost down(it has closed the connection) ");
    trigger = "down";
    redis_pass_ms(REDIS_RETRY_MAX_MS);
    redis_greet(false, false);
    redis_hang_up();
    redis_turns();
    redis_saw("up down(it has closed the connection) ");
    redis_pass_ms(REDIS_RETRY_MAX_MS);
    redis_greet(false, false);
    redis_saw("up ");
    redis_link_free(redis_link);
    trigger = "pushed";
    redis_bring_up(true);
    redis_say("+a\r\n+b\r\n");
    redis_saw("pushed:+a down(dropped) ");
}

static void a_drop_calls_nobody_before_the_next_tick(void **state)
{
    (void)state;
    redis_bring_up(false);
    ask_three();
    redis_link_drop(redis_link, "a probe was not heard");
    assert_false(redis_link_is_up(redis_link));
    assert_false(redis_ask("GET d", "d"));
    redis_link_flush(redis_link);
    redis_saw("");
    redis_pass_ms(20);
    redis_saw("a:lost b:lost c:lost down(a probe was not heard) ");
    redis_link_drop(redis_link, "again");
    redis_pass_ms(REDIS_RETRY_MAX_MS);
    redis_greet(false, false);
    redis_saw("up ");
}

static void a_send_that_fails_calls_nobody_and_loses_no_answer(void **state)
{
    (void)state;
    redis_bring_up(false);
    ask_three();
    (void)redis_heard();
    assert_int_equal(send(redis_fd, ":1\r\n", 4, 0), 4);
    redis_hang_up();              /* no turn: the link does not know yet */
    for (int i = 0; i < 2; i++) { /* Redis' kernel resets it at the first one */
        assert_true(redis_ask("GET d", "d"));
        redis_link_flush(redis_link);
    }
    assert_false(redis_link_is_up(redis_link));
    assert_false(redis_ask("GET e", "e"));
    redis_saw("");
    redis_pass_ms(30);
    assert_int_equal(strncmp(redis_picture, "a::1 b:lost c:lost d:lost d:unsent down(", 40), 0);
    redis_picture[0] = '\0';
}

static void who_is_freed_answers_all(void **state)
{
    (void)state;
    redis_bring_up(false);
    assert_true(redis_ask("GET a", "a"));
    redis_link_flush(redis_link);
    assert_true(redis_ask("GET b", "b"));
    redis_link_free(redis_link);
    redis_link = NULL;
    redis_saw("a:lost b:unsent ");
    redis_link_free(NULL);
}

/* Whatever has become of the connection. */
static void say(const char *text)
{
    if (redis_fd >= 0)
        (void)send(redis_fd, text, strlen(text), MSG_NOSIGNAL);
    redis_turns();
}

static void come_up_and_be_answered(void)
{
    redis_link = redis_link_new(&redis_env);
    redis_picture[0] = redis_log[0] = '\0';
    for (int round = 0; redis_link && !strstr(redis_picture, "a::1 "); round++) {
        assert_true(round < 100);
        if (redis_accept())
            say("+OK\r\n" REDIS_TEST_INFO REDIS_TEST_ROLE "+PONG\r\n");
        if (redis_ask("GET a", "a")) {
            redis_link_flush(redis_link);
            say(":1\r\n");
        }
        redis_pass_ms(50);
    }
    redis_link_free(redis_link);
    redis_link = NULL;
    redis_hang_up();
    redis_turns();
    while (redis_accept()) /* one that came late */
        redis_hang_up();
}

static void a_failing_allocation_costs_a_connection_at_most(void **state)
{
    (void)state;
    come_up_and_be_answered(); /* what libev keeps, it has */
    for_each_failing_allocation(come_up_and_be_answered);
}

#define LINK(test) cmocka_unit_test_setup_teardown(test, redis_begin, redis_end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        LINK(answers_come_in_order_and_commands_at_once),
        LINK(what_is_lost_is_told_before_the_link_is_down),
        LINK(an_answer_that_nobody_asked_for_ends_it),
        LINK(what_is_no_answer_ends_it),
        LINK(silence_is_a_loss_after_two_seconds),
        LINK(who_is_answered_in_time_waits_for_ever),
        LINK(a_quiet_link_is_asked_by_a_ping),
        LINK(a_subscriber_is_told_all_that_comes),
        LINK(a_subscriber_has_to_hear_something_in_time),
        LINK(no_more_than_is_allowed_is_under_way),
        LINK(what_the_socket_does_not_take_follows),
        LINK(each_command_gets_its_own_answer),
        LINK(much_comes_in_shares_and_whole),
        LINK(it_may_be_freed_in_any_callback),
        LINK(it_may_be_dropped_in_any_callback),
        LINK(a_drop_calls_nobody_before_the_next_tick),
        LINK(a_send_that_fails_calls_nobody_and_loses_no_answer),
        LINK(who_is_freed_answers_all),
        LINK(a_failing_allocation_costs_a_connection_at_most),
    };

    seed = test_option(argc - 1, argv + 1, "--seed", seed);
    return cmocka_run_group_tests_name("redis_link", tests, NULL, NULL);
}
