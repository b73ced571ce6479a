/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence.c - a room that fills and empties, while all who are in it hear who comes
 * and goes. Of a server that tells everybody of each of them one by one the cost of a
 * member grows with the room.
 */
#include "bench/load/crowd.h"
#include "bench/load/report.h"
#include "bench/load/scenario.h"

static void on_opened(struct hub *hub, struct peer *peer)
{
    hub_attend(hub, peer, FF_SLICE("bench/0"));
    hub_ask(hub, peer);
}

static void on_event(void *arg, struct peer *peer, const struct event *event)
{
    (void)arg;
    if (event->kind == EVENT_ERROR)
        die("refused: %.*s", (int)event->payload.len, event->payload.at);
    if (event->kind == EVENT_ANSWER)
        crowd_answered(peer);
}

int scenario_presence(const struct options *options)
{
    static const struct hub_ops ops = {.opened = on_opened, .event = on_event};
    uint32_t count = (uint32_t)options->connections;
    uint64_t end_ns;
    struct hub hub;
    struct crowd crowd;
    struct reading from;
    struct reading to;
    struct report report;

    hub_init(&hub, options, &ops, NULL);
    crowd_init(&crowd, count, false);
    meter_read(&from, options);
    crowd_open(&hub, &crowd, options);
    end_ns = clock_ns() + (uint64_t)(options->seconds * 1e9);
    for (uint64_t now = clock_ns(); now < end_ns; now = clock_ns()) /* what is told late */
        hub_poll(&hub, end_ns - now);
    meter_read(&to, options);
    report_begin(&report, options);
    report_number(&report, "members", (double)count, "who came, and hear of each other");
    report_cost(&report, &from, &to, count);
    report_end(&report);
    crowd_deinit(&hub, &crowd);
    hub_deinit(&hub);
    return 0;
}
