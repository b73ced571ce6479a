/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout.c - messages to many: fanout, rooms, rate, slow, neighbours.
 *
 * A round is one message to each topic. Closed loop: a publisher has at most
 * `window` rounds in flight, sent at once when none is (or one by one, sliding).
 * Open loop (rate): each message has a time at which it should be sent, and its
 * latency counts from that time, whatever held it up: else a server that stands
 * still would look fast (coordinated omission).
 */
#include "bench/load/crowd.h"
#include "bench/load/histogram.h"
#include "bench/load/neighbours.h"
#include "bench/load/payload.h"
#include "bench/load/report.h"
#include "bench/load/scenario.h"
#include "protocol/base/mem.h"

enum { SILENCE_S = 3 };

struct publisher {
    uint32_t number;   /* of the next round */
    int64_t in_flight; /* deliveries to healthy subscribers */
};

struct fanout {
    const struct options *options;
    struct hub hub;
    struct crowd listeners;
    struct crowd stalled;
    struct neighbours neighbours;
    struct crowd connections; /* of publishers, `each` of them has: one, or one for each topic */
    uint32_t each;
    struct publisher *publishers;
    char *room;
    struct histogram latency;
    uint64_t messages;
    uint64_t deliveries;
    uint64_t heard_ns; /* the last delivery */
    uint64_t lost;
    uint64_t repeated; /* doubled or in the wrong order */
    uint64_t altered;
    uint64_t skipped; /* the server said so */
    uint64_t start_ns;
    bool is_open_loop;
};

static void on_delivery(struct fanout *f, struct member *member, const struct event *event)
{
    struct stamp stamp;
    char room[32];
    uint32_t *next;

    if (!payload_read(event->payload, f->options->size, &stamp) ||
        stamp.publisher >= f->options->publishers ||
        (event->topic.at && !ff_slice_is_equal(event->topic, topic_of(member->topic, room)))) {
        f->altered++;
        return;
    }
    next = &member->next[stamp.publisher];
    if (stamp.number < *next) {
        f->repeated++;
        return;
    }
    f->lost += stamp.number - *next;
    f->publishers[stamp.publisher].in_flight -= (int64_t)(stamp.number - *next) + 1;
    *next = stamp.number + 1;
    f->deliveries++;
    f->heard_ns = f->hub.now_ns;
    histogram_add(&f->latency, f->hub.now_ns > stamp.time_ns ? f->hub.now_ns - stamp.time_ns : 0);
}

static void on_event(void *arg, struct peer *peer, const struct event *event)
{
    struct fanout *f = arg;

    if (event->kind == EVENT_ANSWER)
        crowd_answered(peer);
    else if (event->kind == EVENT_SKIPPED)
        f->skipped += event->skipped;
    else if (event->kind == EVENT_DELIVERY && peer->owner == &f->listeners)
        on_delivery(f, member_of(peer), event);
}

static void on_gone(void *arg, struct peer *peer, const char *why)
{
    struct fanout *f = arg;

    if (peer->owner != &f->stalled && f->start_ns)
        die("a connection was lost: %s", why);
    crowd_lost(peer);
}

static struct peer *connection_for(struct fanout *f, uint32_t publisher, uint32_t topic)
{
    return &f->connections.members[publisher * f->each + topic % f->each].peer;
}

static void send_message(struct fanout *f, uint32_t publisher, uint32_t topic, uint64_t time_ns)
{
    struct publisher *p = &f->publishers[publisher];
    struct stamp stamp = {p->number, publisher, time_ns};
    char room[32];

    hub_publish(&f->hub, connection_for(f, publisher, topic), topic_of(topic, room),
                payload_write(f->room, f->options->size, &stamp));
    f->messages++;
    p->in_flight += (int64_t)f->options->subscribers;
}

static void flush_publisher(struct fanout *f, uint32_t publisher)
{
    for (uint32_t i = 0; i < f->each; i++)
        hub_flush(&f->hub, connection_for(f, publisher, i));
}

static void refill(struct fanout *f, uint32_t publisher)
{
    struct publisher *p = &f->publishers[publisher];
    int64_t round = (int64_t)(f->options->subscribers * f->options->topics);
    int64_t most = (int64_t)f->options->window * round;

    if (p->in_flight > (f->options->is_sliding ? most - round : 0))
        return;
    while (p->in_flight + round <= most) {
        uint64_t now = clock_ns();

        for (uint32_t t = 0; t < f->options->topics; t++)
            send_message(f, publisher, t, now);
        p->number++;
    }
    flush_publisher(f, publisher);
}

/* Sends what is due; returns how long nothing is. */
static uint64_t send_due(struct fanout *f)
{
    double interval = 1e9 / f->options->rate;
    uint64_t due = f->start_ns + (uint64_t)((double)f->messages * interval);
    uint64_t now = clock_ns();

    while (due <= now) {
        uint32_t publisher = (uint32_t)(f->messages / f->options->topics % f->options->publishers);
        uint32_t topic = (uint32_t)(f->messages % f->options->topics);

        send_message(f, publisher, topic, due);
        flush_publisher(f, publisher);
        f->publishers[publisher].number += topic + 1 == f->options->topics;
        due = f->start_ns + (uint64_t)((double)f->messages * interval);
    }
    return due - now;
}

static int64_t in_flight(const struct fanout *f)
{
    int64_t sum = 0;

    for (uint64_t i = 0; i < f->options->publishers; i++)
        sum += f->publishers[i].in_flight;
    return sum;
}

/* What did not come by now does not come. */
static bool is_silent(const struct fanout *f)
{
    return in_flight(f) > 0 && clock_ns() - f->heard_ns > SILENCE_S * SECOND_NS;
}

static void run_until(struct fanout *f, uint64_t end_ns, const char *phase)
{
    uint64_t shown_ns = clock_ns();
    uint64_t shown = f->deliveries;

    for (uint64_t now = clock_ns(); now < end_ns; now = clock_ns()) {
        uint64_t wait = end_ns - now;

        if (f->is_open_loop) {
            uint64_t due = send_due(f);

            wait = due < wait ? due : wait;
        } else {
            for (uint32_t i = 0; i < f->options->publishers; i++)
                refill(f, i);
        }
        neighbours_send(&f->neighbours, &f->hub);
        hub_poll(&f->hub, wait);
        if (now - shown_ns >= SECOND_NS) {
            progress(f->options, "%s: %.0f deliveries/s", phase,
                     (double)(f->deliveries - shown) * 1e9 / (double)(now - shown_ns));
            shown_ns = now;
            shown = f->deliveries;
        }
        if (is_silent(f))
            return;
    }
}

static void drain(struct fanout *f)
{
    f->heard_ns = clock_ns();
    while (in_flight(f) > 0 && !is_silent(f))
        hub_poll(&f->hub, 10 * MS_NS);
    if (in_flight(f) > 0)
        f->lost += (uint64_t)in_flight(f);
}

static void open_all(struct fanout *f)
{
    const struct options *o = f->options;

    f->each = f->hub.dialect->publish_path ? (uint32_t)o->topics : 1;
    crowd_init(&f->listeners, (uint32_t)(o->subscribers * o->topics), false);
    crowd_init(&f->stalled, (uint32_t)o->stalled, false);
    crowd_init(&f->connections, (uint32_t)o->publishers * f->each, true);
    f->publishers = ff_mem_zalloc(o->publishers * sizeof(struct publisher));
    f->room = ff_mem_alloc(o->size);
    if (!f->publishers || !f->room)
        die("out of memory");
    for (uint32_t i = 0; i < f->listeners.count; i++) {
        struct member *member = &f->listeners.members[i];

        member->topic = i / (uint32_t)o->subscribers;
        member->next = ff_mem_zalloc(o->publishers * sizeof(uint32_t));
        if (!member->next)
            die("out of memory");
    }
    for (uint32_t i = 0; i < f->connections.count; i++)
        f->connections.members[i].topic = i % f->each;
    crowd_open(&f->hub, &f->listeners, o);
    crowd_open(&f->hub, &f->stalled, o);
    for (uint32_t i = 0; i < f->stalled.count; i++)
        hub_stall(&f->hub, &f->stalled.members[i].peer, true);
    crowd_open(&f->hub, &f->connections, o);
    neighbours_init(&f->neighbours, &f->hub, o);
}

static void report_latency(struct report *report, const struct histogram *h)
{
    report_number(report, "p50_us", (double)histogram_at(h, 0.5) / 1e3, "us");
    report_number(report, "p99_us", (double)histogram_at(h, 0.99) / 1e3, "us");
    report_number(report, "p999_us", (double)histogram_at(h, 0.999) / 1e3, "us");
    report_number(report, "max_us", (double)h->max / 1e3, "us");
}

static int tell(struct fanout *f, const struct reading *from, const struct reading *to,
                uint64_t messages, uint64_t deliveries)
{
    double seconds = (double)(to->at_ns - from->at_ns) / 1e9;
    struct report report;
    uint64_t wrong = f->lost + f->repeated + f->altered;

    report_begin(&report, f->options);
    report_number(&report, "subscribers", (double)f->listeners.count, "");
    report_number(&report, "window", (double)f->options->window, "messages");
    report_number(&report, "size", (double)f->options->size, "octets");
    report_number(&report, "messages_s", (double)messages / seconds, "messages a second");
    report_number(&report, "deliveries_s", (double)deliveries / seconds, "deliveries a second");
    report_number(&report, "deliveries_recv",
                  f->hub.receives ? (double)deliveries / (double)f->hub.receives : 0,
                  "deliveries a recv");
    report_latency(&report, &f->latency);
    report_cost(&report, from, to, deliveries);
    report_number(&report, "lost", (double)f->lost, "");
    report_number(&report, "repeated", (double)f->repeated, "doubled or out of order");
    report_number(&report, "altered", (double)f->altered, "");
    report_number(&report, "skipped", (double)f->skipped, "left out, and the server said so");
    report_number(&report, "stalled_gone", (double)f->stalled.gone, "stalled ones closed by it");
    report_text(&report, "verdict", wrong ? "NOT ALL ARRIVED AS IT WAS SENT" : "all arrived");
    report_end(&report);
    return wrong ? 2 : 0;
}

int scenario_fanout(const struct options *options)
{
    static const struct hub_ops ops = {.opened = crowd_opened, .event = on_event, .gone = on_gone};
    struct fanout *f = ff_mem_zalloc(sizeof(*f));
    struct reading from;
    struct reading to;
    uint64_t messages;
    uint64_t deliveries;
    int result;

    if (!f)
        die("out of memory");
    f->options = options;
    f->is_open_loop = strcmp(options->scenario, "rate") == 0;
    hub_init(&f->hub, options, &ops, f);
    open_all(f);
    f->start_ns = clock_ns();
    f->heard_ns = f->start_ns;
    run_until(f, f->start_ns + (uint64_t)(options->warm_up * 1e9), "warm-up");
    meter_read(&from, options);
    f->latency = (struct histogram){.count = 0};
    f->hub.receives = 0;
    messages = f->messages;
    deliveries = f->deliveries;
    run_until(f, from.at_ns + (uint64_t)(options->seconds * 1e9), options->scenario);
    meter_read(&to, options);
    messages = f->messages - messages;
    deliveries = f->deliveries - deliveries;
    drain(f);
    result = tell(f, &from, &to, messages, deliveries);
    crowd_deinit(&f->hub, &f->listeners);
    crowd_deinit(&f->hub, &f->stalled);
    crowd_deinit(&f->hub, &f->connections);
    neighbours_deinit(&f->neighbours, &f->hub);
    hub_deinit(&f->hub);
    ff_mem_free(f->publishers);
    ff_mem_free(f->room);
    ff_mem_free(f);
    return result;
}
