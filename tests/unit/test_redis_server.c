/* SPDX-License-Identifier: Apache-2.0 */
/* A link to the real Redis: of its own, on a Unix socket, and ended by its pid. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/redis.h"

static char folder[] = "/tmp/fanfare-redis-XXXXXX";
static char path[64];
static pid_t server = -1;

static void run_server(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)execl("/usr/bin/redis-server", "redis-server", "--port", "0", "--unixsocket", path,
                "--dir", folder, "--save", "", "--appendonly", "no", "--logfile", "redis.log",
                (char *)NULL);
    _exit(127);
}

static void start_server(void)
{
    server = fork();
    if (server == 0)
        run_server();
    assert_true(server > 0);
}

static void end_server(void)
{
    int status;

    if (server <= 0)
        return;
    (void)kill(server, SIGKILL);
    assert_int_equal(waitpid(server, &status, 0), server);
    server = -1;
}

static void use_server(const char *user, const char *database)
{
    char text[256];
    char why[REDIS_WHY_MAX];

    (void)snprintf(text, sizeof(text), "redis+unix://%s%s%s", user, path, database);
    assert_true(redis_url_parse(&redis_url, text, why));
}

/* The link of another kind than redis_link, or of another user. */
static struct redis_link *other;

static void use(struct redis_link *link)
{
    struct redis_link *now = redis_link;

    redis_link = link;
    other = now;
    redis_env.is_subscriber = !redis_env.is_subscriber;
}

/* A turn that may wait for Redis, for a moment; its time is not the loop's. */
static bool has_happened(void)
{
    (void)usleep(1000);
    return redis_picture[0] != '\0';
}

static bool is_up(void)
{
    (void)usleep(1000);
    redis_pass_ms(10); /* a server that is not there yet is tried again */
    return redis_link_is_up(redis_link);
}

static const char *wanted;

static bool has_come(void)
{
    (void)usleep(1000);
    return strlen(redis_picture) >= strlen(wanted);
}

/* Waits for it, and for no more. */
static void await(const char *picture)
{
    wanted = picture;
    redis_until(has_come, picture);
    redis_saw(picture);
}

static int begin(void **state)
{
    (void)redis_begin(state);
    use_server("", "");
    start_server();
    redis_link_begin(false);
    redis_until(is_up, "the server is up");
    redis_saw("up ");
    return 0;
}

static int end(void **state)
{
    redis_link_free(other);
    other = NULL;
    end_server();
    return redis_end(state);
}

static void commands_are_answered_in_order(void **state)
{
    (void)state;
    assert_int_equal(strlen(redis_link_run_id(redis_link)), 40);
    assert_true(redis_ask("SET a hello", "a"));
    assert_true(redis_ask("GET a", "b"));
    assert_true(redis_ask("INCR a", "c"));
    assert_true(redis_ask("GET nothing", "d"));
    assert_true(redis_ask("XADD x 7-1 k v", "e"));
    assert_true(redis_ask("XRANGE x - +", "f"));
    assert_true(redis_ask("EVAL return{1,{2,{3}}} 0", "g"));
    assert_true(redis_ask("CLIENT GETNAME", "h"));
    redis_link_flush(redis_link);
    await("a:+OK b:$hello c:-ERR value is not an integer or out of range d:n e:$7-1 "
          "f:*1*2$7-1*2$k$v g:*2:1*2:2*1:3 h:$fanfare ");
}

static int64_t counted;

static void count(void *context, const struct redis_reply *reply, bool was_sent)
{
    (void)context;
    assert_true(reply && was_sent);
    assert_int_equal(reply->values[0].integer, ++counted);
}

static bool is_counted(void)
{
    return counted == 10000;
}

static void ten_thousand_commands_are_answered(void **state)
{
    const struct ff_slice argv[] = {FF_SLICE("INCR"), FF_SLICE("n")};

    (void)state;
    counted = 0;
    for (int i = 0; i < 10000; i++)
        assert_true(redis_link_command(redis_link, 2, argv, count, NULL));
    redis_link_flush(redis_link);
    redis_until(is_counted, "all are answered");
}

static void what_is_published_is_pushed(void **state)
{
    struct redis_link *commands = redis_link;

    (void)state;
    redis_link_begin(true);
    redis_until(is_up, "the subscriber is up");
    redis_saw("up ");
    assert_true(redis_ask("SUBSCRIBE news", NULL));
    redis_link_flush(redis_link);
    await("pushed:*3$subscribe$news:1 ");
    use(commands);
    assert_true(redis_ask("PUBLISH news hello", "p"));
    redis_link_flush(redis_link);
    wanted = "pushed:*3$message$news$hello p::1 ";
    redis_until(has_come, "both come");
    assert_non_null(strstr(redis_picture, "p::1 "));
    assert_non_null(strstr(redis_picture, "pushed:*3$message$news$hello "));
    redis_picture[0] = '\0';
    redis_pass_ms(REDIS_QUIET_MS + REDIS_LOOK_MS + 40); /* both of them ask */
    await("pushed:*2$pong$ ");
    assert_true(redis_ask("CLIENT KILL TYPE pubsub", "k"));
    redis_link_flush(redis_link);
    wanted = "k::1 down(it has closed the connection) up ";
    redis_until(has_come, "it comes up again");
    assert_non_null(strstr(redis_picture, "down(it has closed the connection) up "));
}

static void who_is_killed_comes_again(void **state)
{
    (void)state;
    redis_pass_ms(REDIS_STEADY_MS);
    assert_true(redis_ask("CLIENT KILL TYPE normal SKIPME no", "k"));
    assert_true(redis_ask("GET a", "a"));
    redis_link_flush(redis_link);
    redis_until(has_happened, "it is killed");
    await("k::1 a:lost down(it has closed the connection) up ");
    assert_true(redis_ask("GET a", "a"));
    redis_link_flush(redis_link);
    await("a:n ");
}

static void a_server_that_is_held_still_is_given_up(void **state)
{
    (void)state;
    assert_int_equal(kill(server, SIGSTOP), 0);
    assert_true(redis_ask("SET a 1", "a"));
    redis_link_flush(redis_link);
    redis_pass_ms(REDIS_DEADLINE_MS - 50);
    redis_saw("");
    redis_pass_ms(REDIS_LOOK_MS + 100);
    redis_saw("a:lost down(no answer for 2 s) ");
    redis_pass_ms(REDIS_CONNECT_MS * 3); /* its kernel takes connections, and it says nothing */
    redis_saw("");
    assert_non_null(strstr(redis_log, "redis_down(it has not greeted us within 1 s)"));
    assert_int_equal(kill(server, SIGCONT), 0);
    redis_until(is_up, "it comes up again");
    redis_saw("up ");
    assert_true(redis_ask("GET a", "a")); /* it was executed, as `lost` had it that it may be */
    redis_link_flush(redis_link);
    await("a:$1 ");
}

static void a_server_that_dies_and_comes_back_is_another_run(void **state)
{
    char run_id[64];

    (void)state;
    (void)snprintf(run_id, sizeof(run_id), "%s", redis_link_run_id(redis_link));
    end_server();
    await("down(it has closed the connection) ");
    redis_pass_ms(3000);
    redis_saw("");
    start_server();
    redis_until(is_up, "it comes up again");
    redis_saw("up ");
    assert_string_not_equal(redis_link_run_id(redis_link), run_id);
}

/* On a busy machine a greeting may take too long first: the loop's time is faster than the real. */
static bool is_logged(void)
{
    if (strstr(redis_log, wanted))
        return true;
    if (strlen(redis_log) > REDIS_TEST_TEXT / 2)
        redis_log[0] = '\0';
    (void)usleep(1000);
    redis_pass_ms(10);
    return false;
}

static void await_log(const char *line)
{
    wanted = line;
    redis_until(is_logged, line);
    redis_log[0] = '\0';
}

static void passwords_and_databases_are_what_the_url_says(void **state)
{
    static const struct {
        const char *user;
        const char *database;
        const char *log; /* a part of it */
    } cases[] = {
        {"", "", "warn redis_down(it answers NOAUTH to CLIENT) "},
        {":wrong@", "", "warn redis_down(it answers WRONGPASS to AUTH) "},
        {":secret@", "?db=77", "warn redis_down(it answers ERR to SELECT) "},
        {"anna:secret@", "", "warn redis_down(it answers WRONGPASS to AUTH) "},
        {"anna:100%25@", "", "warn redis_down(it answers NOPERM to INFO) "},
        {":secret@", "?db=3", "info redis_up"},
    };

    (void)state;
    assert_true(redis_ask("CONFIG SET requirepass secret", "r"));
    redis_link_flush(redis_link);
    await("r:+OK ");
    assert_true(redis_ask("ACL SETUSER anna on >100% +@connection", "s"));
    redis_link_flush(redis_link);
    await("s:+OK ");
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct redis_link *before = redis_link;

        redis_log[0] = '\0';
        use_server(cases[i].user, cases[i].database);
        redis_link_begin(false);
        await_log(cases[i].log);
        redis_link_free(redis_link);
        redis_link = before;
    }
    redis_picture[0] = '\0';
}

static void a_replica_is_none_that_serves_us(void **state)
{
    (void)state;
    redis_pass_ms(REDIS_STEADY_MS);
    assert_true(redis_ask("REPLICAOF 127.0.0.1 1", "r"));
    redis_link_flush(redis_link);
    await("r:+OK ");
    redis_link_drop(redis_link, "let us see");
    redis_pass_ms(20);
    redis_saw("down(let us see) ");
    await_log("warn redis_down(it is a replica) ");
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(commands_are_answered_in_order),
        WITH_SERVER(ten_thousand_commands_are_answered),
        WITH_SERVER(what_is_published_is_pushed),
        WITH_SERVER(who_is_killed_comes_again),
        WITH_SERVER(a_server_that_is_held_still_is_given_up),
        WITH_SERVER(a_server_that_dies_and_comes_back_is_another_run),
        WITH_SERVER(passwords_and_databases_are_what_the_url_says),
        WITH_SERVER(a_replica_is_none_that_serves_us),
    };
    char command[96];
    int failed;

    if (!mkdtemp(folder))
        return 1;
    (void)snprintf(path, sizeof(path), "%s/redis.sock", folder);
    failed = cmocka_run_group_tests_name("redis_server", tests, NULL, NULL);
    (void)snprintf(command, sizeof(command), "%s/redis.log", folder);
    (void)unlink(command);
    (void)unlink(path);
    (void)rmdir(folder);
    return failed;
}
