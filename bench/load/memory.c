/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - what names and messages cost when nothing happens to them: a quiet topic
 * with one subscription, the position that it leaves when that ends, and a message that
 * is kept, beside its frame.
 */
#include <stdio.h>
#include <unistd.h>

#include "bench/load/crowd.h"
#include "bench/load/payload.h"
#include "bench/load/report.h"
#include "bench/load/scenario.h"
#include "protocol/base/mem.h"

enum { NAMES_EACH = 1000, AT_ONCE = 100 };

struct asked {
    struct hub hub;
    struct crowd crowd;
    uint64_t answers; /* to what was asked after the crowd was there */
};

static void on_event(void *arg, struct peer *peer, const struct event *event)
{
    struct asked *asked = arg;

    if (event->kind == EVENT_ERROR)
        die("refused: %.*s", (int)event->payload.len, event->payload.at);
    if (event->kind == EVENT_ANSWER && member_of(peer)->is_ready)
        asked->answers++;
    else if (event->kind == EVENT_ANSWER)
        crowd_answered(peer);
}

static void begin(struct asked *asked, const struct options *options, uint32_t connections)
{
    static const struct hub_ops ops = {.opened = crowd_opened, .event = on_event};

    if (!options->pid_count)
        die("%s measures the server's memory: --pid $(pidof fanfared)", options->scenario);
    hub_init(&asked->hub, options, &ops, asked);
    crowd_init(&asked->crowd, connections, true);
    crowd_open(&asked->hub, &asked->crowd, options);
}

/* What was written to a connection is sent, and done. */
static void wait_for(struct asked *asked, struct peer *peer)
{
    uint64_t wanted = asked->answers + 1;

    hub_ask(&asked->hub, peer);
    hub_flush(&asked->hub, peer);
    while (asked->answers < wanted)
        hub_poll(&asked->hub, POLL_NS);
}

static double grown(const struct reading *from, const struct reading *to, double count)
{
    return ((double)to->server_kib - (double)from->server_kib) * 1024 / count;
}

/* Until topics that nobody speaks in are made small. */
static void rest(struct asked *asked, const struct options *options)
{
    uint64_t end_ns = clock_ns() + (uint64_t)(options->seconds * 1e9);

    for (uint64_t now = clock_ns(); now < end_ns; now = clock_ns())
        hub_poll(&asked->hub, end_ns - now);
}

int scenario_topics(const struct options *options)
{
    uint32_t connections = (uint32_t)((options->topics + NAMES_EACH - 1) / NAMES_EACH);
    struct asked asked = {.answers = 0};
    struct reading from;
    struct reading quiet;
    struct reading gone;
    struct report report;
    char room[32];

    begin(&asked, options, connections);
    meter_read(&from, options);
    for (uint32_t i = 0; i < options->topics; i++) {
        struct peer *peer = &asked.crowd.members[i / NAMES_EACH].peer;

        hub_subscribe(&asked.hub, peer, topic_of(i, room));
        if (i % AT_ONCE == AT_ONCE - 1 || i + 1 == options->topics)
            wait_for(&asked, peer);
        if (i % NAMES_EACH == 0)
            progress(options, "%u of %u topics", i, (unsigned)options->topics);
    }
    rest(&asked, options);
    meter_read(&quiet, options);
    crowd_deinit(&asked.hub, &asked.crowd);
    rest(&asked, options);
    meter_read(&gone, options);
    hub_deinit(&asked.hub);
    report_begin(&report, options);
    report_number(&report, "topics", (double)options->topics, "with one subscription each");
    report_number(&report, "bytes_each", grown(&from, &quiet, (double)options->topics),
                  "octets of the server's resident memory for each of them");
    report_number(&report, "position_bytes", grown(&from, &gone, (double)options->topics),
                  "octets of it for each name when all subscriptions have ended");
    report_end(&report);
    return 0;
}

/* As the server keeps it in JSON: its frame, which says its offset. */
static double frame_octets(const struct options *options, struct ff_slice topic, uint64_t offset)
{
    int len = snprintf(NULL, 0, "{\"type\":2,\"topic\":\"%.*s\",\"message\":\"\",\"offset\":%u}",
                       (int)topic.len, topic.at, (unsigned)offset) +
              (int)options->size;

    return len + (len < 126 ? 2 : 4);
}

int scenario_kept(const struct options *options)
{
    struct asked asked = {.answers = 0};
    char *text = ff_mem_alloc(options->size);
    double count = (double)options->topics * (double)options->window;
    double frames = 0;
    struct reading from;
    struct reading to;
    struct report report;
    char room[32];

    if (!text)
        die("out of memory");
    begin(&asked, options, 1);
    meter_read(&from, options);
    for (uint32_t n = 1; n <= options->window; n++) {
        for (uint32_t i = 0; i < options->topics; i++) {
            struct peer *peer = &asked.crowd.members[0].peer;
            struct stamp stamp = {n, 0, 0};

            hub_publish(&asked.hub, peer, topic_of(i, room),
                        payload_write(text, options->size, &stamp));
            frames += frame_octets(options, topic_of(i, room), n);
            if (i % AT_ONCE == AT_ONCE - 1 || i + 1 == options->topics)
                wait_for(&asked, peer);
        }
        progress(options, "%u of %u messages in each topic", n, (unsigned)options->window);
    }
    meter_read(&to, options);
    report_begin(&report, options);
    report_number(&report, "kept", count, "messages");
    report_number(&report, "frame", frames / count, "octets of a frame");
    report_number(&report, "bytes_each", grown(&from, &to, count),
                  "octets of the server's resident memory for each");
    report_number(&report, "beside_each", grown(&from, &to, count) - frames / count,
                  "octets of it beside the frame, topics and all");
    report_end(&report);
    crowd_deinit(&asked.hub, &asked.crowd);
    hub_deinit(&asked.hub);
    ff_mem_free(text);
    return 0;
}
