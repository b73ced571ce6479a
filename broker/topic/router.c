/* SPDX-License-Identifier: Apache-2.0 */
/*
 * router.c - subscribing, and the two ends of a turn. router_mark_ready() offers
 * what is new to the active subscriptions of each link that this turn touched;
 * router_trim() brings `needed` up to date and frees what nobody needs, and, where
 * memory is short, what somebody does. Publishing itself is in publication.c.
 */
#include "broker/topic/router.h"

#include "broker/topic/heard.h"
#include "broker/topic/past.h"
#include "broker/topic/rate.h"
#include "protocol/base/mem.h"
#include "protocol/message/transcode.h"

enum {
    QUOTED_MOST = 8,  /* times its octets a text has as a JSON string, beside what is quoted */
    PATIENCE = 4,     /* times max_buffered a log may hold for who has not had its turn */
    YOUNG_TICKS = 10, /* 100 ms: who reads has read it by then */
    IDLE_TICKS = 10 * WHEEL_TICKS_A_SECOND, /* without a message: then a topic is compacted */
};

enum ff_err router_init(struct router *router, const struct router_env *env,
                        const struct router_limits *limits)
{
    enum ff_err err;

    *router = (struct router){
        .wheel = env->wheel, .now_ms = env->now_ms, .ops = env->ops, .arg = env->arg};
    ff_list_init(&router->turn);
    ff_list_init(&router->watched);
    ff_list_init(&router->too_slow);
    router->pins = (struct pin_evictor){.evict = env->ops->evict, .arg = env->arg};
    ff_list_init(&router->pins.all);
    ff_list_init(&router->idle_candidates);
    packer_init(&router->packer);
    err =
        registry_init(&router->registry, &(struct registry_env){.key = env->key,
                                                                .pool = env->pool,
                                                                .budget = env->budget,
                                                                .qsbr = env->qsbr,
                                                                .wheel = env->wheel,
                                                                .all_topics = env->all_topics,
                                                                .all_retained = env->all_retained});
    if (!err)
        router_configure(router, limits, NULL, 0);
    return err;
}

void router_deinit(struct router *router)
{
    registry_deinit(&router->registry);
    heard_free(router->heard);
    router->heard = NULL;
    packer_deinit(&router->packer);
    for (int i = 0; i < KINDS; i++)
        ff_buf_deinit(&router->payload_bufs[i]);
}

void router_configure(struct router *router, const struct router_limits *limits,
                      const struct topic_rule *rules, uint32_t rule_count)
{
    uint64_t most;

    registry_configure(&router->registry, limits, rules, rule_count);
    packer_configure(&router->packer, &limits->packing);
    most = ff_transcode_most(router->registry.max_message_ever);
    if (most < ROUTER_OWN_MOST) /* else its size would keep a report from all who listen */
        most = ROUTER_OWN_MOST;
    for (int i = 0; i < KINDS; i++)
        router->payload_bufs[i].max = most * (i == KIND_TEXT ? QUOTED_MOST : 1);
    for (int i = 0; i < KINDS; i++)
        if (log_kinds[i].plain != (enum log_kind)i)
            router->payload_bufs[i].max = PACKER_MOST + FF_FRAME_HEAD_MAX;
}

static void count_readers(const struct topic *topic, uint32_t *receivers, uint64_t *buffered)
{
    uint64_t behind = topic_buffered(topic);

    *receivers += topic_subscribers(topic);
    if (behind > *buffered)
        *buffered = behind;
}

uint32_t router_receivers(struct router *router, struct ff_slice name, uint64_t *buffered)
{
    struct topic *topic = registry_find(&router->registry, name);
    struct topic **filters;
    uint32_t count = registry_match(&router->registry, topic, name, &filters);
    uint32_t receivers = !topic && registry_find_idle(&router->registry, name);

    *buffered = 0;
    if (topic)
        count_readers(topic, &receivers, buffered);
    for (uint32_t i = 0; i < count; i++)
        count_readers(filters[i], &receivers, buffered);
    return receivers;
}

struct topic *router_find(const struct router *router, struct ff_slice name)
{
    return registry_find(&router->registry, name);
}

struct topic *router_topic_of(const struct subscription *s)
{
    return s->link->topic;
}

void router_touch_link(struct router *router, struct link *link)
{
    if (!ff_list_is_in(&link->turn))
        ff_list_append(&router->turn, &link->turn);
}

void router_touch(struct router *router, struct subscription *s)
{
    router_touch_link(router, s->link);
}

enum ff_err router_subscribe(struct router *router, struct subscription *s, struct ff_slice name,
                             enum log_kind kind)
{
    return router_subscribe_at(router, s, name, kind, NULL);
}

void router_place(struct cursor *cursor, uint64_t *asked_byte, const struct log *log,
                  const struct history_start *start)
{
    struct log_view view = log_look(log);

    if (start && start->at.epoch)
        (void)cursor_to_offset(cursor, &view, start->at.offset);
    else
        cursor_to_head(cursor, &view);
    if (start && start->retained)
        cursor_to_retained(cursor, start->retained);
    *asked_byte = view.head_byte;
}

enum ff_err router_subscribe_at(struct router *router, struct subscription *s, struct ff_slice name,
                                enum log_kind kind, const struct history_start *start)
{
    struct registry *registry = &router->registry;
    struct ff_position life;
    struct topic_log *log;
    struct topic *topic;
    enum ff_err err;

    if (!s->rate && ff_topic_kind(name) == FF_TOPIC_NAME && !registry_has(registry, name)) {
        life = start ? start->at : registry_begin_life(registry, name);
        return registry_add_idle(registry, s, name, kind, &life);
    }
    err = registry_get(registry, name, TOPIC_READ, start ? &start->at : NULL, &topic);
    if (err)
        return err;
    log = past_get_log(router, topic, kind);
    err = FF_ENOMEM;
    if (log) {
        router_place(&s->cursor, &s->asked_byte, &log->log, start);
        err = link_add(&log->link, s);
    }
    if (err)
        (void)registry_drop_unused(&router->registry, topic);
    return err;
}

enum ff_err router_expand(struct router *router, struct subscription *s)
{
    struct topic *topic;

    return s->state == SUBSCRIPTION_IDLE ? registry_expand(&router->registry, s->idle_topic, &topic)
                                         : FF_OK;
}

void router_drop_unused(struct router *router, struct topic *topic)
{
    if (registry_drop_unused(&router->registry, topic))
        return;
    /* What is left may be one subscription, of another kind: then the topic may be idle. */
    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i])
            router_touch_link(router, &topic->logs[i]->link);
}

void router_unsubscribe(struct router *router, struct subscription *s)
{
    struct link *link = s->link;

    if (s->state == SUBSCRIPTION_IDLE) {
        registry_drop_idle(&router->registry, s->idle_topic);
        return;
    }
    link_remove(s);
    rate_free(s);
    router_touch_link(router, link);
    if (link->is_remote)
        remote_note_count(link_remote(link));
    else
        router_drop_unused(router, link->topic);
}

/* How long the oldest segment must have been there to be cut at this level. */
static uint32_t oldest_enough(enum ff_memory_level level)
{
    return level == FF_MEMORY_TIGHT ? YOUNG_TICKS : 1;
}

/*
 * Where memory is short the oldest segments of all logs are cut, whoever needs
 * them: their readers are told by GAPs. What has just been published stays, so
 * that who reads at once loses nothing.
 */
void router_trim_for_memory(struct router *router, size_t wanted)
{
    struct limbo *limbo = &router->registry.limbo;
    enum ff_memory_level level = limbo->budget ? ff_budget_level(limbo->budget) : FF_MEMORY_FREE;
    uint32_t now = wheel_now(router->wheel);
    uint64_t excess;

    if (level == FF_MEMORY_FREE && (!wanted || limbo_has_room(limbo, wanted)))
        return;
    excess = ff_budget_excess(limbo->budget, wanted);
    for (uint64_t freed = limbo->bytes; freed < excess && !ff_list_is_empty(&limbo->live);) {
        struct segment *oldest = FF_CONTAINER(limbo->live.next, struct segment, live);
        struct topic_log *log = FF_CONTAINER(oldest->log, struct topic_log, log);

        if (now - oldest->begun_at < oldest_enough(wanted ? FF_MEMORY_FULL : level))
            return;
        freed += segment_size(oldest);
        log_cut(&log->log, limbo);
        log->link.is_trimmed = true;
        router_touch_link(router, &log->link);
    }
}

/* Where cutting logs was not enough, connections let go of what they hold back. */
static void relieve_of_pins(struct router *router)
{
    struct limbo *limbo = &router->registry.limbo;

    if (limbo->budget && !ff_list_is_empty(&router->pins.all) &&
        ff_budget_level(limbo->budget) >= FF_MEMORY_FULL)
        pins_relieve(&router->pins, ff_budget_used(limbo->budget) - limbo->budget->max);
}

void router_ready(struct router *router, struct subscription *s)
{
    /* A rated one with a full socket holds nothing back: the newest is enough. */
    if (!router->ops->ready(router->arg, s))
        link_move(s, subscription_is_rated(s) ? ZONE_TIMED : ZONE_WAITING);
}

void router_tell_skipped(struct router *router, struct subscription *s, uint64_t count)
{
    router->ops->skipped(router->arg, s, count);
}

void router_offer(struct router *router, struct subscription *s)
{
    /* One that looked at another worker's log by itself may know already what it is told now. */
    if (!link_is_at_head(s) && (!subscription_is_rated(s) || rate_admit(s)))
        router_ready(router, s);
}

void router_hold(struct subscription *s)
{
    if (s->state == SUBSCRIPTION_LINKED && s->zone == ZONE_ACTIVE)
        link_move(s, ZONE_WAITING);
}

void router_release(struct router *router, struct subscription *s)
{
    if (s->state != SUBSCRIPTION_LINKED)
        return;
    if (s->zone == ZONE_WAITING && !link_is_pending(s))
        link_move(s, ZONE_ACTIVE);
    if (s->zone == ZONE_ACTIVE)
        router_offer(router, s);
}

void router_note_log_change(struct router *router, struct remote_link *remote)
{
    struct link *link = &remote->link;

    link->is_dirty |= log_look(link->log).head_byte != remote->offered_head;
    link->is_trimmed = true; /* perhaps: only those with the rule `close` are compared */
    router_touch_link(router, link);
}

static void offer_all(struct router *router, struct link *link)
{
    uint32_t i = 0;

    while (i < link->counts[ZONE_ACTIVE]) {
        struct subscription *s = link->array[i];

        router_offer(router, s);
        if (s->zone == ZONE_ACTIVE) /* else another one took its place */
            i++;
    }
}

/* The workers that have subscriptions on a log of ours. */
static void notify_remotes(const struct topic_log *log)
{
    for (struct remote_link *remote = log->remotes; remote; remote = remote->next_of_log)
        remote_notify(remote);
}

void router_mark_ready(struct router *router)
{
    struct ff_list *node;

    for (node = router->turn.next; node != &router->turn; node = node->next) {
        struct link *link = FF_CONTAINER(node, struct link, turn);

        if (!link->is_dirty)
            continue;
        link->is_dirty = false;
        if (link->is_remote)
            link_remote(link)->offered_head = log_look(link->log).head_byte;
        else
            notify_remotes(link_topic_log(link));
        offer_all(router, link);
    }
}

/* Notes the waiting subscriptions with the rule `close` that are too far behind. */
static void find_too_slow(struct router *router, struct link *link)
{
    struct log_view view = log_look(link->log);
    uint64_t most = registry_max_buffered(&router->registry, link->topic);
    uint32_t begin = link->counts[ZONE_ACTIVE];

    for (uint32_t i = begin; i < begin + link->counts[ZONE_WAITING]; i++) {
        struct subscription *s = link->array[i];

        if (!subscription_is_too_slow(s, &view, most))
            continue;
        link_set_pending(s, NULL);
        link_set_pending(s, &router->too_slow);
    }
}

/* Their sessions end, and what they were subscribed to may go: no link is walked now. */
static void end_too_slow(struct router *router)
{
    while (!ff_list_is_empty(&router->too_slow)) {
        struct subscription *s = FF_CONTAINER(router->too_slow.next, struct subscription, pending);

        link_set_pending(s, NULL);
        router->ops->overrun(router->arg, s);
    }
}

/* An idle topic is looked at again after a while. */
static void note_idle(struct router *router, struct topic *topic)
{
    if (ff_list_is_in(&topic->idle_candidate) || !topic_is_idle(topic))
        return;
    topic->candidate_offset = topic->offset;
    topic->candidate_at = wheel_now(router->wheel);
    ff_list_append(&router->idle_candidates, &topic->idle_candidate);
}

bool router_release_idle(struct router *router)
{
    struct registry *registry = &router->registry;
    uint32_t now = wheel_now(router->wheel);

    for (uint32_t i = 0; !ff_list_is_empty(&router->idle_candidates); i++) {
        struct topic *topic =
            FF_CONTAINER(router->idle_candidates.next, struct topic, idle_candidate);

        if (now - topic->candidate_at < IDLE_TICKS)
            return false;
        if (i == ROUTER_IDLE_TOPICS)
            return true;
        ff_list_remove(&topic->idle_candidate);
        if (topic->candidate_offset == topic->offset && topic_is_idle(topic))
            registry_compact(registry, topic);
        else
            note_idle(router, topic);
    }
    return false;
}

/* What connections hold back of a log must not be more than may be. */
static void enforce_pin_budget(struct router *router, struct link *link,
                               const struct log_view *view)
{
    if (link->pins)
        pins_enforce(link->pins, &router->pins, log_retained(link->log), view_tail_byte(view),
                     registry_max_pinned(&router->registry));
}

/*
 * Below which byte a log is freed whether it is needed or not. Subscriptions
 * whose sockets are not full (the lowest of them at `active`) have not had their
 * turn yet: for them it is kept a while longer, however much came within one turn.
 */
static uint64_t choose_limit(uint64_t head, uint64_t max_buffered, uint64_t active)
{
    uint64_t limit = log_before(head, max_buffered);
    uint64_t patient = log_before(head, PATIENCE * max_buffered);

    if (active < limit)
        limit = active > patient ? active : patient;
    return limit;
}

/* What neither readers nor history need any more is freed; who lost something by it is told. */
static void trim_read(struct router *router, struct link *link)
{
    struct topic_log *log = link_topic_log(link);
    struct log_window window;
    struct log_view view = log_look(&log->log);
    uint64_t needed = link_update_needed(link, &view, view.head_byte);
    uint64_t active = link_active_needed(link);
    uint64_t least = remote_needed(log->remotes, &active);

    if (least > needed)
        least = needed;
    if (log->log.is_kept)
        window = history_window(link->topic, &log->log);
    if (log_trim(&log->log, &router->registry.limbo, least,
                 choose_limit(view.head_byte, registry_max_buffered(&router->registry, link->topic),
                              active),
                 log->log.is_kept ? &window : NULL))
        link->is_trimmed |= log_tail_byte(&log->log) > least;
    if (link->is_trimmed)
        notify_remotes(log);
    view = log_look(&log->log);
    enforce_pin_budget(router, link, &view);
}

/* False: the log is gone, and perhaps its topic. */
static bool trim_log(struct router *router, struct link *link)
{
    struct topic_log *log = link_topic_log(link);
    struct topic *topic = link->topic;

    trim_read(router, link);
    if (!topic_log_is_read(log) && !topic_log_is_needed(log)) {
        router_drop_unused(router, topic);
        return false;
    }
    if (log->log.is_kept)
        history_rearm(topic);
    note_idle(router, topic);
    return true;
}

void router_trim_kept(struct router *router, struct topic *topic)
{
    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i] && topic->logs[i]->log.is_kept)
            trim_read(router, &topic->logs[i]->link);
    router_drop_unused(router, topic);
}

/* What another worker's log keeps for us. */
static void publish_needed(struct router *router, struct remote_link *remote)
{
    struct log_view view;

    if (remote->state != REMOTE_LINKED)
        return;
    view = log_look(remote->link.log);
    enforce_pin_budget(router, &remote->link, &view);
    remote_publish_needed(remote, &view);
}

void router_close_too_slow(struct router *router)
{
    struct ff_list all;
    struct ff_list *node;

    ff_list_init(&all);
    while ((node = ff_list_pop(&router->watched)))
        ff_list_append(&all, node);
    while ((node = ff_list_pop(&all))) {
        struct link *link = FF_CONTAINER(node, struct link, watched);

        if (link->close_rule_waiting == 0)
            continue;
        ff_list_append(&router->watched, node);
        find_too_slow(router, link);
    }
    end_too_slow(router);
}

bool router_trim(struct router *router)
{
    struct ff_list dirty;
    struct ff_list *node;
    bool is_dirty = false;

    router_trim_for_memory(router, 0);
    relieve_of_pins(router);
    if (!limbo_is_empty(&router->registry.limbo))
        limbo_sweep(&router->registry.limbo);
    ff_list_init(&dirty);
    while ((node = ff_list_pop(&router->turn))) {
        struct link *link = FF_CONTAINER(node, struct link, turn);
        bool is_trimmed;

        if (link->is_remote)
            publish_needed(router, link_remote(link));
        else if (!trim_log(router, link))
            continue;
        /* One that is behind is not met again before it was sent something: then it is touched. */
        is_dirty |= link->is_dirty;
        if (link->is_dirty)
            ff_list_append(&dirty, &link->turn);
        is_trimmed = link->is_trimmed;
        link->is_trimmed = false;
        if (link->close_rule_waiting && !ff_list_is_in(&link->watched))
            ff_list_append(&router->watched, &link->watched);
        if (is_trimmed && link->close_rule_waiting)
            find_too_slow(router, link);
    }
    while ((node = ff_list_pop(&dirty)))
        ff_list_append(&router->turn, node);
    end_too_slow(router);
    history_enforce(router);
    return is_dirty;
}
