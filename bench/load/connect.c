/* SPDX-License-Identifier: Apache-2.0 */
/* connect.c - connections that come, subscribe and go, `concurrency` at a time. */
#include "bench/load/crowd.h"
#include "bench/load/histogram.h"
#include "bench/load/report.h"
#include "bench/load/scenario.h"
#include "protocol/base/mem.h"

struct visitor {
    struct peer peer;
    uint64_t began_ns;
    bool is_done;
};

struct arrivals {
    struct hub hub;
    struct histogram latency;
    uint64_t done;
};

static struct visitor *visitor_of(struct peer *peer)
{
    return FF_CONTAINER(peer, struct visitor, peer);
}

static void on_opened(struct hub *hub, struct peer *peer)
{
    hub_subscribe(hub, peer, FF_SLICE("bench/0"));
    hub_ask(hub, peer);
}

static void on_event(void *arg, struct peer *peer, const struct event *event)
{
    struct arrivals *arrivals = arg;

    if (event->kind != EVENT_ANSWER)
        return;
    arrivals->done++;
    histogram_add(&arrivals->latency, clock_ns() - visitor_of(peer)->began_ns);
    visitor_of(peer)->is_done = true; /* closed when the hub is through with it */
}

static void begin(struct arrivals *arrivals, struct visitor *visitor)
{
    *visitor = (struct visitor){.began_ns = clock_ns()};
    hub_connect(&arrivals->hub, &visitor->peer, FF_SLICE("bench/0"));
}

/* The next ones come from another address: ports of closed connections rest for a minute. */
static void run_until(struct arrivals *arrivals, struct visitor *visitors,
                      const struct options *options, uint64_t end_ns)
{
    while (clock_ns() < end_ns) {
        hub_poll(&arrivals->hub, POLL_NS);
        for (uint64_t i = 0; i < options->concurrency; i++) {
            if (!visitors[i].is_done)
                continue;
            hub_close(&arrivals->hub, &visitors[i].peer);
            arrivals->hub.source = (uint32_t)(arrivals->done / 4096 % 200);
            begin(arrivals, &visitors[i]);
        }
    }
}

int scenario_connect(const struct options *options)
{
    static const struct hub_ops ops = {.opened = on_opened, .event = on_event};
    struct arrivals *arrivals = ff_mem_zalloc(sizeof(*arrivals));
    struct visitor *visitors = ff_mem_zalloc(options->concurrency * sizeof(*visitors));
    struct reading from;
    struct reading to;
    struct report report;
    uint64_t done;

    if (!arrivals || !visitors)
        die("out of memory");
    hub_init(&arrivals->hub, options, &ops, arrivals);
    for (uint64_t i = 0; i < options->concurrency; i++)
        begin(arrivals, &visitors[i]);
    run_until(arrivals, visitors, options, clock_ns() + (uint64_t)(options->warm_up * 1e9));
    meter_read(&from, options);
    arrivals->latency = (struct histogram){.count = 0};
    done = arrivals->done;
    run_until(arrivals, visitors, options, from.at_ns + (uint64_t)(options->seconds * 1e9));
    meter_read(&to, options);
    done = arrivals->done - done;
    report_begin(&report, options);
    report_number(&report, "connections_s", (double)done * 1e9 / (double)(to.at_ns - from.at_ns),
                  "connections a second, each with a subscription");
    report_number(&report, "p50_us", (double)histogram_at(&arrivals->latency, 0.5) / 1e3, "us");
    report_number(&report, "p99_us", (double)histogram_at(&arrivals->latency, 0.99) / 1e3, "us");
    report_cost(&report, &from, &to, done);
    report_end(&report);
    for (uint64_t i = 0; i < options->concurrency; i++)
        hub_close(&arrivals->hub, &visitors[i].peer);
    hub_deinit(&arrivals->hub);
    ff_mem_free(visitors);
    ff_mem_free(arrivals);
    return 0;
}
