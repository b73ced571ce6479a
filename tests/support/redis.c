/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/redis.h"

#include <ev.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/net/socket.h"

enum { WORDS = 16, HANGS_S = 60 };

struct worker redis_worker;
struct redis_link *redis_link;
char redis_picture[REDIS_TEST_TEXT];
char redis_log[REDIS_TEST_TEXT];
void (*redis_on_event)(const char *what);
struct redis_link_env redis_env;
struct redis_url redis_url;
int redis_fd = -1;

static int listening = -1;
static struct address bound;
static char heard[1 << 16];

static void note(char *line, const char *text)
{
    size_t len = strlen(line);

    assert_true(len + strlen(text) < REDIS_TEST_TEXT);
    memcpy(line + len, text, strlen(text) + 1);
}

void __wrap_log_event(enum log_level level, const char *event, const struct log_field *fields);

void __wrap_log_event(enum log_level level, const char *event, const struct log_field *fields)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char text[REDIS_WHY_MAX + 64] = "";

    for (; fields->key; fields++) {
        assert_null(fields->text.at ? strstr(fields->text.at, "secret") : NULL);
        if (strcmp(fields->key, "why") == 0 || strcmp(fields->key, "run_id") == 0)
            (void)snprintf(text, sizeof(text), "%.60s(%.*s)", event, (int)fields->text.len,
                           fields->text.at);
    }
    note(redis_log, names[level]);
    note(redis_log, " ");
    note(redis_log, text);
    note(redis_log, " ");
}

static void happened(const char *what)
{
    if (redis_on_event)
        redis_on_event(what);
}

static void on_up(void *arg)
{
    assert_ptr_equal(arg, &redis_env);
    note(redis_picture, "up ");
    happened("up");
}

static void on_down(void *arg, const char *why)
{
    assert_ptr_equal(arg, &redis_env);
    note(redis_picture, "down(");
    note(redis_picture, why);
    note(redis_picture, ") ");
    happened("down");
}

/* "*3 $message $topic $hello" with no spaces between. */
static void draw(const struct redis_reply *reply)
{
    static const char signs[] = {'$', ':', 'n', '+', '-', '*'};

    for (uint32_t i = 0; i < reply->count; i++) {
        const struct redis_value *value = &reply->values[i];
        struct ff_slice text = redis_text(reply, i);
        char word[128];

        if (value->kind == REDIS_INTEGER || value->kind == REDIS_ARRAY)
            (void)snprintf(word, sizeof(word), "%c%lld", signs[value->kind],
                           value->kind == REDIS_ARRAY ? (long long)value->count
                                                      : (long long)value->integer);
        else
            (void)snprintf(word, sizeof(word), "%c%.*s", signs[value->kind],
                           text.len < 100 ? (int)text.len : 100, text.at ? text.at : "");
        note(redis_picture, word);
    }
    note(redis_picture, " ");
}

static void on_pushed(void *arg, const struct redis_reply *reply)
{
    assert_ptr_equal(arg, &redis_env);
    note(redis_picture, "pushed:");
    draw(reply);
    happened("pushed");
}

/* `context` is a name for the picture. */
static void on_answer(void *context, const struct redis_reply *reply, bool was_sent)
{
    note(redis_picture, context);
    note(redis_picture, ":");
    if (reply) {
        assert_true(was_sent);
        draw(reply);
    } else {
        note(redis_picture, was_sent ? "lost " : "unsent ");
    }
    happened(context);
}

static void route(void *arg)
{
    (void)arg;
}

static bool end_turn(void *arg)
{
    (void)arg;
    return false;
}

static const struct worker_ops ops = {.route = route, .end_turn = end_turn};
static const struct redis_link_events events = {.up = on_up, .down = on_down, .pushed = on_pushed};

int redis_begin(void **state)
{
    struct socket_access access = {.has_mode = false};

    (void)state;
    redis_link = NULL;
    redis_on_event = NULL;
    redis_picture[0] = redis_log[0] = '\0';
    assert_int_equal(worker_init(&redis_worker, 0, NULL), FF_OK);
    worker_set_ops(&redis_worker, &ops, NULL);
    assert_int_equal(address_parse(&bound, "127.0.0.1:0"), FF_OK);
    assert_int_equal(socket_listen(&bound, &access, &listening), FF_OK);
    redis_env = (struct redis_link_env){.net = &redis_worker.net,
                                        .box = &redis_worker.mailbox,
                                        .url = &redis_url,
                                        .seed = 7,
                                        .events = &events,
                                        .arg = &redis_env};
    redis_use_url("", "");
    return 0;
}

int redis_end(void **state)
{
    (void)state;
    redis_on_event = NULL;
    redis_link_free(redis_link);
    redis_link = NULL;
    redis_turns(); /* mail that lies in the box */
    redis_hang_up();
    redis_stop_listening();
    assert_int_equal(redis_worker.net.wheel.count, 0);
    worker_deinit(&redis_worker);
    return nothing_leaked(state);
}

void redis_use_url(const char *user, const char *database)
{
    char text[512];
    char why[REDIS_WHY_MAX];

    (void)snprintf(text, sizeof(text), "redis://%s127.0.0.1:%u%s", user,
                   ntohs(((struct sockaddr_in *)&bound.storage)->sin_port), database);
    assert_true(redis_url_parse(&redis_url, text, why));
}

void redis_link_begin(bool is_subscriber)
{
    redis_env.is_subscriber = is_subscriber;
    redis_link = redis_link_new(&redis_env);
    assert_non_null(redis_link);
}

void redis_turns(void)
{
    for (int i = 0; i < 6; i++)
        ev_run(redis_worker.net.loop.ev, EVRUN_NOWAIT);
}

static uint64_t real_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

void redis_until(bool (*is_so)(void), const char *what)
{
    uint64_t begin_s = real_s();

    while (!is_so()) {
        if (real_s() - begin_s > HANGS_S)
            fail_msg("it never comes that %s; seen: %s; logged: %s", what, redis_picture,
                     redis_log);
        redis_turns();
    }
}

void redis_pass_ms(uint64_t ms)
{
    enum { STEP_MS = 10 };

    redis_turns();
    for (; ms > STEP_MS; ms -= STEP_MS) {
        redis_worker.net.loop.now_ms += STEP_MS;
        redis_turns();
    }
    redis_worker.net.loop.now_ms += ms;
    redis_turns();
}

void redis_saw(const char *picture)
{
    assert_string_equal(redis_picture, picture);
    redis_picture[0] = '\0';
}

void redis_logged(const char *lines)
{
    assert_string_equal(redis_log, lines);
    redis_log[0] = '\0';
}

bool redis_accept(void)
{
    int fd;

    redis_turns();
    fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return false;
    redis_hang_up();
    redis_fd = fd;
    socket_set_up(fd); /* no octet waits for an acknowledgement of the last one */
    redis_turns();
    return true;
}

void redis_say(const char *text)
{
    assert_int_equal(send(redis_fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    redis_turns();
}

void redis_hang_up(void)
{
    if (redis_fd < 0)
        return;
    while (recv(redis_fd, heard, sizeof(heard), MSG_DONTWAIT) > 0)
        continue; /* what nobody has read would make it a reset */
    (void)close(redis_fd);
    redis_fd = -1;
}

void redis_stop_listening(void)
{
    if (listening >= 0)
        (void)close(listening);
    listening = -1;
}

const char *redis_heard(void)
{
    ssize_t len;

    redis_turns();
    len = recv(redis_fd, heard, sizeof(heard) - 1, MSG_DONTWAIT);
    heard[len > 0 ? len : 0] = '\0';
    for (char *at = heard; *at; at++)
        if (*at == '\r' || *at == '\n')
            *at = ' ';
    return heard;
}

static bool has_come(void)
{
    return redis_accept();
}

static bool has_greeted(void)
{
    static char all[REDIS_TEST_TEXT];
    ssize_t len = recv(redis_fd, all, sizeof(all), MSG_PEEK | MSG_DONTWAIT);

    return len > 0 && memmem(all, (size_t)len, "PING\r\n", 6);
}

void redis_greet(bool has_auth, bool has_select)
{
    redis_until(has_come, "the link connects");
    redis_until(has_greeted, "it greets");
    redis_say(has_auth ? "+OK\r\n" : "");
    redis_say("+OK\r\n");
    redis_say(has_select ? "+OK\r\n" : "");
    redis_say(REDIS_TEST_INFO REDIS_TEST_ROLE "+PONG\r\n");
}

void redis_bring_up(bool is_subscriber)
{
    redis_link_begin(is_subscriber);
    redis_greet(false, false);
    redis_saw("up ");
    (void)redis_heard();
    redis_log[0] = '\0';
}

bool redis_ask(const char *words, const char *name)
{
    struct ff_slice rest = ff_slice_of(words);
    struct ff_slice argv[WORDS];
    uint32_t argc = 0;
    union { /* a name is a text of the test's */
        const char *text;
        void *context;
    } as = {.text = name};

    while (rest.at && argc < WORDS)
        argv[argc++] = ff_slice_cut(&rest, ' ');
    return redis_link_command(redis_link, argc, argv, redis_env.is_subscriber ? NULL : on_answer,
                              as.context);
}
