/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/lone_router.h"

struct router router;
struct pool pool;
struct wheel wheel;
uint64_t now_ms = 1000;

static bool on_ready(void *arg, struct subscription *s)
{
    return s->owner ? subscriber_ready(arg, s) : true;
}

static void on_overrun(void *arg, struct subscription *s)
{
    (void)arg;
    router_unsubscribe(&router, s);
}

static void on_skipped(void *arg, struct subscription *s, uint64_t count)
{
    (void)arg;
    (void)s;
    (void)count;
}

int lone_router_set_up(void **state)
{
    static const struct router_ops ops = {
        .ready = on_ready, .overrun = on_overrun, .skipped = on_skipped};
    struct router_env env = {
        .pool = &pool, .wheel = &wheel, .now_ms = &now_ms, .key = {{3, 4}}, .ops = &ops};
    struct router_limits limits = {
        .max_message = 65536, .max_buffered = 1 << 20, .max_topics = 1000, .max_filters = 1000};

    (void)state;
    pool_init(&pool, 1 << 20);
    wheel_init(&wheel, &now_ms);
    return router_init(&router, &env, &limits) == FF_OK ? 0 : -1;
}

int lone_router_tear_down(void **state)
{
    (void)state;
    router_deinit(&router);
    pool_deinit(&pool);
    return ff_mem_live_blocks() == 0 ? 0 : -1;
}

enum ff_err publish_hello(const char *topic, struct receipt *receipt)
{
    struct publication p = {.topic = ff_slice_of(topic),
                            .payload = {FF_PAYLOAD_JSON, FF_SLICE("\"hello\"")},
                            .publisher = 1};

    return router_publish(&router, &p, receipt);
}
