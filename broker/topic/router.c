/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/router.h"

#include "broker/topic/rate.h"
#include "protocol/base/mem.h"
#include "protocol/message/transcode.h"

enum {
    MIN_PINNED = 4 * 1024 * 1024,
    GROWTH = 8, /* a payload in the other encoding, at most: "-32," for one octet, floats */
    GROWTH_ROOM = 1024,
    RELIEVE_MS = 20, /* it walks all topics: not again before something came that may be cut */
    RELIEVE_AGAIN_MS = 1000,
    RELIEVE_LEAST = 65536,
};

static const struct topic_rule no_rule = {.overflow = OVERFLOW_SKIP};

enum ff_err router_init(struct router *router, const struct router_env *env,
                        const struct router_limits *limits)
{
    enum ff_err err;

    *router = (struct router){.key = env->key,
                              .wheel = env->wheel,
                              .now_ms = env->now_ms,
                              .ops = env->ops,
                              .arg = env->arg};
    grave_init(&router->grave, env->pool, NULL);
    ff_list_init(&router->turn);
    router_configure(router, limits, NULL, 0);
    err = ff_map_init(&router->topics);
    if (err)
        return err;
    err = filter_tree_init(&router->filters, &env->key);
    if (err)
        ff_map_deinit(&router->topics);
    return err;
}

void router_deinit(struct router *router)
{
    FF_CHECK(router->topics.count == 0);
    grave_deinit(&router->grave);
    filter_tree_deinit(&router->filters);
    ff_map_deinit(&router->topics);
    for (int i = 0; i < FF_ENCODINGS; i++)
        ff_buf_deinit(&router->spare[i]);
}

static const struct topic_rule *find_rule(const struct router *router, struct ff_slice name)
{
    for (uint32_t i = 0; i < router->rule_count; i++) {
        struct ff_slice filter = ff_slice_of(router->rules[i].filter);

        if (ff_topic_is_match(filter, name) || ff_slice_is_equal(filter, name))
            return &router->rules[i];
    }
    return &no_rule;
}

/* What a log of this topic keeps and pins at most. */
static void set_limits(const struct router *router, const struct topic *topic, struct log *log)
{
    /* One message of the other encoding must fit, however it grew. */
    uint64_t pinned = (uint64_t)router->limits.max_message * GROWTH + GROWTH_ROOM;

    log->max_buffered =
        topic->rule->max_buffered ? topic->rule->max_buffered : router->limits.max_buffered;
    log->max_pinned = pinned < MIN_PINNED ? MIN_PINNED : pinned;
}

void router_configure(struct router *router, const struct router_limits *limits,
                      const struct topic_rule *rules, uint32_t rule_count)
{
    struct ff_map_node *node = NULL;

    router->limits = *limits;
    router->rules = rules;
    router->rule_count = rule_count;
    for (int i = 0; i < FF_ENCODINGS; i++) {
        size_t most = (size_t)limits->max_message * GROWTH + GROWTH_ROOM;

        if (router->spare[i].max < most) /* sessions keep the limit they began with */
            router->spare[i].max = most;
    }
    while (router->topics.buckets && (node = ff_map_next(&router->topics, node))) {
        struct topic *topic = FF_CONTAINER(node, struct topic, node);

        topic->rule = find_rule(router, topic_name(topic));
        for (int i = 0; i < FF_ENCODINGS; i++)
            if (topic->logs[i])
                set_limits(router, topic, &topic->logs[i]->log);
    }
}

static bool is_named(const void *arg, const struct ff_map_node *node)
{
    const struct ff_slice *name = arg;
    const struct topic *topic = FF_CONTAINER_CONST(node, struct topic, node);

    return ff_slice_is_equal(topic_name(topic), *name);
}

struct topic *router_find(const struct router *router, struct ff_slice name)
{
    uint32_t hash = ff_hash(&router->key, name.at, name.len);
    struct ff_map_node *node = ff_map_find(&router->topics, hash, is_named, &name);

    return node ? FF_CONTAINER(node, struct topic, node) : NULL;
}

struct topic *router_topic_of(const struct subscription *s)
{
    return link_topic_log(s->link)->topic;
}

static enum ff_err make_topic(struct router *router, struct ff_slice name, struct topic **out)
{
    bool is_filter = ff_topic_kind(name) == FF_TOPIC_FILTER;
    struct topic *topic;

    if (is_filter ? router->filters.count >= router->limits.max_filters
                  : router->topic_count >= router->limits.max_topics)
        return FF_ELIMIT;
    topic = ff_mem_zalloc(sizeof(*topic) + name.len);
    if (!topic)
        return FF_ENOMEM;
    topic->name_len = (uint8_t)name.len;
    topic->is_filter = is_filter;
    memcpy(topic->name, name.at, name.len);
    topic->rule = find_rule(router, name);
    if (is_filter && filter_tree_add(&router->filters, topic)) {
        ff_mem_free(topic);
        return FF_ENOMEM;
    }
    router->topic_count += !is_filter;
    ff_map_add(&router->topics, &topic->node, ff_hash(&router->key, name.at, name.len));
    *out = topic;
    return FF_OK;
}

/* A topic without subscriptions goes away. */
static void drop_unused(struct router *router, struct topic *topic)
{
    for (int i = 0; i < FF_ENCODINGS; i++) {
        struct topic_log *log = topic->logs[i];

        if (!log || link_count(&log->link))
            continue;
        if (router->settling == log)
            router->settling = NULL;
        ff_list_remove(&log->turn);
        link_deinit(&log->link);
        log_deinit(&log->log);
        ff_mem_free(log);
        topic->logs[i] = NULL;
    }
    if (topic_subscribers(topic))
        return;
    if (topic->is_filter)
        filter_tree_remove(&router->filters, topic);
    else
        router->topic_count--;
    ff_map_remove(&router->topics, &topic->node);
    ff_mem_free(topic->filters);
    ff_mem_free(topic);
}

static struct topic_log *make_log(struct router *router, struct topic *topic,
                                  enum ff_encoding encoding)
{
    struct topic_log *log = ff_mem_zalloc(sizeof(*log));

    if (!log)
        return NULL;
    log_init(&log->log, &router->grave, topic->number, 0, 0);
    set_limits(router, topic, &log->log);
    link_init(&log->link, &log->log);
    log->topic = topic;
    log->encoding = encoding;
    topic->logs[encoding] = log;
    return log;
}

enum ff_err router_subscribe(struct router *router, struct subscription *s, struct ff_slice name,
                             enum ff_encoding encoding)
{
    struct topic *topic = router_find(router, name);
    struct topic_log *log;
    struct log_view view;
    enum ff_err err;

    if (!topic) {
        err = make_topic(router, name, &topic);
        if (err)
            return err;
    }
    log = topic->logs[encoding] ? topic->logs[encoding] : make_log(router, topic, encoding);
    err = FF_ENOMEM;
    if (log) {
        s->overflow = (uint8_t)topic->rule->overflow;
        view = log_look(&log->log);
        cursor_to_head(&s->cursor, &view);
        err = link_add(&log->link, s);
    }
    if (err)
        drop_unused(router, topic);
    return err;
}

static void touch(struct router *router, struct topic_log *log)
{
    if (!ff_list_is_in(&log->turn))
        ff_list_append(&router->turn, &log->turn);
}

void router_touch(struct router *router, struct subscription *s)
{
    touch(router, link_topic_log(s->link));
}

void router_unsubscribe(struct router *router, struct subscription *s)
{
    struct topic_log *log = link_topic_log(s->link);

    rate_free(s);
    link_remove(s);
    touch(router, log);
    drop_unused(router, log->topic);
}

/* The filters that match a topic; cached with it as long as no filter comes or goes. */
static uint32_t match_filters(struct router *router, struct topic *topic, struct ff_slice name,
                              struct topic ***filters)
{
    struct filter_tree *tree = &router->filters;
    struct filter_set *set;
    uint32_t count;

    if (topic && topic->filters_generation == tree->generation) {
        *filters = topic->filters ? topic->filters->filters : NULL;
        return topic->filters ? topic->filters->count : 0;
    }
    count = filter_tree_match(tree, name);
    *filters = tree->found;
    if (!topic)
        return count;
    set = count ? ff_mem_alloc(sizeof(*set) + count * sizeof(struct topic *)) : NULL;
    if (count && !set)
        return count; /* it works without the cache */
    ff_mem_free(topic->filters);
    topic->filters = set;
    topic->filters_generation = tree->generation;
    if (set) {
        set->count = count;
        memcpy(set->filters, tree->found, count * sizeof(struct topic *));
    }
    return count;
}

/* A message on its way into one log. */
struct delivery {
    struct topic_log *log;
    struct ff_delivery message;
    size_t size;
};

/* One publication, rewritten for each encoding when it is first needed. */
struct rendering {
    const struct publication *p;
    struct ff_payload payloads[FF_ENCODINGS];
    bool is_made[FF_ENCODINGS];
};

static enum ff_err render(struct router *router, struct rendering *r, enum ff_encoding encoding)
{
    if (r->is_made[encoding])
        return FF_OK;
    r->payloads[encoding] = r->p->payload;
    r->is_made[encoding] = true;
    return ff_transcode(&r->payloads[encoding], encoding, &router->spare[encoding]);
}

static struct ff_delivery delivery_for(const struct rendering *r, const struct topic *to,
                                       enum ff_encoding encoding)
{
    return (struct ff_delivery){
        .topic = r->p->topic,
        .filter = to->is_filter ? topic_name(to) : (struct ff_slice){NULL, 0},
        .payload = r->payloads[encoding],
    };
}

/* Room in all logs of one topic or filter. */
static enum ff_err reserve(struct router *router, struct rendering *r, struct topic *to)
{
    for (int i = 0; i < FF_ENCODINGS; i++) {
        enum ff_encoding encoding = (enum ff_encoding)i;
        struct ff_delivery delivery;
        enum ff_err err;

        if (!to->logs[i])
            continue;
        err = render(router, r, encoding);
        if (err)
            return err;
        delivery = delivery_for(r, to, encoding);
        err = log_reserve(&to->logs[i]->log, ff_delivery_size(encoding, &delivery));
        if (err)
            return err;
    }
    return FF_OK;
}

static void cancel(struct topic *to)
{
    for (int i = 0; i < FF_ENCODINGS; i++)
        if (to->logs[i])
            log_cancel(&to->logs[i]->log);
}

static void commit(struct router *router, const struct rendering *r, struct topic *to,
                   struct receipt *receipt)
{
    to->number++;
    for (int i = 0; i < FF_ENCODINGS; i++) {
        enum ff_encoding encoding = (enum ff_encoding)i;
        struct topic_log *log = to->logs[i];
        struct ff_delivery delivery;

        if (!log)
            continue;
        delivery = delivery_for(r, to, encoding);
        ff_delivery_write(log_reserved(&log->log), encoding, &delivery);
        log_commit(&log->log, ff_delivery_size(encoding, &delivery), r->p->tag,
                   wheel_now(router->wheel));
        log->is_dirty = true;
        touch(router, log);
        receipt->receivers += link_count(&log->link);
        if (log->link.buffered > receipt->buffered)
            receipt->buffered = log->link.buffered;
    }
}

/* Octets of a payload: `data` counts as what it stands for. */
static size_t payload_size(const struct ff_payload *payload)
{
    return payload->kind == FF_PAYLOAD_BASE64 ? payload->bytes.len / 4 * 3 : payload->bytes.len;
}

enum ff_err router_publish(struct router *router, const struct publication *p,
                           struct receipt *receipt)
{
    struct topic *topic = router_find(router, p->topic);
    const struct topic_rule *rule = topic                ? topic->rule
                                    : router->rule_count ? find_rule(router, p->topic)
                                                         : &no_rule;
    struct rendering r = {.p = p};
    struct topic **filters;
    uint32_t count = match_filters(router, topic, p->topic, &filters);
    enum ff_err err = FF_OK;

    *receipt = (struct receipt){.receivers = 0};
    if (rule->max_message && payload_size(&p->payload) > rule->max_message)
        return FF_ELIMIT;
    if (topic)
        err = reserve(router, &r, topic);
    for (uint32_t i = 0; i < count && !err; i++)
        err = reserve(router, &r, filters[i]);
    if (err) {
        if (topic)
            cancel(topic);
        for (uint32_t i = 0; i < count; i++)
            cancel(filters[i]);
        return err == FF_ELIMIT ? FF_EINVAL : err;
    }
    if (topic)
        commit(router, &r, topic, receipt);
    for (uint32_t i = 0; i < count; i++)
        commit(router, &r, filters[i], receipt);
    router->published++;
    return FF_OK;
}

void router_ready(struct router *router, struct subscription *s)
{
    /* A rated one with a full socket holds nothing back: the newest is enough. */
    if (!router->ops->ready(router->arg, s))
        link_move(s, s->rate ? PART_TIMED : PART_WAITING);
}

void router_tell_skipped(struct router *router, struct subscription *s, uint64_t count)
{
    router->ops->skipped(router->arg, s, count);
}

static void walk_link(struct router *router, struct link *link)
{
    uint32_t i = 0;

    while (i < link->counts[PART_ACTIVE]) {
        struct subscription *s = link->array[i];

        if (!s->rate || rate_admit(s))
            router_ready(router, s);
        if (s->part == PART_ACTIVE) /* else another one took its place */
            i++;
    }
}

void router_walk(struct router *router)
{
    struct ff_list *node;

    for (node = router->turn.next; node != &router->turn; node = node->next) {
        struct topic_log *log = FF_CONTAINER(node, struct topic_log, turn);

        if (!log->is_dirty)
            continue;
        log->is_dirty = false;
        walk_link(router, &log->link);
    }
}

/* Waiting subscriptions with the rule `close` that the tail has passed. */
static void close_overrun(struct router *router, struct topic_log *log)
{
    struct link *link = &log->link;
    uint32_t i = link->counts[PART_ACTIVE];

    router->settling = log;
    while (link->closers && i < link->counts[PART_ACTIVE] + link->counts[PART_WAITING]) {
        struct subscription *s = link->array[i];

        if (s->overflow != OVERFLOW_CLOSE || s->cursor.position >= log_tail(&log->log)) {
            i++;
            continue;
        }
        router->ops->overrun(router->arg, s);
        if (router->settling != log)
            return; /* it was the last one: the log is gone */
        i = link->counts[PART_ACTIVE];
    }
    router->settling = NULL;
}

static uint64_t log_length(const struct log *log)
{
    return log_head(log) - log_tail(log);
}

/* Is memory short, and did logs grow since it was last looked for? Names and links cannot be cut.
 */
static bool wants_relief(struct router *router)
{
    size_t used = router->grave.pool->used_bytes;
    uint64_t since = *router->now_ms - router->relieved_ms;

    if (ff_mem_live_bytes() <= router->limits.max_memory / 10 * 9 || since < RELIEVE_MS)
        return false;
    if (router->relieved_bytes > used)
        router->relieved_bytes = used;
    return used - router->relieved_bytes >= RELIEVE_LEAST ||
           (since >= RELIEVE_AGAIN_MS && router->published != router->relieved_published);
}

/* Over nine tenths of the budget the longest logs are cut first, down to their newest message. */
static void relieve(struct router *router)
{
    struct ff_map_node *node = NULL;
    uint64_t longest = 0;
    bool is_cut = false;

    if (!wants_relief(router))
        return;
    while ((node = ff_map_next(&router->topics, node))) {
        struct topic *topic = FF_CONTAINER(node, struct topic, node);

        for (int i = 0; i < FF_ENCODINGS; i++)
            if (topic->logs[i] && log_length(&topic->logs[i]->log) > longest)
                longest = log_length(&topic->logs[i]->log);
    }
    while (longest && (node = ff_map_next(&router->topics, node))) {
        struct topic *topic = FF_CONTAINER(node, struct topic, node);

        for (int i = 0; i < FF_ENCODINGS; i++) {
            struct topic_log *log = topic->logs[i];

            if (log && log_length(&log->log) > longest / 2 && log_trim(&log->log, 0, longest / 2)) {
                log->is_relieved = is_cut = true;
                touch(router, log);
            }
        }
    }
    router->relieved_ms = *router->now_ms;
    router->relieved_bytes = is_cut ? 0 : router->grave.pool->used_bytes;
    router->relieved_published = router->published;
}

bool router_settle(struct router *router)
{
    struct ff_list settled;
    struct ff_list *node;
    bool is_dirty = false;

    relieve(router);
    if (!grave_is_empty(&router->grave))
        grave_sweep(&router->grave);
    ff_list_init(&settled);
    while ((node = ff_list_pop(&router->turn))) {
        struct topic_log *log = FF_CONTAINER(node, struct topic_log, turn);
        uint64_t needed = link_settle(&log->link, log->is_dirty);

        /* One that is behind is not met again before it was sent something: then it is touched. */
        is_dirty |= log->is_dirty;
        if (log->is_dirty)
            ff_list_append(&settled, &log->turn);
        if ((log_trim(&log->log, needed, log->log.max_buffered) || log->is_relieved) &&
            log->link.closers) {
            log->is_relieved = false;
            close_overrun(router, log);
        }
    }
    while ((node = ff_list_pop(&settled)))
        ff_list_append(&router->turn, node);
    return is_dirty;
}
