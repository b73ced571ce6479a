/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.c - publishers to whom nobody listens.
 *
 * Each keeps its socket full, and asks after every `window` messages; what was
 * asked is answered when all before it was done, so only what was done counts.
 */
#include "bench/load/crowd.h"
#include "bench/load/payload.h"
#include "bench/load/report.h"
#include "bench/load/scenario.h"
#include "protocol/base/mem.h"

enum { BATCHES = 4 }; /* asked and not yet answered */

struct flood {
    const struct options *options;
    struct hub hub;
    struct crowd publishers;
    struct ff_buf batch; /* window messages and a question, ready to be sent again and again */
    char *room;          /* for a payload */
    uint32_t fresh;      /* names that were used */
    uint64_t answers;
    bool is_on;
};

static void make_batch(struct flood *flood)
{
    struct peer peer = {.fd = -1, .out = flood->batch};
    const struct options *options = flood->options;
    char name[32];

    peer.out.len = 0;
    for (uint32_t i = 0; i < options->window; i++) {
        struct stamp stamp = {i, 0, 0};
        uint32_t topic = options->is_fresh ? flood->fresh++ : i % (uint32_t)options->topics;

        hub_publish(&flood->hub, &peer, topic_of(topic, name),
                    payload_write(flood->room, options->size, &stamp));
    }
    hub_ask(&flood->hub, &peer);
    flood->batch = peer.out;
}

static void send_batch(struct flood *flood, struct peer *peer)
{
    if (flood->options->is_fresh)
        make_batch(flood);
    put(&peer->out, flood->batch.data, flood->batch.len);
    hub_flush(&flood->hub, peer);
}

static void on_event(void *arg, struct peer *peer, const struct event *event)
{
    struct flood *flood = arg;

    if (event->kind != EVENT_ANSWER)
        return;
    if (!member_of(peer)->is_ready) {
        crowd_answered(peer);
        return;
    }
    flood->answers++;
    if (flood->is_on)
        send_batch(flood, peer);
}

static void run_until(struct flood *flood, uint64_t end_ns)
{
    for (uint64_t now = clock_ns(); now < end_ns; now = clock_ns())
        hub_poll(&flood->hub, end_ns - now);
}

int scenario_publish(const struct options *options)
{
    static const struct hub_ops ops = {.opened = crowd_opened, .event = on_event};
    struct flood flood = {.options = options};
    struct reading from;
    struct reading to;
    struct report report;
    uint64_t done;

    hub_init(&flood.hub, options, &ops, &flood);
    flood.room = ff_mem_alloc(options->size);
    if (!flood.room)
        die("out of memory");
    ff_buf_init(&flood.batch, 1 << 30);
    make_batch(&flood);
    crowd_init(&flood.publishers, (uint32_t)options->publishers, true);
    crowd_open(&flood.hub, &flood.publishers, options);
    flood.is_on = true;
    for (int i = 0; i < BATCHES; i++)
        for (uint32_t k = 0; k < flood.publishers.count; k++)
            send_batch(&flood, &flood.publishers.members[k].peer);
    run_until(&flood, clock_ns() + (uint64_t)(options->warm_up * 1e9));
    meter_read(&from, options);
    done = flood.answers;
    run_until(&flood, from.at_ns + (uint64_t)(options->seconds * 1e9));
    meter_read(&to, options);
    done = (flood.answers - done) * options->window;
    report_begin(&report, options);
    report_number(&report, "window", (double)options->window, "messages");
    report_number(&report, "size", (double)options->size, "octets");
    report_number(&report, "messages_s", (double)done * 1e9 / (double)(to.at_ns - from.at_ns),
                  "messages a second");
    report_cost(&report, &from, &to, done);
    report_end(&report);
    crowd_deinit(&flood.hub, &flood.publishers);
    ff_buf_deinit(&flood.batch);
    ff_mem_free(flood.room);
    hub_deinit(&flood.hub);
    return 0;
}
