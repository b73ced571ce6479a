/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.c - topics by name, in three forms: idle ones, which are only an entry
 * with their one subscription, topics with logs, and foreign ones, which are only
 * remote links. Compacting and expanding turn one into the other.
 */
#include "broker/topic/registry.h"

#include "broker/topic/retained.h"
#include "protocol/base/mem.h"
#include "protocol/message/transcode.h"

enum { MIN_PINNED = 4 * 1024 * 1024 };

static const struct topic_rule no_rule = {.overflow = OVERFLOW_SKIP,
                                          .history = RULE_DEFAULT,
                                          .history_bytes = RULE_DEFAULT,
                                          .history_seconds = RULE_DEFAULT};

enum ff_err registry_init(struct registry *registry, const struct registry_env *env)
{
    enum ff_err err;

    *registry = (struct registry){.key = env->key,
                                  .wheel = env->wheel,
                                  .topic_tally = {.all = env->all_topics},
                                  .retained_tally = {.all = env->all_retained}};
    history_init(&registry->history);
    limbo_init(&registry->limbo, env->pool, env->budget, env->qsbr);
    err = ff_map_init(&registry->topics);
    if (err)
        return err;
    err = ff_map_init(&registry->idle_topics);
    if (!err)
        err = filter_tree_init(&registry->filters, &env->key);
    if (err) {
        ff_map_deinit(&registry->topics);
        ff_map_deinit(&registry->idle_topics);
    }
    return err;
}

/* Topics that are there for their messages alone: all that are left. */
static void drop_unread(struct registry *registry)
{
    struct ff_map_node *node;

    while ((node = ff_map_next(&registry->topics, NULL))) {
        struct topic *topic = FF_CONTAINER(node, struct topic, node);

        retained_forget(topic);
        for (int i = 0; i < KINDS; i++) {
            FF_CHECK(!topic->logs[i] || !topic_log_is_read(topic->logs[i]));
            if (topic->logs[i])
                registry_drop_log(topic, (enum log_kind)i);
        }
        FF_CHECK(registry_drop_unused(registry, topic));
    }
}

void registry_deinit(struct registry *registry)
{
    drop_unread(registry);
    history_deinit(&registry->history);
    FF_CHECK(registry->topics.count == 0 && registry->idle_topics.count == 0);
    limbo_deinit(&registry->limbo);
    filter_tree_deinit(&registry->filters);
    ff_map_deinit(&registry->topics);
    ff_map_deinit(&registry->idle_topics);
}

const struct topic_rule *registry_rule(const struct registry *registry, struct ff_slice name)
{
    for (uint32_t i = 0; i < registry->rule_count; i++) {
        struct ff_slice filter = ff_slice_of(registry->rules[i].filter);

        if (ff_topic_is_match(filter, name) || ff_slice_is_equal(filter, name))
            return &registry->rules[i];
    }
    return &no_rule;
}

uint32_t registry_dedup_seconds(const struct registry *registry, struct ff_slice name)
{
    uint32_t of_rule = registry_rule(registry, name)->dedup_seconds;

    return of_rule ? of_rule : registry->limits.dedup_seconds;
}

uint32_t registry_max_buffered(const struct registry *registry, const struct topic *topic)
{
    return topic->rule->max_buffered ? topic->rule->max_buffered : registry->limits.max_buffered;
}

uint64_t registry_max_pinned(const struct registry *registry)
{
    /* One message of the other encoding must fit, however it grew. */
    uint64_t pinned = ff_transcode_most(registry->max_message_ever);

    return pinned < MIN_PINNED ? MIN_PINNED : pinned;
}

void registry_configure(struct registry *registry, const struct router_limits *limits,
                        const struct topic_rule *rules, uint32_t rule_count)
{
    struct ff_map_node *node = NULL;

    registry->limits = *limits;
    if (registry->max_message_ever < limits->max_message)
        registry->max_message_ever = limits->max_message;
    registry->rules = rules;
    registry->rule_count = rule_count;
    while ((node = ff_map_next(&registry->topics, node))) {
        struct topic *topic = FF_CONTAINER(node, struct topic, node);

        topic->rule = registry_rule(registry, topic_name(topic));
    }
}

static bool is_named(const void *arg, const struct ff_map_node *node)
{
    const struct ff_slice *name = arg;
    const struct topic *topic = FF_CONTAINER_CONST(node, struct topic, node);

    return ff_slice_is_equal(topic_name(topic), *name);
}

static uint32_t hash_of(const struct registry *registry, struct ff_slice name)
{
    return ff_hash(&registry->key, name.at, name.len);
}

static struct topic *find_topic(const struct registry *registry, struct ff_slice name,
                                uint32_t hash)
{
    struct ff_map_node *node = ff_map_find(&registry->topics, hash, is_named, &name);

    return node ? FF_CONTAINER(node, struct topic, node) : NULL;
}

struct topic *registry_find(const struct registry *registry, struct ff_slice name)
{
    return find_topic(registry, name, hash_of(registry, name));
}

static bool is_idle_named(const void *arg, const struct ff_map_node *node)
{
    const struct ff_slice *name = arg;

    return ff_slice_is_equal(idle_topic_name(FF_CONTAINER_CONST(node, struct idle_topic, node)),
                             *name);
}

static struct idle_topic *find_idle(const struct registry *registry, struct ff_slice name,
                                    uint32_t hash)
{
    struct ff_map_node *node = registry->idle_topics.count
                                   ? ff_map_find(&registry->idle_topics, hash, is_idle_named, &name)
                                   : NULL;

    return node ? FF_CONTAINER(node, struct idle_topic, node) : NULL;
}

struct idle_topic *registry_find_idle(const struct registry *registry, struct ff_slice name)
{
    return find_idle(registry, name, hash_of(registry, name));
}

bool registry_has(const struct registry *registry, struct ff_slice name)
{
    uint32_t hash = hash_of(registry, name);

    return find_topic(registry, name, hash) || find_idle(registry, name, hash);
}

/* NULL: out of memory. */
static struct topic *add_topic(struct registry *registry, struct ff_slice name, bool is_foreign)
{
    struct topic *topic = ff_mem_zalloc(sizeof(*topic) + name.len);

    if (!topic)
        return NULL;
    topic->registry = registry;
    topic->name_len = (uint8_t)name.len;
    topic->is_filter = ff_topic_kind(name) == FF_TOPIC_FILTER;
    topic->is_foreign = is_foreign && !topic->is_filter;
    memcpy(topic->name, name.at, name.len);
    topic->rule = registry_rule(registry, name);
    ff_map_add(&registry->topics, &topic->node, hash_of(registry, name));
    registry->history.unread += !topic->is_filter && !topic->is_foreign;
    return topic;
}

/* Its first subscription comes. False: max_topics of all workers is reached. */
static bool count_read(struct topic *topic)
{
    struct registry *registry = topic->registry;

    if (topic->is_counted || topic->is_filter || topic->is_foreign)
        return true;
    if (!tally_add(&registry->topic_tally, registry->limits.max_topics))
        return false;
    topic->is_counted = true;
    registry->history.unread--;
    if (!topic->was_subscribed)
        history_meet(topic);
    return true;
}

/* Its last one went. */
static void uncount_read(struct topic *topic)
{
    if (!topic->is_counted)
        return;
    topic->is_counted = false;
    tally_take(&topic->registry->topic_tally);
    topic->registry->history.unread++;
}

static enum ff_err make_filter(struct registry *registry, struct ff_slice name,
                               struct topic **topic)
{
    enum ff_err err;

    if (registry->filters.count >= registry->limits.max_filters)
        return FF_ELIMIT;
    *topic = add_topic(registry, name, false);
    if (!*topic)
        return FF_ENOMEM;
    err = filter_tree_add(&registry->filters, *topic);
    if (err) {
        ff_map_remove(&registry->topics, &(*topic)->node);
        ff_mem_free(*topic);
    }
    return err;
}

static struct ff_digest digest_of(const struct registry *registry, struct ff_slice name)
{
    return ff_digest_of(&registry->key, name.at, name.len);
}

/* The one that is remembered. False: none is. */
static bool find_position(const struct registry *registry, struct ff_slice name,
                          struct ff_position *at)
{
    struct ff_digest digest;

    if (!registry->history.positions.count) /* nearly always: then no digest is made */
        return false;
    digest = digest_of(registry, name);
    return positions_find(&registry->history.positions, &digest, at);
}

struct ff_position registry_begin_life(struct registry *registry, struct ff_slice name)
{
    struct ff_position life = {0, 0};

    if (history_is_on(registry, name) && !find_position(registry, name, &life))
        life.epoch = history_new_epoch(&registry->history);
    return life;
}

struct ff_position registry_position(const struct registry *registry, struct ff_slice name)
{
    const struct idle_topic *idle_topic = registry_find_idle(registry, name);
    const struct topic *topic = idle_topic ? NULL : registry_find(registry, name);
    struct ff_position at = {0, 0};

    if (idle_topic)
        return (struct ff_position){idle_topic->epoch, idle_topic->subscription->cursor.offset};
    if (topic)
        return (struct ff_position){topic->epoch, topic->epoch ? topic->offset : 0};
    if (history_is_on(registry, name))
        (void)find_position(registry, name, &at);
    return at;
}

bool registry_forget_position(struct registry *registry, struct ff_slice name)
{
    struct ff_position at;
    struct ff_digest digest;

    if (!registry->history.positions.count)
        return false;
    digest = digest_of(registry, name);
    return positions_take(&registry->history.positions, &digest, &at);
}

/* Its offsets go on there, or nowhere: the position that was remembered is not good any more. */
static void begin_life(struct topic *topic, const struct ff_position *life)
{
    struct registry *registry = topic->registry;
    struct ff_position begun;

    if (!life) {
        begun = registry_begin_life(registry, topic_name(topic));
        life = &begun;
    }
    topic->epoch = life->epoch;
    topic->offset = topic->reported = life->offset;
    topic->was_subscribed |= registry_forget_position(registry, topic_name(topic));
}

static enum ff_err make_name(struct registry *registry, struct ff_slice name, bool is_foreign,
                             const struct ff_position *life, struct topic **topic)
{
    *topic = add_topic(registry, name, is_foreign);
    if (!*topic)
        return FF_ENOMEM;
    if (!is_foreign)
        begin_life(*topic, life);
    return FF_OK;
}

enum ff_err registry_find_expanded(struct registry *registry, struct ff_slice name,
                                   struct topic **topic)
{
    uint32_t hash = hash_of(registry, name);
    struct idle_topic *idle_topic;

    *topic = find_topic(registry, name, hash);
    idle_topic = *topic ? NULL : find_idle(registry, name, hash);
    return idle_topic ? registry_expand(registry, idle_topic, topic) : FF_OK;
}

enum ff_err registry_get(struct registry *registry, struct ff_slice name, enum topic_use use,
                         const struct ff_position *life, struct topic **topic)
{
    enum ff_err err = registry_find_expanded(registry, name, topic);

    if (err)
        return err;
    if (!*topic)
        err = ff_topic_kind(name) == FF_TOPIC_FILTER
                  ? make_filter(registry, name, topic)
                  : make_name(registry, name, use == TOPIC_FOREIGN, life, topic);
    if (err || use != TOPIC_READ || count_read(*topic))
        return err;
    (void)registry_drop_unused(registry, *topic);
    return FF_ELIMIT;
}

static struct idle_topic *make_idle(struct ff_slice name, enum log_kind kind, uint64_t epoch)
{
    struct idle_topic *idle_topic = ff_mem_alloc(sizeof(*idle_topic) + name.len);

    if (!idle_topic)
        return NULL;
    idle_topic->epoch = epoch;
    idle_topic->kind = (uint8_t)kind;
    idle_topic->name_len = (uint8_t)name.len;
    memcpy(idle_topic->name, name.at, name.len);
    return idle_topic;
}

static void add_idle(struct registry *registry, struct idle_topic *idle_topic,
                     struct subscription *s)
{
    idle_topic->subscription = s;
    s->idle_topic = idle_topic;
    s->state = SUBSCRIPTION_IDLE;
    s->zone = ZONE_ACTIVE;
    ff_map_add(&registry->idle_topics, &idle_topic->node,
               hash_of(registry, idle_topic_name(idle_topic)));
}

enum ff_err registry_add_idle(struct registry *registry, struct subscription *s,
                              struct ff_slice name, enum log_kind kind,
                              const struct ff_position *life)
{
    struct idle_topic *idle_topic;

    if (!tally_add(&registry->topic_tally, registry->limits.max_topics))
        return FF_ELIMIT;
    idle_topic = make_idle(name, kind, life->epoch);
    if (!idle_topic) {
        tally_take(&registry->topic_tally);
        return FF_ENOMEM;
    }
    s->cursor = (struct cursor){.byte = LOG_BEGIN, .offset = life->offset};
    add_idle(registry, idle_topic, s);
    (void)registry_forget_position(registry, name);
    return FF_OK;
}

/* A log that begins where its one subscription stands, which then is in its link. */
static bool tie(struct topic *topic, const struct idle_topic *idle_topic)
{
    struct subscription *s = idle_topic->subscription;
    struct topic_log *log;

    topic->epoch = idle_topic->epoch;
    topic->offset = topic->reported = s->cursor.offset;
    log = registry_get_log(topic, (enum log_kind)idle_topic->kind);
    if (!log)
        return false;
    atomic_store_explicit(&log->log.head_byte, s->cursor.byte, memory_order_relaxed);
    log->link.active_needed = s->cursor.byte;
    return link_add(&log->link, s) == FF_OK;
}

/* Nothing has it any more. Its subscriptions, its logs and its links are gone. */
static void free_topic(struct registry *registry, struct topic *topic)
{
    if (topic->is_filter)
        filter_tree_remove(&registry->filters, topic);
    uncount_read(topic);
    registry->history.unread -= !topic->is_filter && !topic->is_foreign;
    history_leave(topic);
    ff_map_remove(&registry->topics, &topic->node);
    ff_list_remove(&topic->idle_candidate);
    ff_mem_free(topic->filters);
    ff_mem_free(topic);
}

/* As if it had not been tried. */
static void undo_expand(struct registry *registry, struct topic *topic,
                        struct idle_topic *idle_topic)
{
    enum log_kind kind = (enum log_kind)idle_topic->kind;

    if (topic->logs[kind])
        registry_drop_log(topic, kind);
    free_topic(registry, topic);
    idle_topic->subscription->idle_topic = idle_topic;
}

enum ff_err registry_expand(struct registry *registry, struct idle_topic *idle_topic,
                            struct topic **topic)
{
    *topic = add_topic(registry, idle_topic_name(idle_topic), false);
    if (!*topic)
        return FF_ENOMEM;
    if (!tie(*topic, idle_topic)) {
        undo_expand(registry, *topic, idle_topic);
        return FF_ENOMEM;
    }
    (*topic)->is_counted = (*topic)->was_subscribed = true; /* it is, as an idle topic already */
    registry->history.unread--;
    ff_map_remove(&registry->idle_topics, &idle_topic->node);
    ff_mem_free(idle_topic);
    return FF_OK;
}

void registry_compact(struct registry *registry, struct topic *topic)
{
    enum log_kind kind = KIND_JSON;
    struct subscription *s;
    struct idle_topic *idle_topic;

    while (kind < KINDS && !topic->logs[kind]) /* it has one, that of its only subscription */
        kind++;
    FF_CHECK(kind < KINDS);
    s = topic->logs[kind]->link.array[0];
    idle_topic = make_idle(topic_name(topic), kind, topic->epoch);
    if (!idle_topic)
        return;
    link_remove(s);
    (void)tally_add(&registry->topic_tally, UINT32_MAX); /* counted on, as an idle one */
    registry_drop_log(topic, kind);
    free_topic(registry, topic);
    add_idle(registry, idle_topic, s);
}

/* Who comes back to a topic that was subscribed to is told what he has missed. */
static void remember(struct registry *registry, struct ff_slice name, struct ff_position at)
{
    struct ff_digest digest;

    if (!at.epoch || !history_is_on(registry, name))
        return;
    digest = digest_of(registry, name);
    positions_keep(&registry->history.positions, &digest, at, history_second(registry));
}

void registry_drop_idle(struct registry *registry, struct idle_topic *idle_topic)
{
    remember(registry, idle_topic_name(idle_topic),
             (struct ff_position){idle_topic->epoch, idle_topic->subscription->cursor.offset});
    idle_topic->subscription->state = SUBSCRIPTION_DETACHED;
    ff_map_remove(&registry->idle_topics, &idle_topic->node);
    ff_mem_free(idle_topic);
    tally_take(&registry->topic_tally);
}

void registry_begin_epoch(struct topic *topic, uint64_t epoch, uint64_t passed)
{
    topic->epoch = epoch;
    topic->leap_from = topic->offset;
    topic->leap_to = topic->offset + passed;
    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i])
            log_begin_epoch(&topic->logs[i]->log, epoch, topic->offset + passed);
}

struct topic_log *registry_get_log(struct topic *topic, enum log_kind kind)
{
    struct topic_log *log = topic->logs[kind];

    if (log)
        return log;
    log = ff_mem_zalloc(sizeof(*log));
    if (!log)
        return NULL;
    log_init(&log->log, topic->offset);
    link_init(&log->link, topic, kind, &log->log);
    if (topic->epoch)
        log_keep(&log->log, &topic->registry->limbo, topic->epoch, history_octets(topic));
    topic->logs[kind] = log;
    return log;
}

void registry_drop_log(struct topic *topic, enum log_kind kind)
{
    struct topic_log *log = topic->logs[kind];

    ff_list_remove(&log->link.turn);
    link_deinit(&log->link);
    log_deinit(&log->log, &topic->registry->limbo);
    ff_mem_free(log);
    topic->logs[kind] = NULL;
}

/* Why a topic stays: it has a log, or this worker reads one of another worker's. */
static bool has_reason_to_stay(const struct topic *topic)
{
    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i])
            return true;
    return topic->remotes;
}

bool registry_drop_unused(struct registry *registry, struct topic *topic)
{
    bool is_read = false;

    for (int i = 0; i < KINDS; i++) {
        struct topic_log *log = topic->logs[i];

        is_read |= log && topic_log_is_read(log);
        if (log && !topic_log_is_read(log) && !topic_log_is_needed(log))
            registry_drop_log(topic, (enum log_kind)i);
    }
    if (!is_read)
        uncount_read(topic);
    if (has_reason_to_stay(topic))
        return false;
    if (topic->was_subscribed)
        remember(registry, topic_name(topic), (struct ff_position){topic->epoch, topic->offset});
    free_topic(registry, topic);
    return true;
}

uint32_t registry_match(struct registry *registry, struct topic *topic, struct ff_slice name,
                        struct topic ***filters)
{
    struct filter_tree *tree = &registry->filters;
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
