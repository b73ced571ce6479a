/* SPDX-License-Identifier: Apache-2.0 */
/*
 * return.c - a crowd that comes back at once and asks for what was said meanwhile,
 * beside others whose messages must not wait for it.
 *
 * The crowd is a process of its own, so that what it receives holds up no clock
 * here. Its connections are open already: handshakes are another scenario.
 */
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/load/crowd.h"
#include "bench/load/histogram.h"
#include "bench/load/payload.h"
#include "bench/load/report.h"
#include "bench/load/scenario.h"
#include "protocol/base/mem.h"

enum { PAST = 100, BYSTANDERS = 10, NICENESS = 15 };

/* The crowd's process. */
struct returning {
    struct hub hub;
    struct crowd crowd;
    uint32_t *came; /* messages of the past, of each */
    uint32_t done;  /* who has all of them */
};

static void on_return(void *arg, struct peer *peer, const struct event *event)
{
    struct returning *all = arg;
    uint32_t i = (uint32_t)(member_of(peer) - all->crowd.members);

    if (event->kind == EVENT_ANSWER)
        crowd_answered(peer);
    else if (event->kind == EVENT_ERROR || event->kind == EVENT_SKIPPED)
        die("the past was not sent as it was: %.*s", (int)event->payload.len, event->payload.at);
    if (event->kind == EVENT_DELIVERY && ++all->came[i] == PAST)
        all->done++;
}

static void tell(int fd)
{
    char octet = 0;

    if (write(fd, &octet, 1) != 1)
        _exit(1);
}

__attribute__((noreturn)) static void come_back(const struct options *options, int ready, int go)
{
    static const struct hub_ops ops = {.opened = crowd_opened, .event = on_return};
    static struct returning all;
    struct options quiet = *options;
    char octet;

    quiet.is_quiet = true;
    (void)!nice(NICENESS); /* on other machines it would take nothing from who measures here */
    hub_init(&all.hub, options, &ops, &all);
    all.hub.source = 2;
    crowd_init(&all.crowd, (uint32_t)options->connections, true); /* it listens to nothing yet */
    all.came = ff_mem_zalloc(options->connections * sizeof(*all.came));
    if (!all.came)
        die("out of memory");
    crowd_open(&all.hub, &all.crowd, &quiet);
    tell(ready);
    if (read(go, &octet, 1) != 1)
        _exit(1);
    for (uint32_t i = 0; i < all.crowd.count; i++) {
        hub_recover(&all.hub, &all.crowd.members[i].peer, FF_SLICE("bench/0"), PAST);
        hub_flush(&all.hub, &all.crowd.members[i].peer);
    }
    while (all.done < all.crowd.count)
        hub_poll(&all.hub, POLL_NS);
    tell(ready);
    _exit(0);
}

/* Those beside it. */
struct beside {
    struct hub hub;
    struct crowd listeners;
    struct crowd publisher;
    struct histogram latency;
    uint64_t next_ns; /* when the next message is due */
    char *room;
};

static void on_event(void *arg, struct peer *peer, const struct event *event)
{
    struct beside *beside = arg;
    struct stamp stamp;

    if (event->kind == EVENT_ANSWER)
        crowd_answered(peer);
    if (event->kind == EVENT_DELIVERY && payload_read(event->payload, event->payload.len, &stamp))
        histogram_add(&beside->latency, beside->hub.now_ns - stamp.time_ns);
}

static void say(struct beside *beside, const struct options *options, const char *topic)
{
    struct stamp stamp = {.time_ns = clock_ns()};
    struct peer *peer = &beside->publisher.members[0].peer;

    hub_publish(&beside->hub, peer, ff_slice_of(topic),
                payload_write(beside->room, options->size, &stamp));
    hub_flush(&beside->hub, peer);
}

static void open_all(struct beside *beside, const struct options *options)
{
    crowd_init(&beside->listeners, BYSTANDERS, false);
    for (uint32_t i = 0; i < BYSTANDERS; i++)
        beside->listeners.members[i].topic = 1;
    crowd_init(&beside->publisher, 1, true);
    crowd_open(&beside->hub, &beside->listeners, options);
    crowd_open(&beside->hub, &beside->publisher, options);
    for (uint32_t i = 0; i < PAST; i++)
        say(beside, options, "bench/0");
}

/* At the rate, until the time is over or there is something to read from `done`. */
static void talk(struct beside *beside, const struct options *options, uint64_t end_ns, int done)
{
    struct pollfd there = {.fd = done, .events = POLLIN};

    beside->latency = (struct histogram){.count = 0};
    beside->next_ns = clock_ns();
    while (clock_ns() < end_ns && (done < 0 || poll(&there, 1, 0) == 0)) {
        uint64_t now = clock_ns();

        if (now >= beside->next_ns) {
            say(beside, options, "bench/1");
            beside->next_ns += (uint64_t)(1e9 / options->rate);
            continue;
        }
        hub_poll(&beside->hub, beside->next_ns - now);
    }
}

static void wait_for(int fd, const char *what)
{
    char octet;

    if (read(fd, &octet, 1) != 1)
        die("%s", what);
}

static void measure(struct beside *beside, const struct options *options, int ready, int go)
{
    struct histogram *latency = &beside->latency;
    struct reading from;
    struct reading to;
    struct report report;
    double quiet;

    wait_for(ready, "the crowd did not come");
    talk(beside, options, clock_ns() + (uint64_t)(options->seconds * 1e9), -1);
    quiet = (double)histogram_at(latency, 0.99) / 1e3;
    meter_read(&from, options);
    tell(go);
    talk(beside, options, UINT64_MAX, ready);
    meter_read(&to, options);
    wait_for(ready, "the crowd was not sent what it asked for");
    report_begin(&report, options);
    report_number(&report, "returned", (double)options->connections, "connections that came back");
    report_number(&report, "took_ms", (double)(to.at_ns - from.at_ns) / 1e6,
                  "ms until each had its 100 messages");
    report_number(&report, "quiet_p99_us", quiet, "us, beside them, before");
    report_number(&report, "p99_us", (double)histogram_at(latency, 0.99) / 1e3, "us, meanwhile");
    report_number(&report, "max_us", (double)latency->max / 1e3, "us, meanwhile");
    report_cost(&report, &from, &to, options->connections * PAST);
    report_end(&report);
}

int scenario_return(const struct options *options)
{
    static const struct hub_ops ops = {.opened = crowd_opened, .event = on_event};
    static struct beside beside;
    int ready[2];
    int go[2];
    pid_t pid;

    if (pipe(ready) || pipe(go))
        die("no pipes");
    pid = fork();
    if (pid < 0)
        die("no further process");
    if (pid == 0)
        come_back(options, ready[1], go[0]);
    (void)close(ready[1]);
    hub_init(&beside.hub, options, &ops, &beside);
    beside.room = ff_mem_alloc(options->size);
    if (!beside.room)
        die("out of memory");
    open_all(&beside, options);
    measure(&beside, options, ready[0], go[1]);
    (void)waitpid(pid, NULL, 0);
    crowd_deinit(&beside.hub, &beside.listeners);
    crowd_deinit(&beside.hub, &beside.publisher);
    hub_deinit(&beside.hub);
    ff_mem_free(beside.room);
    return 0;
}
