/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle.c - what a connection with one subscription costs when nothing happens.
 *
 * A process can hold only so many descriptors: the connections are spread over
 * several, each from an address of its own, and this one measures.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "bench/load/crowd.h"
#include "bench/load/report.h"
#include "bench/load/scenario.h"

enum { EACH = 18000, PROCESSES_MAX = 64 };

struct idlers {
    struct hub hub;
    struct crowd crowd;
};

static void on_event(void *arg, struct peer *peer, const struct event *event)
{
    (void)arg;
    if (event->kind == EVENT_ANSWER)
        crowd_answered(peer);
}

/* A child: opens its share, says so, and waits for the end of `wake`. */
__attribute__((noreturn)) static void hold(const struct options *options, uint32_t index,
                                           uint32_t count, int ready, int wake)
{
    static const struct hub_ops ops = {.opened = crowd_opened, .event = on_event};
    struct idlers idlers;
    char octet = 0;

    hub_init(&idlers.hub, options, &ops, &idlers);
    idlers.hub.source = index + 1;
    crowd_init(&idlers.crowd, count, false);
    for (uint32_t i = 0; i < count; i++)
        idlers.crowd.members[i].topic = i % (uint32_t)options->topics;
    crowd_open(&idlers.hub, &idlers.crowd, options);
    if (write(ready, &octet, 1) != 1)
        _exit(1);
    (void)close(ready); /* who ends early is missed when the others have said so */
    while (read(wake, &octet, 1) > 0)
        ;
    crowd_deinit(&idlers.hub, &idlers.crowd);
    hub_deinit(&idlers.hub);
    _exit(0);
}

static void tell(const struct options *options, const struct reading *from,
                 const struct reading *to)
{
    double grown = ((double)to->server_kib - (double)from->server_kib) * 1024;
    struct report report;

    report_begin(&report, options);
    report_number(&report, "connections", (double)options->connections, "");
    report_number(&report, "bytes_each", grown / (double)options->connections,
                  "octets of the server's resident memory for each connection");
    report_cost(&report, from, to, options->connections);
    report_end(&report);
}

int scenario_idle(const struct options *options)
{
    uint64_t least = (options->connections + EACH - 1) / EACH;
    uint64_t processes = options->processes ? options->processes : least;
    struct reading from;
    struct reading to;
    int ready[2];
    int wake[2];
    char octet;

    if (processes < 1 || processes > PROCESSES_MAX)
        die("--processes is from 1 to %d", PROCESSES_MAX);
    if (!options->pid_count)
        die("idle measures the server's memory: --pid $(pidof fanfared)");
    if (pipe(ready) || pipe(wake))
        die("no pipes");
    meter_read(&from, options);
    for (uint32_t i = 0; i < processes; i++) {
        uint64_t count = options->connections / processes + (i < options->connections % processes);
        pid_t pid = fork();

        if (pid < 0)
            die("no further process");
        if (pid == 0) {
            (void)close(wake[1]);
            hold(options, i, (uint32_t)count, ready[1], wake[0]);
        }
    }
    (void)close(ready[1]);
    for (uint64_t i = 0; i < processes; i++)
        if (read(ready[0], &octet, 1) != 1)
            die("a process of idle connections ended early");
    (void)usleep((useconds_t)(options->warm_up * 1e6)); /* what was needed for handshakes goes */
    meter_read(&to, options);
    tell(options, &from, &to);
    (void)close(wake[1]);
    while (wait(NULL) > 0)
        ;
    return 0;
}
