/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "protocol/base/reserve.h"

uint64_t loop_clock_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t loop_wall_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What passed on the loop's own clock since it was last looked at. */
static uint64_t count_us(const struct loop *loop, uint64_t clock_us)
{
    uint64_t passed_us = clock_us > loop->seen_us ? clock_us - loop->seen_us : 0;
    uint64_t most_us = (loop->wait_ms + LOOP_LATE_MS) * 1000;

    return passed_us < most_us ? passed_us : most_us;
}

static void look_at_clock(struct loop *loop)
{
    uint64_t clock_us = loop_clock_us();
    uint64_t more_us = loop->rest_us + count_us(loop, clock_us);

    loop->now_ms += more_us / 1000;
    loop->rest_us = (uint32_t)(more_us % 1000);
    loop->seen_us = clock_us;
    loop->wait_ms = 0;
}

uint64_t loop_present_ms(const struct loop *loop)
{
    return loop->now_ms + (loop->rest_us + count_us(loop, loop_clock_us())) / 1000;
}

static void on_check(struct ev_loop *ev, ev_check *watcher, int events)
{
    struct loop *loop = watcher->data;

    (void)ev;
    (void)events;
    atomic_store(&loop->is_asleep, false);
    atomic_store(&loop->is_woken, false);
    look_at_clock(loop);
    loop->begin(loop->arg);
}

static void on_wake(struct ev_loop *ev, ev_io *watcher, int events)
{
    uint64_t count;
    ssize_t got;

    (void)ev;
    (void)events; /* EV_ERROR: the kernel could not watch it; on_prepare() tries again */
    got = read(watcher->fd, &count, sizeof(count));
    (void)got;
}

/* How long it may wait, now that it goes to sleep: not at all if it was woken meanwhile. */
static uint64_t go_to_sleep(struct loop *loop, uint64_t wait_ms)
{
    enum { UNWATCHED_MS = 20 };

    if (!ev_is_active(&loop->waker)) {
        ev_io_start(loop->ev, &loop->waker);
        wait_ms = wait_ms < UNWATCHED_MS ? wait_ms : UNWATCHED_MS;
    }
    atomic_store(&loop->is_asleep, true);
    return atomic_load(&loop->is_woken) ? 0 : wait_ms;
}

/* libev calls this before it waits: the callbacks of this turn have all run. */
static void on_prepare(struct ev_loop *ev, ev_prepare *watcher, int events)
{
    struct loop *loop = watcher->data;
    uint64_t wait_ms = go_to_sleep(loop, loop->turn(loop->arg));

    (void)events;
    loop->wait_ms = wait_ms;
    if (wait_ms == 0) {
        ev_idle_start(ev, &loop->idle);
        return;
    }
    ev_idle_stop(ev, &loop->idle);
    ev_now_update(ev); /* the turn took a while; and a clock that went back meanwhile is seen */
    loop->timer.repeat = (double)wait_ms / 1000.0;
    ev_timer_again(ev, &loop->timer);
}

static void on_idle(struct ev_loop *ev, ev_idle *watcher, int events)
{
    (void)ev;
    (void)watcher;
    (void)events;
}

static void on_timer(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev;
    (void)watcher;
    (void)events;
}

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int events)
{
    struct loop *loop = watcher->data;

    (void)ev;
    (void)events;
    loop->on_signal(loop->signal_arg, watcher->signum);
}

/* What libev has no answer to. It would print a line by stdio, and wait for who reads it. */
static void on_system_error(const char *what)
{
    ff_check_failed("libev", errno, what);
}

static void *allocate(void *block, long size)
{
    void *moved = ff_reserve_realloc(block, (size_t)size);

    if (!moved && size)
        on_system_error("no memory, and none in reserve");
    return moved;
}

enum ff_err loop_init(struct loop *loop, loop_begin_fn *begin, loop_turn_fn *turn, void *arg)
{
    *loop = (struct loop){.begin = begin, .turn = turn, .arg = arg, .seen_us = loop_clock_us()};
    loop->now_ms = loop->seen_us / 1000;
    ev_set_allocator(allocate); /* libev does not know what to do when it is told no */
    ev_set_syserr_cb(on_system_error);
    loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!loop->ev)
        return FF_ENOMEM;
    ev_io_init(&loop->waker, on_wake, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), EV_READ);
    if (loop->waker.fd < 0) {
        loop_deinit(loop);
        return FF_ESYS;
    }
    ev_prepare_init(&loop->prepare, on_prepare);
    ev_check_init(&loop->check, on_check);
    ev_set_priority(&loop->check, EV_MAXPRI); /* before all that it is the beginning of */
    ev_idle_init(&loop->idle, on_idle);
    ev_init(&loop->timer, on_timer);
    loop->prepare.data = loop->check.data = loop;
    ev_prepare_start(loop->ev, &loop->prepare);
    ev_check_start(loop->ev, &loop->check);
    ev_io_start(loop->ev, &loop->waker);
    return FF_OK;
}

void loop_deinit(struct loop *loop)
{
    if (!loop->ev)
        return;
    if (loop->waker.fd >= 0)
        (void)close(loop->waker.fd);
    ev_loop_destroy(loop->ev);
    loop->ev = NULL;
}

void loop_run(struct loop *loop)
{
    ev_run(loop->ev, 0);
}

void loop_wake(struct loop *loop)
{
    uint64_t one = 1;

    /* Either it is seen to be asleep, or it sees that it was woken before it sleeps. */
    if (atomic_exchange(&loop->is_woken, true) || !atomic_load(&loop->is_asleep))
        return;
    while (write(loop->waker.fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

void loop_stop(struct loop *loop)
{
    ev_break(loop->ev, EVBREAK_ALL);
}

void loop_on_signals(struct loop *loop, const int *numbers, int count, loop_signal_fn *fn,
                     void *arg)
{
    loop->on_signal = fn;
    loop->signal_arg = arg;
    for (int i = 0; i < count && i < LOOP_SIGNALS; i++) {
        ev_signal *watcher = &loop->signals[loop->signal_count++];

        ev_signal_init(watcher, on_signal, numbers[i]);
        watcher->data = loop;
        ev_signal_start(loop->ev, watcher);
    }
}
