/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/sys.h"

#include <inttypes.h>
#include <stdlib.h>

#include "broker/session/session.h"
#include "protocol/base/mem.h"
#include "protocol/message/json.h"

enum { TOP = 100, REPORT_MAX = 1024 * 1024 };

/* The TOP largest of what is offered, the largest first. */
struct ranked {
    uint64_t score;
    const void *what;
};

struct top {
    struct ranked at[TOP];
    size_t count;
};

static void offer(struct top *top, uint64_t score, const void *what)
{
    size_t i = top->count < TOP ? top->count : TOP - 1;

    if (top->count == TOP && score <= top->at[TOP - 1].score)
        return;
    while (i > 0 && top->at[i - 1].score < score) {
        top->at[i] = top->at[i - 1];
        i--;
    }
    top->at[i] = (struct ranked){score, what};
    top->count += top->count < TOP;
}

static bool is_wanted(struct gateway *gateway, const char *name)
{
    struct topic *topic = router_find(&gateway->router, ff_slice_of(name));

    if (topic)
        return true;
    /* A filter may be all that listens. */
    return filter_tree_match(&gateway->router.filters, ff_slice_of(name)) > 0;
}

static void publish(struct gateway *gateway, const char *name, const struct ff_buf *json,
                    enum ff_err err)
{
    struct publication p = {.topic = ff_slice_of(name),
                            .payload = {FF_PAYLOAD_JSON, ff_buf_slice(json)}};
    struct receipt receipt;

    if (!err) /* figures that cannot be told for want of memory come again in a second */
        (void)!router_publish(&gateway->router, &p, &receipt);
}

static enum ff_err put_name(struct ff_buf *out, struct ff_slice name)
{
    enum ff_err err = ff_buf_reserve(out, ff_json_quoted_size(name));

    if (!err)
        out->len = (size_t)(ff_json_write_quoted(out->data + out->len, name) - out->data);
    return err;
}

static enum ff_err write_broker(struct gateway *gateway, struct ff_buf *out)
{
    const struct router *router = &gateway->router;
    uint64_t rate = router->published - gateway->last_published;

    return ff_buf_printf(
        out,
        "{\"connections\":%" PRIu32 ",\"topics\":%" PRIu32 ",\"filters\":%" PRIu32
        ",\"published\":%" PRIu64 ",\"rate\":%" PRIu64 ",\"sent\":%" PRIu64
        ",\"memory\":%zu,\"blocks\":%zu,\"reload_failures\":%" PRIu64 ",\"uptime\":%" PRIu64 "}",
        gateway->session_count, router->topic_count, router->filters.count, router->published, rate,
        gateway->worker->net.sent_bytes, ff_mem_live_bytes(), ff_mem_live_blocks(),
        gateway->reload_failures, (gateway->worker->net.loop.now_ms - gateway->started_ms) / 1000);
}

static enum ff_err write_topics(struct gateway *gateway, struct ff_buf *out)
{
    struct top top = {.count = 0};
    struct ff_map_node *node = NULL;
    enum ff_err err = ff_buf_append(out, "{\"topics\":[", 11);

    while ((node = ff_map_next(&gateway->router.topics, node))) {
        const struct topic *topic = FF_CONTAINER(node, struct topic, node);

        if (!topic->is_filter && !ff_topic_is_reserved(topic_name(topic)))
            offer(&top, topic->number - topic->reported, topic);
    }
    for (size_t i = 0; i < top.count && !err; i++) {
        const struct topic *topic = top.at[i].what;

        err = ff_buf_append(out, i ? ",{\"topic\":" : "{\"topic\":", i ? 10 : 9);
        if (!err)
            err = put_name(out, topic_name(topic));
        if (!err)
            err = ff_buf_printf(
                out, ",\"subscribers\":%" PRIu32 ",\"rate\":%" PRIu64 ",\"buffered\":%" PRIu64 "}",
                topic_subscribers(topic), top.at[i].score, topic_buffered(topic));
    }
    return err ? err : ff_buf_append(out, "]}", 2);
}

static void rank_session(void *arg, struct session *session)
{
    for (struct ff_list *node = session->pending.next; node != &session->pending;
         node = node->next) {
        const struct subscription *s = FF_CONTAINER(node, struct subscription, pending);

        if (subscription_behind(s))
            offer(arg, subscription_behind(s), s);
    }
}

static enum ff_err write_slow(struct gateway *gateway, struct ff_buf *out)
{
    struct top top = {.count = 0};
    enum ff_err err = ff_buf_append(out, "{\"slow\":[", 9);

    gateway_each(gateway, rank_session, &top);
    for (size_t i = 0; i < top.count && !err; i++) {
        const struct subscription *s = top.at[i].what;
        const struct session *session = s->owner;

        err = ff_buf_append(out, i ? ",{\"topic\":" : "{\"topic\":", i ? 10 : 9);
        if (!err)
            err = put_name(out, topic_name(router_topic_of(s)));
        if (!err)
            err = ff_buf_printf(out,
                                ",\"session\":\"%016" PRIx64 "\",\"overflow\":\"%s\""
                                ",\"buffered\":%" PRIu64 "}",
                                session->id, overflow_name(s->overflow), top.at[i].score);
    }
    return err ? err : ff_buf_append(out, "]}", 2);
}

static void report(struct gateway *gateway, const char *name,
                   enum ff_err (*write)(struct gateway *gateway, struct ff_buf *out))
{
    struct ff_buf out;
    enum ff_err err;

    if (!is_wanted(gateway, name))
        return;
    ff_buf_init(&out, REPORT_MAX);
    err = write(gateway, &out);
    publish(gateway, name, &out, err);
    ff_buf_deinit(&out);
}

void sys_report(struct gateway *gateway)
{
    struct ff_map_node *node = NULL;

    if (!gateway->settings->sys)
        return;
    report(gateway, "$SYS/broker", write_broker);
    report(gateway, "$SYS/topics", write_topics);
    report(gateway, "$SYS/slow", write_slow);
    gateway->last_published = gateway->router.published;
    if (!is_wanted(gateway, "$SYS/topics"))
        return;
    while ((node = ff_map_next(&gateway->router.topics, node))) {
        struct topic *topic = FF_CONTAINER(node, struct topic, node);

        topic->reported = topic->number;
    }
}
