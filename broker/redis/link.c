/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.c - the life of a connection to Redis: resolve, connect, greet, be up, be lost, wait.
 *
 * Whatever may call back is entered and left. A callback may free the link, or drop it: the
 * first is done when the outermost call is left, the second, and every other loss of a link that
 * was up, is settled there, or by the timer in the next tick where nobody is to be called back
 * now. So no callback ever comes from within a function that its owner has called.
 */
#include "broker/redis/link.h"

#include <errno.h>
#include <stdio.h>

#include "broker/net/logger.h"
#include "broker/redis/command.h"
#include "broker/redis/greeting.h"
#include "broker/redis/pipe.h"
#include "broker/redis/resolver.h"
#include "broker/redis/unanswered.h"
#include "protocol/base/mem.h"

enum link_state {
    WAITING, /* for the next attempt; the timer */
    RESOLVING,
    CONNECTING, /* the timer is the deadline */
    GREETING,   /* again */
    UP,         /* the timer looks whether Redis is silent */
    LOSING,     /* it was up; closed; its owner does not know yet */
};

struct redis_link {
    struct redis_pipe pipe;
    struct redis_resolver resolver;
    struct redis_unanswered unanswered;
    struct redis_greeting greeting;
    struct wheel_timer timer;
    struct net *net;
    const struct redis_link_events *events;
    void *arg;
    struct redis_url url;
    enum link_state state;
    uint32_t address; /* which one is tried */
    int failure;      /* of the first address that was tried: the others' are of less interest */
    uint32_t out_max;
    uint32_t pause_ms; /* the last one; 0: it has been up since */
    uint32_t depth;    /* calls that have entered it */
    bool is_freed;
    bool is_subscriber;
    bool has_asked;    /* SUBSCRIBER: something was written since something came, */
    uint64_t asked_ms; /* first at this time */
    uint64_t heard_ms; /* when something came last */
    uint64_t up_ms;
    uint64_t dice;
    char run_id[REDIS_RUN_ID + 1];
    char why[REDIS_WHY_MAX];  /* LOSING */
    char told[REDIS_WHY_MAX]; /* the reason that is in the log; "": it has been up since */
};

static const char no_memory[] = "there is no memory, or no thread, for it";

static uint64_t now_ms(const struct redis_link *link)
{
    return link->net->loop.now_ms;
}

static void set_timer(struct redis_link *link, uint64_t after_ms)
{
    wheel_set(&link->net->wheel, &link->timer, after_ms);
}

/* xorshift64* (Vigna, 2016). */
static uint32_t roll(struct redis_link *link, uint32_t limit)
{
    link->dice ^= link->dice >> 12;
    link->dice ^= link->dice << 25;
    link->dice ^= link->dice >> 27;
    return (uint32_t)((link->dice * UINT64_C(2685821657736338717)) >> 32) % limit;
}

/* Decorrelated jitter: between the least and three times the last one. */
static uint32_t next_pause(struct redis_link *link)
{
    uint32_t last = link->pause_ms > REDIS_RETRY_MS ? link->pause_ms : REDIS_RETRY_MS;
    uint32_t pause = REDIS_RETRY_MS + roll(link, last * 3 - REDIS_RETRY_MS + 1);

    link->pause_ms = pause < REDIS_RETRY_MAX_MS ? pause : REDIS_RETRY_MAX_MS;
    return link->pause_ms;
}

/* A reason is told once; while it stays the same, the attempts are of interest to nobody else. */
static void tell_down(struct redis_link *link, const char *why)
{
    enum log_level level = strcmp(link->told, why) == 0 ? LOG_DEBUG : LOG_WARN;
    char url[REDIS_URL_MAX];

    redis_url_write(&link->url, url);
    LOG_EVENT(level, "redis_down", LOG_TEXT("url", url),
              LOG_TEXT("link", link->is_subscriber ? "subscriber" : "commands"),
              LOG_TEXT("why", why));
    (void)snprintf(link->told, sizeof(link->told), "%s", why);
}

static void tell_up(struct redis_link *link)
{
    char url[REDIS_URL_MAX];

    redis_url_write(&link->url, url);
    LOG_EVENT(LOG_INFO, "redis_up", LOG_TEXT("url", url),
              LOG_TEXT("link", link->is_subscriber ? "subscriber" : "commands"),
              LOG_TEXT("run_id", link->run_id));
    link->told[0] = '\0';
}

/* An attempt has failed. */
static void wait_for_next(struct redis_link *link, const char *why)
{
    redis_pipe_close(&link->pipe);
    tell_down(link, why);
    link->state = WAITING;
    set_timer(link, next_pause(link));
}

/* From the address that is to be tried on. */
static void connect_next(struct redis_link *link)
{
    for (; link->address < link->resolver.count; link->address++) {
        int failure = redis_pipe_connect(&link->pipe, &link->resolver.addresses[link->address]);

        if (!failure) {
            link->state = CONNECTING;
            set_timer(link, REDIS_CONNECT_MS);
            return;
        }
        link->failure = link->failure ? link->failure : failure;
    }
    wait_for_next(link, strerror(link->failure));
}

static void fail_address(struct redis_link *link, int failure)
{
    redis_pipe_close(&link->pipe);
    link->failure = link->failure ? link->failure : failure;
    link->address++;
    connect_next(link);
}

static void begin_connecting(struct redis_link *link)
{
    link->address = 0;
    link->failure = 0;
    connect_next(link);
}

static void attempt(struct redis_link *link)
{
    link->state = RESOLVING;
    switch (redis_resolver_begin(&link->resolver, &link->url)) {
    case REDIS_RESOLVED:
        begin_connecting(link);
        return;
    case REDIS_IS_RESOLVING:
        return; /* for as long as name servers take */
    case REDIS_UNRESOLVED:
        wait_for_next(link, no_memory);
        return;
    }
    FF_UNREACHABLE();
}

static bool is_talking(const struct redis_link *link)
{
    return link->state == GREETING || link->state == UP;
}

/* The connection is lost. Where the link was up the rest follows when it is left. */
static void lose(struct redis_link *link, const char *why)
{
    if (link->state != UP) {
        wait_for_next(link, why);
        return;
    }
    (void)snprintf(link->why, sizeof(link->why), "%s", why);
    redis_pipe_close(&link->pipe);
    link->state = LOSING;
    set_timer(link, 0);
}

static void answer_all(struct redis_link *link)
{
    while (redis_unanswered_peek(&link->unanswered)) {
        struct redis_question question = redis_unanswered_pop(&link->unanswered);

        if (question.answer)
            question.answer(question.context, NULL, question.end <= link->pipe.sent);
    }
}

/* A link that does not stay up for a moment is like one that does not come up. */
static void settle(struct redis_link *link)
{
    bool was_steady = now_ms(link) - link->up_ms >= REDIS_STEADY_MS;

    link->state = WAITING;
    wheel_stop(&link->net->wheel, &link->timer);
    tell_down(link, link->why);
    answer_all(link);
    if (!link->is_freed)
        link->events->down(link->arg, link->why);
    if (link->is_freed)
        return;
    if (!was_steady) {
        set_timer(link, next_pause(link));
        return;
    }
    link->pause_ms = 0;
    attempt(link);
}

static void release(struct redis_link *link)
{
    redis_unanswered_deinit(&link->unanswered);
    redis_pipe_deinit(&link->pipe);
    ff_mem_free(link);
}

static void enter(struct redis_link *link)
{
    link->depth++;
}

static void leave(struct redis_link *link)
{
    if (link->depth == 1 && link->state == LOSING && !link->is_freed)
        settle(link);
    if (--link->depth == 0 && link->is_freed)
        release(link);
}

/* Appends a command, of ours or of the owner's. */
static bool ask(struct redis_link *link, uint32_t argc, const struct ff_slice *argv,
                redis_answer_fn *answer, void *context)
{
    struct redis_pipe *pipe = &link->pipe;
    size_t size = redis_command_size(argc, argv);
    size_t unsent = redis_pipe_unsent(pipe);

    if (link->state != UP || pipe->failure || size > link->out_max || unsent > link->out_max - size)
        return false;
    if (!link->is_subscriber && redis_unanswered_reserve(&link->unanswered))
        return false;
    if (redis_command_write(&pipe->out, argc, argv))
        return false;
    if (!link->is_subscriber) {
        redis_unanswered_append(&link->unanswered,
                                (struct redis_question){.answer = answer,
                                                        .context = context,
                                                        .end = pipe->sent + unsent + size,
                                                        .since_ms = now_ms(link)});
    } else if (!link->has_asked) {
        link->has_asked = true;
        link->asked_ms = now_ms(link);
    }
    return true;
}

static void go_up(struct redis_link *link)
{
    link->state = UP;
    link->up_ms = link->heard_ms = now_ms(link);
    link->has_asked = false;
    memcpy(link->run_id, link->greeting.run_id, sizeof(link->run_id));
    set_timer(link, REDIS_LOOK_MS);
    tell_up(link);
    link->events->up(link->arg);
}

static void take_greeting(struct redis_link *link, const struct redis_reply *reply)
{
    switch (redis_greeting_take(&link->greeting, reply)) {
    case REDIS_WELCOME_MORE:
        return;
    case REDIS_WELCOME_DONE:
        go_up(link);
        return;
    case REDIS_WELCOME_NOT:
        lose(link, link->greeting.why);
        return;
    }
    FF_UNREACHABLE();
}

static void take_reply(struct redis_link *link, const struct redis_reply *reply)
{
    if (link->state == GREETING) {
        take_greeting(link, reply);
    } else if (link->is_subscriber) {
        link->events->pushed(link->arg, reply);
    } else if (!redis_unanswered_peek(&link->unanswered)) {
        lose(link, "it answers what nobody has asked");
    } else {
        struct redis_question question = redis_unanswered_pop(&link->unanswered);

        if (question.answer)
            question.answer(question.context, reply, true);
    }
}

static void take_replies(struct redis_link *link)
{
    while (is_talking(link)) {
        struct redis_reply reply;
        enum redis_reading reading = redis_reader_next(&link->pipe.reader, &reply);

        if (reading == REDIS_READER_MORE)
            return;
        if (reading == REDIS_READER_BAD)
            lose(link, link->pipe.reader.why);
        else
            take_reply(link, &reply);
    }
}

/* A read that is not full has most likely emptied the socket: the loop says if it has not. */
static void read_socket(struct redis_link *link)
{
    size_t left = REDIS_READ_TURN;
    long got = REDIS_READ_PIECE;

    while (is_talking(link) && got == REDIS_READ_PIECE && left > 0) {
        got = redis_pipe_read(&link->pipe);
        if (got > 0) {
            left -= (size_t)got;
            link->heard_ms = now_ms(link);
            link->has_asked = false;
            take_replies(link);
        } else if (got == 0) {
            lose(link, "it has closed the connection");
        } else if (got != -EAGAIN) {
            lose(link, strerror((int)-got));
        }
    }
    if (is_talking(link) && link->pipe.failure)
        lose(link, strerror(link->pipe.failure));
}

static void finish_connecting(struct redis_link *link)
{
    int failure = redis_pipe_connected(&link->pipe);

    if (failure) {
        fail_address(link, failure);
        return;
    }
    link->state = GREETING;
    set_timer(link, REDIS_CONNECT_MS);
    if (redis_greeting_write(&link->greeting, &link->url, &link->pipe.out))
        lose(link, no_memory);
    else if (!redis_pipe_flush(&link->pipe))
        read_socket(link); /* it may have said why it does not want us */
}

static void on_io(struct ev_loop *ev, ev_io *watcher, int events)
{
    struct redis_link *link = FF_CONTAINER(watcher, struct redis_link, pipe.io);
    bool is_failing = false;

    (void)ev;
    enter(link);
    if (events & EV_ERROR) {
        lose(link, "the kernel has no memory to watch it");
    } else if (link->state == CONNECTING) {
        finish_connecting(link);
    } else {
        if (events & EV_WRITE)
            is_failing = !redis_pipe_flush(&link->pipe);
        if ((events & EV_READ) || is_failing)
            read_socket(link);
    }
    leave(link);
}

static void ping(struct redis_link *link)
{
    struct ff_slice word = FF_SLICE("PING");

    if (ask(link, 1, &word, NULL, NULL)) /* else it is tried again in a moment */
        redis_link_flush(link);
}

/* Has Redis been silent for too long, or for so long that it should be asked? */
static void look(struct redis_link *link)
{
    const struct redis_question *oldest = redis_unanswered_peek(&link->unanswered);
    bool has_asked = link->is_subscriber ? link->has_asked : oldest != NULL;
    uint64_t asked_ms = oldest ? oldest->since_ms : link->asked_ms;

    if (link->pipe.failure) {
        read_socket(link);
        return;
    }
    if (has_asked && now_ms(link) - asked_ms >= REDIS_DEADLINE_MS) {
        lose(link, "no answer for 2 s");
        return;
    }
    set_timer(link, REDIS_LOOK_MS); /* ping() may set it to now */
    redis_unanswered_trim(&link->unanswered);
    redis_pipe_trim(&link->pipe);
    if (!has_asked && now_ms(link) - link->heard_ms >= REDIS_QUIET_MS)
        ping(link);
}

static void on_timer(struct wheel_timer *timer)
{
    struct redis_link *link = FF_CONTAINER(timer, struct redis_link, timer);

    enter(link);
    switch (link->state) {
    case WAITING:
        attempt(link);
        break;
    case CONNECTING:
        fail_address(link, ETIMEDOUT);
        break;
    case GREETING:
        lose(link, "it has not greeted us within 1 s");
        break;
    case UP:
        look(link);
        break;
    case RESOLVING:
    case LOSING:
        break; /* leave() settles it */
    }
    leave(link);
}

static void on_resolved(void *arg, const char *why)
{
    struct redis_link *link = arg;

    enter(link);
    if (why)
        wait_for_next(link, why);
    else
        begin_connecting(link);
    leave(link);
}

_Static_assert(REDIS_DEADLINE_MS == 2000 && REDIS_CONNECT_MS == 1000, "texts above name them");

struct redis_link *redis_link_new(const struct redis_link_env *env)
{
    struct redis_link *link = ff_mem_zalloc(sizeof(*link));

    if (!link)
        return NULL;
    FF_CHECK(!env->is_subscriber || env->events->pushed);
    link->net = env->net;
    link->events = env->events;
    link->arg = env->arg;
    link->url = *env->url;
    link->is_subscriber = env->is_subscriber;
    link->out_max = env->out_max ? env->out_max : REDIS_OUT_MAX;
    link->dice = env->seed ? env->seed : 1; /* 0 stays 0 */
    redis_pipe_init(&link->pipe, env->net, on_io);
    redis_resolver_init(&link->resolver, env->box, on_resolved, link);
    redis_unanswered_init(&link->unanswered,
                          env->unanswered_max ? env->unanswered_max : REDIS_UNANSWERED_MAX);
    wheel_timer_init(&link->timer, on_timer);
    attempt(link);
    return link;
}

void redis_link_free(struct redis_link *link)
{
    if (!link)
        return;
    FF_CHECK(!link->is_freed);
    enter(link);
    link->is_freed = true;
    link->state = WAITING;
    wheel_stop(&link->net->wheel, &link->timer);
    redis_resolver_deinit(&link->resolver);
    redis_pipe_close(&link->pipe);
    answer_all(link);
    leave(link);
}

bool redis_link_is_up(const struct redis_link *link)
{
    return link->state == UP && !link->pipe.failure;
}

bool redis_link_command(struct redis_link *link, uint32_t argc, const struct ff_slice *argv,
                        redis_answer_fn *answer, void *context)
{
    FF_CHECK(argc > 0 && link->is_subscriber == !answer);
    return ask(link, argc, argv, answer, context);
}

void redis_link_flush(struct redis_link *link)
{
    if (link->state == UP && !redis_pipe_flush(&link->pipe))
        set_timer(link, 0); /* look() tells it */
}

void redis_link_drop(struct redis_link *link, const char *why)
{
    if (link->state == UP)
        lose(link, why);
}

const char *redis_link_run_id(const struct redis_link *link)
{
    return link->run_id;
}
