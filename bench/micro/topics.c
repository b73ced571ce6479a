/* SPDX-License-Identifier: Apache-2.0 */
/* Topics, filters, logs and cursors: what is done to every message. */
#include <stdio.h>

#include "bench/micro/micro.h"
#include "broker/topic/router.h"
#include "protocol/base/mem.h"

enum { TOPICS = 10000, FILTERS = 1000, CURSORS = 1000, FRAME = 150 };

static const struct log_stamp stamp = {.publisher = 1};

static struct router router;
static struct pool pool;
static struct wheel wheel;
static uint64_t now_ms = 1000;
static struct subscription listeners[TOPICS];
static struct subscription filters[FILTERS];
static struct subscription one;

static bool on_ready(void *arg, struct subscription *s)
{
    (void)arg;
    (void)s;
    return true;
}

static void on_overrun(void *arg, struct subscription *s)
{
    (void)arg;
    (void)s;
}

static void on_skipped(void *arg, struct subscription *s, uint64_t count)
{
    (void)arg;
    (void)s;
    (void)count;
}

static void subscribe(struct subscription *s, const char *begin, unsigned i, const char *end)
{
    char name[32];
    int len = snprintf(name, sizeof(name), "%s%u%s", begin, i, end);

    must(router_subscribe(&router, s, (struct ff_slice){name, (size_t)len}, KIND_JSON) == FF_OK,
         "no subscription");
}

void micro_topics_set_up(void)
{
    static const struct router_ops ops = {
        .ready = on_ready, .overrun = on_overrun, .skipped = on_skipped};
    struct router_env env = {
        .pool = &pool, .wheel = &wheel, .now_ms = &now_ms, .key = {{3, 4}}, .ops = &ops};
    struct router_limits limits = {.max_message = 65536,
                                   .max_buffered = 1 << 20,
                                   .max_topics = 1 << 20,
                                   .max_filters = 1 << 20};

    pool_init(&pool, 1 << 20);
    wheel_init(&wheel, &now_ms);
    must(router_init(&router, &env, &limits) == FF_OK, "no router");
    for (unsigned i = 0; i < TOPICS; i++) {
        subscribe(&listeners[i], "topic/", i, "");
        must(router_expand(&router, &listeners[i]) == FF_OK, "no topic");
    }
    for (unsigned i = 0; i < FILTERS; i++)
        subscribe(&filters[i], i % 2 ? "rooms/+/" : "rooms/", i, i % 2 ? "" : "/#");
    subscribe(&one, "one", 0, "");
}

void micro_topics_tear_down(void)
{
    for (unsigned i = 0; i < TOPICS; i++)
        router_unsubscribe(&router, &listeners[i]);
    for (unsigned i = 0; i < FILTERS; i++)
        router_unsubscribe(&router, &filters[i]);
    router_unsubscribe(&router, &one);
    router_deinit(&router);
    pool_deinit(&pool);
}

void micro_topic_find(uint64_t times)
{
    char name[32];

    for (uint64_t i = 0; i < times; i++) {
        size_t len = sizeof("topic/0000") - 1;

        memcpy(name, "topic/0000", len);
        for (uint64_t n = 1000 + i * 7919 % (TOPICS - 1000), at = len; at > 6; n /= 10)
            name[--at] = (char)('0' + n % 10);
        must(router_find(&router, (struct ff_slice){name, len}) != NULL, "no topic");
    }
}

void micro_filter_match(uint64_t times)
{
    for (uint64_t i = 0; i < times; i++)
        must(filter_tree_match(&router.registry.filters, FF_SLICE("rooms/500/501")) == 2,
             "no match");
}

void micro_log_append(uint64_t times)
{
    static const char frame[FRAME];
    struct limbo limbo;
    struct log log;

    limbo_init(&limbo, &pool, NULL, NULL);
    log_init(&log, 0);
    for (uint64_t i = 0; i < times; i++) {
        must(log_reserve(&log, &limbo, FRAME) == FF_OK, "no memory");
        memcpy(log_reserved(&log), frame, FRAME);
        log_commit(&log, &limbo, &stamp);
        if (i % 128 == 0)
            (void)log_trim(&log, &limbo, log_head_byte(&log), 0, NULL);
    }
    log_deinit(&log, &limbo);
    limbo_deinit(&limbo);
}

static void publish(struct ff_slice topic)
{
    static const struct publication p = {
        .payload = {FF_PAYLOAD_JSON, {"\"hello, this is a message of some length\"", 41}},
        .publisher = 1};
    struct publication here = p;
    struct receipt receipt;

    here.topic = topic;
    must(router_publish(&router, &here, &receipt) == FF_OK, "no publish");
}

void micro_publish_nobody(uint64_t times)
{
    for (uint64_t i = 0; i < times; i++)
        publish(FF_SLICE("nobody/is/here"));
}

/* What a session does with its range of a plan, without the socket. */
static void send_all(struct subscription *s)
{
    char gap[GAP_MAX];
    struct iovec ranges[PLAN_IOVECS];
    struct plan plan = {.iov = ranges, .max_bytes = 1 << 18};
    struct flush_range range = {.gap = gap, .view = log_look(s->link->log)};
    struct cut_unit unit = {.cut = {.len = 0}};
    size_t len;

    must(subscription_collect(s, 7, &plan, 1 << 16, &range), "nothing to send");
    len = plan.bytes;
    (void)subscription_taken(&range, 7, &len, &unit);
}

void micro_publish_one(uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        publish(FF_SLICE("one0"));
        router_mark_ready(&router);
        send_all(&one);
        (void)router_trim(&router);
    }
}

void micro_flush_cursor(uint64_t times)
{
    static struct subscription crowd[CURSORS];

    for (unsigned i = 0; i < CURSORS; i++) {
        crowd[i] = (struct subscription){.owner = NULL};
        subscribe(&crowd[i], "crowd", 0, "");
    }
    for (uint64_t done = 0; done < times;) {
        publish(FF_SLICE("crowd0"));
        router_mark_ready(&router);
        for (unsigned i = 0; i < CURSORS; i++)
            send_all(&crowd[i]);
        (void)router_trim(&router);
        done += CURSORS;
    }
    for (unsigned i = 0; i < CURSORS; i++)
        router_unsubscribe(&router, &crowd[i]);
}
