/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys.c - the broker's own topics, once a second: figures of all workers, and lists
 * of the largest topics and slowest readers, which are only made while somebody
 * listens.
 */
#include "broker/session/sys.h"

#include <inttypes.h>
#include <stdlib.h>

#include "broker/carrier/carrier.h"
#include "broker/session/session.h"
#include "broker/topic/bulletin.h"
#include "broker/topic/heard.h"
#include "protocol/base/mem.h"
#include "protocol/message/json.h"

/* A row is a name, of which each octet may be escaped, and figures. */
enum { ROW_MOST = 2 * FF_TOPIC_MAX + 256, REPORT_MAX = ROUTER_OWN_MOST };

_Static_assert((int)SYS_ROWS *(int)ROW_MOST < (int)REPORT_MAX, "a full list is no too large one");

/* The largest of what is offered, the largest first. */
struct ranked {
    uint64_t score;
    const void *what;
    const struct heard_name *heard; /* in place of a topic; NULL: it is one */
};

struct top {
    struct ranked at[SYS_ROWS];
    size_t count;
};

static void offer(struct top *top, struct ranked ranked)
{
    uint64_t score = ranked.score;
    size_t i = top->count < SYS_ROWS ? top->count : SYS_ROWS - 1;

    if (top->count == SYS_ROWS && score <= top->at[SYS_ROWS - 1].score)
        return;
    while (i > 0 && top->at[i - 1].score < score) {
        top->at[i] = top->at[i - 1];
        i--;
    }
    top->at[i] = ranked;
    top->count += top->count < SYS_ROWS;
}

static bool is_wanted(struct gateway *gateway, const char *name)
{
    struct registry *registry = &gateway->router.registry;

    if (registry_find(registry, ff_slice_of(name)) ||
        registry_find_idle(registry, ff_slice_of(name)))
        return true;
    /* A filter may be all that listens. */
    return filter_tree_match(&registry->filters, ff_slice_of(name)) > 0;
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
    enum ff_err err = ff_buf_append(out, "{\"topic\":", 9);

    if (!err)
        err = ff_buf_reserve(out, ff_json_quoted_size(name));
    if (!err)
        out->len = (size_t)(ff_json_write_quoted(out->data + out->len, name) - out->data);
    return err;
}

/* All workers' figures, each a second old at most. */
struct totals {
    uint64_t published;
    uint64_t sent_bytes;
    uint64_t keys;
    uint64_t keys_forgotten;
    uint64_t members;
};

static struct totals add_up(struct shared *shared)
{
    struct totals total = {.published = 0};

    for (uint32_t i = 0; i < shared->workers; i++) {
        struct worker_figures *of = &shared->figures[i];

        total.published += atomic_load_explicit(&of->published, memory_order_relaxed);
        total.sent_bytes += atomic_load_explicit(&of->sent_bytes, memory_order_relaxed);
        total.keys += atomic_load_explicit(&of->keys, memory_order_relaxed);
        total.keys_forgotten += atomic_load_explicit(&of->keys_forgotten, memory_order_relaxed);
        total.members += atomic_load_explicit(&of->members, memory_order_relaxed);
    }
    return total;
}

static enum ff_err write_broker(struct gateway *gateway, struct ff_buf *out)
{
    struct shared *shared = gateway->shared;
    struct totals total = add_up(shared);
    uint64_t rate = total.published - gateway->last_published;

    gateway->last_published = total.published;
    return ff_buf_printf(
        out,
        "{\"connections\":%" PRIu32 ",\"topics\":%" PRIu32 ",\"filters\":%" PRIu32
        ",\"retained\":%" PRIu32 ",\"published\":%" PRIu64 ",\"rate\":%" PRIu64 ",\"sent\":%" PRIu64
        ",\"keys\":%" PRIu64 ",\"keys_forgotten\":%" PRIu64 ",\"members\":%" PRIu64
        ",\"memory\":%zu,\"blocks\":%zu,\"reload_failures\":%" PRIu64 ",\"uptime\":%" PRIu64 "}",
        atomic_load_explicit(&shared->sessions, memory_order_relaxed),
        atomic_load_explicit(&shared->topics, memory_order_relaxed),
        gateway->router.registry.filters.count,
        atomic_load_explicit(&shared->retained, memory_order_relaxed), total.published, rate,
        total.sent_bytes, total.keys, total.keys_forgotten, total.members, ff_mem_live_bytes(),
        ff_mem_live_blocks(), atomic_load_explicit(&shared->reload_failures, memory_order_relaxed),
        (loop_clock_us() / 1000 - shared->started_ms) / 1000);
}

/* Names that nobody holds: only filters hear them. */
static void rank_heard(struct gateway *gateway, struct top *top)
{
    const struct heard_name *name = NULL;

    while (gateway->router.heard && (name = heard_next(gateway->router.heard, name)))
        offer(top, (struct ranked){name->messages, NULL, name});
}

static void rank_topics(struct gateway *gateway, struct top *top)
{
    struct ff_map_node *node = NULL;

    while ((node = ff_map_next(&gateway->router.registry.topics, node))) {
        struct topic *topic = FF_CONTAINER(node, struct topic, node);

        if (topic->is_counted && !ff_topic_is_reserved(topic_name(topic)))
            offer(top, (struct ranked){topic->offset - topic->reported, topic, NULL});
        topic->reported = topic->offset;
    }
    rank_heard(gateway, top);
}

static enum ff_err put_topic(struct ff_buf *out, struct ff_slice name, uint32_t subscribers,
                             uint64_t rate, uint64_t buffered)
{
    enum ff_err err = put_name(out, name);

    if (err)
        return err;
    return ff_buf_printf(
        out, ",\"subscribers\":%" PRIu32 ",\"rate\":%" PRIu64 ",\"buffered\":%" PRIu64 "}",
        subscribers, rate, buffered);
}

static enum ff_err write_topic(const struct ranked *ranked, struct ff_buf *out)
{
    const struct topic *topic = ranked->what;
    const struct heard_name *heard = ranked->heard;

    if (heard)
        return put_topic(out, (struct ff_slice){heard->name, heard->len}, heard->receivers,
                         heard->messages, 0);
    return put_topic(out, topic_name(topic), topic_subscribers(topic), ranked->score,
                     topic_buffered(topic));
}

static void rank_session(void *arg, struct session *session)
{
    for (struct ff_list *node = session->pending.next; node != &session->pending;
         node = node->next) {
        const struct subscription *s = FF_CONTAINER(node, struct subscription, pending);

        if (subscription_behind(s))
            offer(arg, (struct ranked){subscription_behind(s), s, NULL});
    }
}

static void rank_slow(struct gateway *gateway, struct top *top)
{
    gateway_each(gateway, rank_session, top);
}

static enum ff_err write_slow(const struct ranked *ranked, struct ff_buf *out)
{
    const struct subscription *s = ranked->what;
    const struct session *session = s->owner;
    struct ff_slice name = subscription_name(s);
    enum ff_err err = put_name(out, bulletin_is(name) ? bulletin_topic(name) : name);

    if (err)
        return err;
    return ff_buf_printf(
        out, ",\"session\":\"%016" PRIx64 "\",\"overflow\":\"%s\",\"buffered\":%" PRIu64 "}",
        session_id(session), overflow_name(s->overflow), ranked->score);
}

static const struct {
    const char *name;
    const char *begin;
    void (*rank)(struct gateway *gateway, struct top *top);
    enum ff_err (*write)(const struct ranked *ranked, struct ff_buf *out);
} lists[SYS_LISTS] = {
    [SYS_TOPICS] = {"$SYS/topics", "{\"topics\":[", rank_topics, write_topic},
    [SYS_SLOW] = {"$SYS/slow", "{\"slow\":[", rank_slow, write_slow},
};

/* What was appended to the text since `at` is the next row. */
static void end_row(struct sys_share *share, uint64_t score, size_t at)
{
    share->rows[share->count].score = score;
    share->rows[share->count].at = at;
    share->rows[share->count++].len = share->text.len - at;
}

/* Idle topics have no rate: they come last, as far as there is room. */
static void share_idle_topics(const struct gateway *gateway, struct sys_share *share)
{
    struct ff_map_node *node = NULL;

    while (share->count < SYS_ROWS &&
           (node = ff_map_next(&gateway->router.registry.idle_topics, node))) {
        const struct idle_topic *idle_topic = FF_CONTAINER(node, struct idle_topic, node);
        size_t at = share->text.len;

        if (ff_topic_is_reserved(idle_topic_name(idle_topic)))
            continue;
        if (put_topic(&share->text, idle_topic_name(idle_topic), 1, 0, 0))
            return;
        end_row(share, 0, at);
    }
}

/* Counts names that filters hear while the busiest topics are asked for. */
static void count_heard(struct gateway *gateway, bool is_wanted)
{
    struct router *router = &gateway->router;

    if (!is_wanted) {
        heard_free(router->heard);
        router->heard = NULL;
    } else if (router->heard) {
        heard_clear(router->heard);
    } else {
        router->heard = heard_new(&gateway->shared->key);
    }
}

/* This worker's largest, where whoever reports finds them. */
static void share(struct gateway *gateway, enum sys_list list)
{
    struct shared *shared = gateway->shared;
    struct sys_share *share = &shared->shares[gateway->worker->index][list];
    struct top top = {.count = 0};

    lists[list].rank(gateway, &top);
    (void)pthread_mutex_lock(&shared->lock);
    share->count = 0;
    share->text.len = 0;
    for (size_t i = 0; i < top.count; i++) {
        size_t at = share->text.len;

        if (lists[list].write(&top.at[i], &share->text))
            break; /* out of memory: the list is shorter this time */
        end_row(share, top.at[i].score, at);
    }
    if (list == SYS_TOPICS)
        share_idle_topics(gateway, share);
    (void)pthread_mutex_unlock(&shared->lock);
}

/* The largest of all workers, merged. Under the lock. */
static enum ff_err merge(const struct shared *shared, enum sys_list list, struct ff_buf *out)
{
    uint32_t next[WORKERS_MAX] = {0};
    enum ff_err err = ff_buf_append(out, lists[list].begin, strlen(lists[list].begin));

    for (int row = 0; row < SYS_ROWS && !err; row++) {
        const struct sys_share *best = NULL;
        uint32_t from = 0;

        for (uint32_t i = 0; i < shared->workers; i++) {
            const struct sys_share *share = &shared->shares[i][list];

            if (next[i] < share->count &&
                (!best || share->rows[next[i]].score > best->rows[next[from]].score)) {
                best = share;
                from = i;
            }
        }
        if (!best)
            break;
        if (row)
            err = ff_buf_append(out, ",", 1);
        if (!err)
            err = ff_buf_append(out, best->text.data + best->rows[next[from]].at,
                                best->rows[next[from]].len);
        next[from]++;
    }
    return err ? err : ff_buf_append(out, "]}", 2);
}

/* Is this worker the one that speaks in a topic's name? */
static bool is_speaker(struct gateway *gateway, const char *name)
{
    return !gateway->shared->exchange ||
           carrier_owner(gateway->carrier, ff_slice_of(name)) == gateway->worker->index;
}

static void report_broker(struct gateway *gateway)
{
    struct ff_buf out;
    enum ff_err err;

    if (!is_speaker(gateway, "$SYS/broker"))
        return;
    ff_buf_init(&out, REPORT_MAX);
    err = write_broker(gateway, &out);
    if (is_wanted(gateway, "$SYS/broker"))
        publish(gateway, "$SYS/broker", &out, err);
    ff_buf_deinit(&out);
}

static void set_counting(struct gateway *gateway, enum sys_list list, bool is_counting)
{
    struct worker_figures *figures = &gateway->shared->figures[gateway->worker->index];

    gateway->is_counting[list] = is_counting;
    atomic_store_explicit(&figures->is_counting[list], is_counting, memory_order_release);
}

/* Has each worker shared what it has? Before that a list would lack those of the others. */
static bool all_count(struct shared *shared, enum sys_list list)
{
    for (uint32_t i = 0; i < shared->workers; i++)
        if (!atomic_load_explicit(&shared->figures[i].is_counting[list], memory_order_acquire))
            return false;
    return true;
}

static void report_list(struct gateway *gateway, enum sys_list list)
{
    struct shared *shared = gateway->shared;
    const char *name = lists[list].name;
    struct ff_buf out;
    enum ff_err err;

    if (is_speaker(gateway, name))
        atomic_store_explicit(&shared->is_wanted[list], is_wanted(gateway, name),
                              memory_order_relaxed);
    if (!atomic_load_explicit(&shared->is_wanted[list], memory_order_relaxed)) {
        if (list == SYS_TOPICS)
            count_heard(gateway, false);
        set_counting(gateway, list, false);
        return;
    }
    if (!gateway->is_counting[list]) /* rates begin now, and not when somebody last listened */
        lists[list].rank(gateway, &(struct top){.count = 0});
    share(gateway, list);
    if (list == SYS_TOPICS)
        count_heard(gateway, true);
    set_counting(gateway, list, true);
    if (!is_speaker(gateway, name) || !all_count(gateway->shared, list))
        return;
    ff_buf_init(&out, REPORT_MAX);
    (void)pthread_mutex_lock(&shared->lock);
    err = merge(shared, list, &out);
    (void)pthread_mutex_unlock(&shared->lock);
    publish(gateway, name, &out, err);
    ff_buf_deinit(&out);
}

/* This worker's figures, where whoever reports finds them. */
static void share_figures(const struct gateway *gateway)
{
    struct worker_figures *figures = &gateway->shared->figures[gateway->worker->index];
    struct engine_figures engine = engine_figures(gateway->carrier->env.engine);

    atomic_store_explicit(&figures->published, gateway->router.published, memory_order_relaxed);
    atomic_store_explicit(&figures->sent_bytes, gateway->worker->net.sent_bytes,
                          memory_order_relaxed);
    atomic_store_explicit(&figures->keys, engine.keys, memory_order_relaxed);
    atomic_store_explicit(&figures->keys_forgotten, engine.keys_forgotten, memory_order_relaxed);
    atomic_store_explicit(&figures->members, engine.members, memory_order_relaxed);
}

void sys_report(struct gateway *gateway)
{
    if (!gateway->settings->sys)
        return;
    share_figures(gateway);
    report_broker(gateway);
    for (enum sys_list list = 0; list < SYS_LISTS; list++)
        report_list(gateway, list);
}
