/* SPDX-License-Identifier: Apache-2.0 */
/* On the way to a Redis: names, connections, greetings, and pauses; --seed S. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/redis.h"

static uint64_t seed = 1;

static bool has_come(void)
{
    return redis_accept();
}

/* The next attempt, whenever it comes. */
static bool has_come_again(void)
{
    if (redis_accept())
        return true;
    redis_pass_ms(10);
    return false;
}

static void it_is_up_when_redis_has_let_us_in(void **state)
{
    (void)state;
    redis_use_url("anna:secret@", "/3");
    redis_link_begin(false);
    assert_false(redis_link_is_up(redis_link));
    assert_string_equal(redis_link_run_id(redis_link), "");
    assert_false(redis_ask("GET a", "a"));
    redis_until(has_come, "the link connects");
    assert_string_equal(redis_heard(),
                        "*3  $4  AUTH  $4  anna  $6  secret  "
                        "*3  $6  CLIENT  $7  SETNAME  $7  fanfare  *2  $6  SELECT  $1  3  "
                        "*2  $4  INFO  $6  server  *1  $4  ROLE  *1  $4  PING  ");
    redis_say("+OK\r\n-ERR unknown command\r\n+OK\r\n" REDIS_TEST_INFO REDIS_TEST_ROLE);
    assert_false(redis_link_is_up(redis_link));
    assert_false(redis_ask("GET a", "a"));
    redis_saw("");
    redis_say("+PONG\r\n");
    redis_saw("up ");
    assert_true(redis_link_is_up(redis_link));
    assert_string_equal(redis_link_run_id(redis_link), REDIS_TEST_RUN_ID);
    redis_logged("info redis_up(" REDIS_TEST_RUN_ID ") ");
}

static void a_password_needs_no_user_and_nothing_no_password(void **state)
{
    (void)state;
    redis_use_url(":secret@", "");
    redis_link_begin(false);
    redis_until(has_come, "the link connects");
    assert_non_null(strstr(redis_heard(), "*2  $4  AUTH  $6  secret  *3  $6  CLIENT"));
    redis_link_free(redis_link);
    redis_use_url("", "");
    redis_link_begin(false);
    redis_until(has_come, "the link connects");
    assert_int_equal(strncmp(redis_heard(), "*3  $6  CLIENT", 14), 0);
}

static const struct {
    const char *who;
    const char *says; /* NULL: it closes at once */
    const char *why;
} liars[] = {
    {"closes at once", NULL, "it has closed the connection"},
    {"has something else to say", "HTTP/1.1 400 Bad Request\r\n\r\n",
     "it does not speak the protocol of Redis (RESP2)"},
    {"wants a password", "-NOAUTH Authentication required.\r\n", "it answers NOAUTH to AUTH"},
    {"knows another one", "-WRONGPASS invalid username-password pair\r\n",
     "it answers WRONGPASS to AUTH"},
    {"is protected", "-DENIED Redis is running in protected mode because\r\n",
     "it answers DENIED to AUTH"},
    {"has a code that is none", "-\x01\x1b[31mred\r\n", "it answers  to AUTH"},
    {"answers with a number", ":1\r\n", "it does not answer as Redis does"},
    {"has no such name", "+OK\r\n-NOAUTH Authentication required.\r\n",
     "it answers NOAUTH to CLIENT"},
    {"has no such database", "+OK\r\n+OK\r\n-ERR DB index is out of range\r\n",
     "it answers ERR to SELECT"},
    {"has rules", "+OK\r\n-NOPERM x\r\n+OK\r\n-NOPERM this user has no permissions\r\n",
     "it answers NOPERM to INFO"},
    {"has no run", "+OK\r\n+OK\r\n+OK\r\n$8\r\nrun_id:x\r\n", "its INFO has no run_id"},
    {"has a run that is too short", "+OK\r\n+OK\r\n+OK\r\n$10\r\nrun_id:abc\r\n",
     "its INFO has no run_id"},
    {"has no info", "+OK\r\n+OK\r\n+OK\r\n$-1\r\n", "its INFO has no run_id"},
    {"has a run of capitals",
     "+OK\r\n+OK\r\n+OK\r\n$47\r\nrun_id:0123456789ABCDEF0123456789ABCDEF01234567\r\n",
     "its INFO has no run_id"},
    {"is a replica",
     "+OK\r\n+OK\r\n+OK\r\n" REDIS_TEST_INFO
     "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:9\r\n",
     "it is a replica"},
    {"is a sentinel", "+OK\r\n+OK\r\n+OK\r\n" REDIS_TEST_INFO "*2\r\n$8\r\nsentinel\r\n*0\r\n",
     "it is no master"},
    {"has a role of no kind", "+OK\r\n+OK\r\n+OK\r\n" REDIS_TEST_INFO "*0\r\n", "it is no master"},
    {"says it in another way", "+OK\r\n+OK\r\n+OK\r\n" REDIS_TEST_INFO "$6\r\nmaster\r\n",
     "it is no master"},
    {"loads its data",
     "+OK\r\n+OK\r\n+OK\r\n" REDIS_TEST_INFO REDIS_TEST_ROLE "-LOADING Redis is loading\r\n",
     "it answers LOADING to PING"},
    {"runs a script", "-BUSY Redis is busy running a script\r\n", "it answers BUSY to AUTH"},
};

static void who_is_no_master_that_serves_is_tried_again(void **state)
{
    (void)state;
    redis_use_url(":secret@", "/3");
    for (size_t i = 0; i < FF_COUNT(liars); i++) {
        char line[512];

        print_message("    %s\n", liars[i].who);
        redis_link_begin(false);
        for (int round = 0; round < 3; round++) { /* told once, tried each time */
            redis_until(has_come_again, "the link connects");
            if (liars[i].says)
                redis_say(liars[i].says);
            else
                redis_hang_up();
            redis_turns();
            (void)snprintf(line, sizeof(line), "%s redis_down(%s) ", round ? "debug" : "warn",
                           liars[i].why);
            redis_logged(line);
        }
        redis_pass_ms(REDIS_RETRY_MAX_MS + 30);
        redis_greet(true, true);
        redis_saw("up ");
        redis_logged("info redis_up(" REDIS_TEST_RUN_ID ") ");
        redis_link_free(redis_link);
        redis_link = NULL;
        redis_saw("");
        assert_false(redis_accept());
    }
}

static void whatever_it_says_octet_by_octet_it_hangs_nowhere(void **state)
{
    static const char greeting[] = "+OK\r\n" REDIS_TEST_INFO REDIS_TEST_ROLE "+PONG\r\n";

    (void)state;
    redis_link_begin(false);
    for (size_t len = 0; len < sizeof(greeting) - 1; len++) { /* so many, then silence */
        redis_until(has_come_again, "the link connects");
        for (size_t i = 0; i < len; i++)
            redis_say((char[]){greeting[i], '\0'});
        redis_saw("");
        redis_log[0] = '\0';
        redis_pass_ms(REDIS_CONNECT_MS + 30);
        redis_logged(len ? "debug redis_down(it has not greeted us within 1 s) "
                         : "warn redis_down(it has not greeted us within 1 s) ");
    }
    redis_until(has_come_again, "the link connects");
    for (size_t i = 0; i < sizeof(greeting) - 1; i++)
        redis_say((char[]){greeting[i], '\0'});
    redis_saw("up ");
}

static void a_reason_that_changes_is_told(void **state)
{
    (void)state;
    redis_link_begin(false);
    for (int round = 0; round < 2; round++) {
        redis_until(has_come_again, "the link connects");
        redis_say("+OK\r\n-BUSY a script\r\n");
        redis_turns();
        redis_until(has_come_again, "the link connects");
        redis_hang_up();
        redis_turns();
    }
    redis_logged("warn redis_down(it answers BUSY to INFO) "
                 "warn redis_down(it has closed the connection) "
                 "warn redis_down(it answers BUSY to INFO) "
                 "warn redis_down(it has closed the connection) ");
}

/* How long after the attempt that came last has failed the next one comes. */
static uint64_t measure_pause(void)
{
    uint64_t pause = 0;

    redis_hang_up();
    redis_turns();
    for (; !redis_accept(); pause += 10)
        redis_pass_ms(10);
    return pause;
}

static void pauses_grow_by_chance_and_end_at_a_second(void **state)
{
    uint64_t sums[2] = {0, 0};

    (void)state;
    for (int who = 0; who < 2; who++) {
        redis_env.seed = seed + (uint64_t)who * 1000;
        redis_link_begin(false);
        redis_until(has_come, "the link connects");
        for (int i = 0; i < 15; i++) {
            uint64_t pause = measure_pause();

            assert_true(pause >= REDIS_RETRY_MS && pause <= REDIS_RETRY_MAX_MS + 30);
            assert_true(i > 0 || pause <= 3 * REDIS_RETRY_MS + 30);
            sums[who] += pause;
            redis_log[0] = '\0';
        }
        redis_link_free(redis_link);
        redis_link = NULL;
    }
    assert_int_not_equal(sums[0], sums[1]);
    assert_true(sums[0] > 15 * 150);
}

static void a_loss_is_mended_at_once_and_a_flutter_is_not(void **state)
{
    uint64_t before_ms;

    (void)state;
    redis_bring_up(false);
    redis_pass_ms(REDIS_STEADY_MS);
    redis_hang_up();
    redis_turns();
    redis_saw("down(it has closed the connection) ");
    redis_logged("warn redis_down(it has closed the connection) ");
    before_ms = redis_worker.net.loop.now_ms;
    redis_greet(false, false);
    assert_true(redis_worker.net.loop.now_ms - before_ms < REDIS_RETRY_MS);
    redis_saw("up ");
    redis_hang_up(); /* it was up for a moment */
    redis_turns();
    redis_saw("down(it has closed the connection) ");
    redis_logged("info redis_up(" REDIS_TEST_RUN_ID ") " /* it is another loss, told again */
                 "warn redis_down(it has closed the connection) ");
    assert_false(redis_accept());
    redis_pass_ms(REDIS_RETRY_MS - 20);
    assert_false(redis_accept());
    redis_pass_ms(REDIS_RETRY_MAX_MS);
    redis_greet(false, false);
    redis_saw("up ");
}

static void who_does_not_answer_to_a_connection_is_tried_again(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(to);
    int full = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fillers[4];

    (void)state;
    assert_int_equal(bind(full, (struct sockaddr *)&to, len), 0);
    assert_int_equal(listen(full, 0), 0); /* it takes one, and hears nothing of others */
    assert_int_equal(getsockname(full, (struct sockaddr *)&to, &len), 0);
    for (size_t i = 0; i < FF_COUNT(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&to, len);
    }
    redis_url.port = ntohs(to.sin_port);
    (void)snprintf(redis_url.host, sizeof(redis_url.host),
                   "localhost"); /* of ::1 nothing is told */
    redis_link_begin(false);
    redis_pass_ms(REDIS_CONNECT_MS - 20);
    redis_logged("");
    redis_pass_ms(50);
    redis_logged("warn redis_down(Connection timed out) ");
    for (size_t i = 0; i < FF_COUNT(fillers); i++)
        (void)close(fillers[i]);
    (void)close(full);
    redis_pass_ms(REDIS_RETRY_MAX_MS + 50);
    assert_int_equal(strncmp(redis_log, "warn redis_down(Connection refused) ", 36), 0);
}

static void where_nobody_listens_it_waits(void **state)
{
    char why[REDIS_WHY_MAX];

    (void)state;
    assert_true(redis_url_parse(&redis_url, "unix:///nowhere/redis.sock", why));
    redis_link_begin(false);
    redis_logged("warn redis_down(No such file or directory) ");
    redis_pass_ms(200);
    assert_int_equal(strncmp(redis_log, "debug redis_down(No such file", 29), 0);
}

static void localhost_is_both_of_its_addresses(void **state)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int only = 1;
    int came;

    (void)state;
    v6.sin6_port = htons(redis_url.port);
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    if (fd < 0 || bind(fd, (struct sockaddr *)&v6, sizeof(v6)) < 0) {
        print_message("    this machine has no ::1\n");
        (void)close(fd);
        return;
    }
    (void)snprintf(redis_url.host, sizeof(redis_url.host), "LocalHost");
    redis_bring_up(false); /* by 127.0.0.1 */
    redis_link_free(redis_link);
    redis_hang_up();
    redis_stop_listening();
    assert_int_equal(listen(fd, 8), 0);
    redis_link_begin(false); /* nobody is there; but at ::1 */
    redis_turns();
    came = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(came >= 0);
    redis_logged("");
    (void)close(came);
    (void)close(fd);
    redis_log[0] = '\0';
    redis_pass_ms(REDIS_RETRY_MAX_MS); /* what is told is of the first address */
    assert_non_null(strstr(redis_log, "redis_down(Connection refused) "));
}

/* Names have the addresses that the test says, when it says so. */
static sem_t may_resolve;
static _Atomic int resolving;
static _Atomic int resolve_failure;
static struct sockaddr_in resolved_address = {.sin_family = AF_INET};
static struct addrinfo resolved[] = {
    {.ai_family = AF_UNIX, .ai_next = &resolved[1]}, /* one that is of no use */
    {.ai_family = AF_INET,
     .ai_addr = (struct sockaddr *)&resolved_address,
     .ai_addrlen = sizeof(resolved_address)},
};

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
void __wrap_freeaddrinfo(struct addrinfo *info);

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    (void)service;
    resolving++;
    while (sem_wait(&may_resolve) < 0)
        continue;
    if (strcmp(name, "redis.example.org") != 0 || hints->ai_socktype != SOCK_STREAM)
        return EAI_NONAME;
    *found = resolved;
    return resolve_failure;
}

void __wrap_freeaddrinfo(struct addrinfo *info)
{
    assert_ptr_equal(info, resolved);
    resolving--;
}

static bool is_resolving(void)
{
    return resolving > 0;
}

/* Without a turn, which would open the mailbox. */
static void wait_for_mail(void)
{
    while (mailbox_is_empty(&redis_worker.mailbox))
        (void)sched_yield();
}

static int begin_resolving(void **state)
{
    resolving = 0;
    resolve_failure = 0;
    (void)redis_begin(state);
    (void)snprintf(redis_url.host, sizeof(redis_url.host), "redis.example.org");
    return 0;
}

static void a_name_is_resolved_beside_the_worker(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) { /* anew at each attempt */
        if (round == 0)
            redis_link_begin(false);
        redis_until(is_resolving, "the name is asked for");
        redis_pass_ms(3000); /* it takes its time */
        assert_false(redis_accept());
        assert_int_equal(sem_post(&may_resolve), 0);
        redis_greet(false, false);
        redis_saw("up ");
        redis_pass_ms(200);
        redis_hang_up();
        redis_turns();
        redis_saw("down(it has closed the connection) ");
        redis_pass_ms(REDIS_RETRY_MAX_MS);
    }
    redis_until(is_resolving, "the name is asked for again");
    resolve_failure = EAI_AGAIN;
    resolving = 0; /* what fails is not freed */
    redis_log[0] = '\0';
    assert_int_equal(sem_post(&may_resolve), 0);
    wait_for_mail();
    redis_turns();
    assert_int_equal(strncmp(redis_log, "warn redis_down(", 16), 0);
}

static bool has_logged(void)
{
    return redis_log[0] != '\0';
}

static void a_name_that_is_none_is_told(void **state)
{
    char line[256];

    (void)state;
    (void)snprintf(redis_url.host, sizeof(redis_url.host), "redis.example.com");
    redis_link_begin(false);
    assert_int_equal(sem_post(&may_resolve), 0);
    redis_until(has_logged, "it fails");
    (void)snprintf(line, sizeof(line), "warn redis_down(%s) ", gai_strerror(EAI_NONAME));
    redis_logged(line);
    redis_pass_ms(REDIS_RETRY_MAX_MS + 30);
    resolving = 0;
    assert_int_equal(sem_post(&may_resolve), 0);
    redis_until(has_logged, "it fails again");
}

/* Nobody waits for a name server: neither here, nor where the broker ends. */
static void who_is_freed_leaves_the_thread(void **state)
{
    size_t with_search;

    (void)state;
    redis_link_begin(false);
    redis_until(is_resolving, "the name is asked for");
    redis_link_free(redis_link);
    redis_link = NULL;
    with_search = ff_mem_live_blocks();
    assert_int_equal(sem_post(&may_resolve), 0);
    while (ff_mem_live_blocks() == with_search)
        (void)sched_yield();
    assert_true(mailbox_is_empty(&redis_worker.mailbox));
}

static void who_is_freed_leaves_the_mail(void **state)
{
    size_t with_search;

    (void)state;
    redis_link_begin(false);
    assert_int_equal(sem_post(&may_resolve), 0);
    wait_for_mail();
    redis_link_free(redis_link);
    redis_link = NULL;
    with_search = ff_mem_live_blocks();
    mailbox_open(&redis_worker.mailbox);
    assert_int_equal(ff_mem_live_blocks(), with_search - 1);
    redis_logged("");
}

#define LINK(test)     cmocka_unit_test_setup_teardown(test, redis_begin, redis_end)
#define RESOLVER(test) cmocka_unit_test_setup_teardown(test, begin_resolving, redis_end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        LINK(it_is_up_when_redis_has_let_us_in),
        LINK(a_password_needs_no_user_and_nothing_no_password),
        LINK(who_is_no_master_that_serves_is_tried_again),
        LINK(whatever_it_says_octet_by_octet_it_hangs_nowhere),
        LINK(a_reason_that_changes_is_told),
        LINK(pauses_grow_by_chance_and_end_at_a_second),
        LINK(a_loss_is_mended_at_once_and_a_flutter_is_not),
        LINK(who_does_not_answer_to_a_connection_is_tried_again),
        LINK(where_nobody_listens_it_waits),
        LINK(localhost_is_both_of_its_addresses),
        RESOLVER(a_name_is_resolved_beside_the_worker),
        RESOLVER(a_name_that_is_none_is_told),
        RESOLVER(who_is_freed_leaves_the_thread),
        RESOLVER(who_is_freed_leaves_the_mail),
    };

    resolved_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)sem_init(&may_resolve, 0, 0);
    seed = test_option(argc - 1, argv + 1, "--seed", seed);
    return cmocka_run_group_tests_name("redis_attempts", tests, NULL, NULL);
}
