/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.c - windows, the budget, and where a reader of the past begins.
 *
 * What is over a window is trimmed as everything else is: the topic's links are
 * touched, and the end of the turn does it (router.c, trim_log). The timer of a topic
 * stands for its oldest messages, and is set anew about once a window.
 */
#include "broker/topic/history.h"

#include <sys/random.h>

#include "broker/topic/past.h"
#include "broker/topic/place.h"
#include "broker/topic/router.h"

enum {
    RECENT_TICKS = WHEEL_TICKS_A_SECOND, /* the order of topics is right to a second */
    EXPIRED_AT_ONCE = 10000,             /* positions in one turn */
    POSITION_COSTS = 64,                 /* octets, with its bucket: positions.h */
    POSITIONS_PART = 4,                  /* the part of the budget that positions may take */
};

void history_init(struct history *history)
{
    *history = (struct history){.unread = 0};
    positions_init(&history->positions);
    ff_list_init(&history->strangers);
    ff_list_init(&history->acquaintances);
}

void history_deinit(struct history *history)
{
    positions_deinit(&history->positions);
}

uint64_t history_new_epoch(struct history *history)
{
    uint64_t epoch = 0;

    while (epoch == 0) {
        if (history->drawn == 0) {
            ssize_t got = getrandom(history->random, sizeof(history->random), 0);

            FF_CHECK(got == (ssize_t)sizeof(history->random)); /* up to 256 octets it cannot fail */
            history->drawn = HISTORY_DRAWN;
        }
        epoch = history->random[--history->drawn];
    }
    return epoch;
}

uint32_t history_second(const struct registry *registry)
{
    return (uint32_t)(*registry->wheel->now_ms / 1000);
}

/* A rule's own value, or what holds where it says none. */
static uint32_t choose(uint32_t of_rule, uint32_t preset)
{
    return of_rule == RULE_DEFAULT ? preset : of_rule;
}

static const struct history_limits *limits_of(const struct topic *topic)
{
    return &topic->registry->limits.history;
}

bool history_is_on(const struct registry *registry, struct ff_slice name)
{
    return history_limits_for(registry, name).messages > 0;
}

struct history_limits history_limits_for(const struct registry *registry, struct ff_slice name)
{
    const struct topic_rule *rule = registry_rule(registry, name);
    struct history_limits limits = registry->limits.history;

    limits.messages = ff_topic_is_reserved(name) ? 0 : choose(rule->history, limits.messages);
    limits.octets = choose(rule->history_bytes, limits.octets);
    limits.seconds = choose(rule->history_seconds, limits.seconds);
    return limits;
}

uint32_t history_octets(const struct topic *topic)
{
    return choose(topic->rule->history_bytes, limits_of(topic)->octets);
}

static uint32_t seconds_of(const struct topic *topic)
{
    return choose(topic->rule->history_seconds, limits_of(topic)->seconds);
}

/* The offset before the newest so many messages; those before a leap count on. */
static uint64_t go_back(const struct topic *topic, uint64_t messages)
{
    uint64_t before = log_before(topic->offset, messages);

    return before < topic->leap_to
               ? log_before(topic->leap_from, messages - (topic->offset - topic->leap_to))
               : before;
}

struct log_window history_window(const struct topic *topic, const struct log *log)
{
    uint32_t messages = choose(topic->rule->history, limits_of(topic)->messages);
    uint64_t oldest = go_back(topic, messages);

    return (struct log_window){
        .byte = log_before(log_head_byte(log), history_octets(topic)),
        .offset = oldest > topic->floor ? oldest : topic->floor,
        .tick = wheel_now(topic->registry->wheel) - seconds_of(topic) * WHEEL_TICKS_A_SECOND,
    };
}

static struct router *router_of(const struct topic *topic)
{
    return FF_CONTAINER(topic->registry, struct router, registry);
}

static void touch_kept_logs(struct topic *topic)
{
    for (int i = 0; i < KINDS; i++)
        if (topic->logs[i] && topic->logs[i]->log.is_kept)
            router_touch_link(router_of(topic), &topic->logs[i]->link);
}

/* What is too old goes when the turn ends, and the timer is set anew then. */
static void on_expiry(struct wheel_timer *timer)
{
    touch_kept_logs(FF_CONTAINER(timer, struct topic, expiry));
}

/* When the oldest segment of its logs will hold nothing that is young enough; false: never. */
static bool find_due(const struct topic *topic, uint32_t *wait_ticks)
{
    uint32_t now = wheel_now(topic->registry->wheel);
    uint32_t most = seconds_of(topic) * WHEEL_TICKS_A_SECOND;
    bool is_found = false;

    for (int i = 0; i < KINDS; i++) {
        const struct log *log = topic->logs[i] ? &topic->logs[i]->log : NULL;
        const struct segment *first =
            log && log->is_kept ? atomic_load_explicit(&log->first, memory_order_relaxed) : NULL;
        uint32_t count = first ? atomic_load_explicit(&first->count, memory_order_relaxed) : 0;
        uint32_t age = count ? now - segment_entry(first, count - 1)->tick : 0;
        uint32_t wait = age < most ? most - age : 0;

        if (!count || (is_found && wait >= *wait_ticks))
            continue;
        *wait_ticks = wait;
        is_found = true;
    }
    return is_found;
}

void history_rearm(struct topic *topic)
{
    uint32_t wait_ticks;

    if (!wheel_is_set(&topic->expiry) && find_due(topic, &wait_ticks)) {
        if (!topic->expiry.fire)
            wheel_timer_init(&topic->expiry, on_expiry);
        wheel_set(topic->registry->wheel, &topic->expiry, (wait_ticks + 1ULL) * WHEEL_TICK_MS);
    }
}

void history_note(struct topic *topic)
{
    struct history *history = &topic->registry->history;
    uint32_t now = wheel_now(topic->registry->wheel);

    if (ff_list_is_in(&topic->recent)) {
        if (now - topic->recent_at < RECENT_TICKS)
            return;
        ff_list_remove(&topic->recent);
    }
    topic->recent_at = now;
    ff_list_append(topic->was_subscribed ? &history->acquaintances : &history->strangers,
                   &topic->recent);
    history_rearm(topic);
}

void history_meet(struct topic *topic)
{
    topic->was_subscribed = true;
    if (!ff_list_is_in(&topic->recent))
        return;
    ff_list_remove(&topic->recent); /* it may be younger than others: that is to its good */
    ff_list_append(&topic->registry->history.acquaintances, &topic->recent);
}

void history_leave(struct topic *topic)
{
    wheel_stop(topic->registry->wheel, &topic->expiry);
    ff_list_remove(&topic->recent);
}

/* Copies of retained messages in other kinds take nothing from the windows. */
static uint64_t used(const struct registry *registry)
{
    uint64_t retained = registry->limbo.retained_bytes;
    uint64_t most = registry->limits.history.memory / RETAINED_PART;

    return registry->limbo.kept_bytes + (retained < most ? retained : most) +
           positions_size(&registry->history.positions) +
           (uint64_t)registry->history.unread * TOPIC_COSTS;
}

/* What it keeps for nobody but those who may come. */
static void forget_messages(struct router *router, struct topic *topic)
{
    topic->floor = topic->offset;
    history_leave(topic);
    router_trim_kept(router, topic);
}

/* One by one, those that were kept first: who leaves ever new names takes no message from others.
 */
static void enforce_part(struct positions *positions, uint64_t most)
{
    while (positions->count &&
           ((uint64_t)positions->count * POSITION_COSTS > most / POSITIONS_PART ||
            positions_size(positions) > most)) /* a single chunk is too much: none, then */
        positions_forget(positions);
}

void history_enforce(struct router *router)
{
    struct registry *registry = &router->registry;
    struct history *history = &registry->history;
    uint64_t most = registry->limits.history.memory;

    enforce_part(&history->positions, most);
    while (used(registry) > most) {
        struct ff_list *list =
            !ff_list_is_empty(&history->strangers) ? &history->strangers : &history->acquaintances;

        if (ff_list_is_empty(list))
            return; /* the rest is what readers need */
        forget_messages(router, FF_CONTAINER(list->next, struct topic, recent));
    }
}

bool history_expire(struct router *router)
{
    return positions_expire(&router->registry.history.positions, history_second(&router->registry),
                            router->registry.limits.history.position_seconds, EXPIRED_AT_ONCE);
}

struct ff_position history_first(const struct history_start *start)
{
    struct ff_position first = start->at;

    if (first.epoch && start->retained)
        first.offset = start->retained - 1;
    return first;
}

/* Behind the hole that it lies within: who was there before has seen a part of what that tells. */
static uint64_t pass_hole(const struct log *log, uint64_t offset)
{
    struct log_view view = log_look(log);
    struct place place = place_after(&view, offset);
    uint64_t count;

    if (!place.segment || !place_is_hole(&place))
        return offset;
    count = place_entry(&place)->passed - segment_passed(place.segment, place.i);
    return offset > place_offset(&place) - count ? place_offset(&place) : offset;
}

/* Among what is kept: from `oldest` on, and a retained message before that (0: there is none). */
static void choose_start(const struct topic *topic, const struct log *log,
                         const struct ff_since *since, uint64_t oldest, uint64_t retained,
                         struct history_start *start)
{
    uint64_t asked = since->position.offset;

    if (!since->is_position) {
        uint64_t first =
            topic ? go_back(topic, since->count) : log_before(start->head, since->count);

        start->retained = start->head - oldest < since->count ? retained : 0;
        start->at.offset = first > oldest ? first : oldest;
        if (log)
            start->at.offset = pass_hole(log, start->at.offset);
        return;
    }
    if (since->position.epoch != start->at.epoch || asked > start->head) {
        start->is_lost = true;
        return;
    }
    start->at.offset = asked > oldest ? asked : oldest;
    if (log)
        start->at.offset = pass_hole(log, start->at.offset);
    start->retained = asked < retained ? retained : 0;
    start->missing = history_first(start).offset - asked;
    start->is_lost = topic && asked < topic->leap_to &&
                     history_first(start).offset > topic->leap_from && start->missing;
    start->is_recovered =
        start->missing == 0 && (!start->retained || start->retained == start->at.offset);
}

/* The retained message's offset where one may be wanted; 0: there is none. */
static uint64_t find_retained(const struct topic *topic, const struct ff_since *since)
{
    return topic && topic->has_retained && since && (since->is_position || since->count)
               ? topic_retained(topic)->offset + 1
               : 0;
}

uint64_t history_oldest(const struct topic *topic, const struct log *log)
{
    struct log_window window = history_window(topic, log);
    struct log_view view = log_look(log);

    return view_window_offset(&view, &window);
}

enum ff_err history_find_start(struct router *router, struct ff_slice name, enum log_kind kind,
                               const struct ff_since *since, struct history_start *start)
{
    struct registry *registry = &router->registry;
    struct topic *topic = registry_find(registry, name);
    uint64_t retained = find_retained(topic, since);

    *start = (struct history_start){.at = registry_position(registry, name)};
    if (!start->at.epoch && !registry_has(registry, name))
        start->at = registry_begin_life(registry, name);
    start->head = start->at.offset;
    if (!start->at.epoch) {
        start->retained = retained; /* without history it comes first, whatever was asked for */
    } else if (since) {
        const struct topic_log *log = topic ? past_get_log(router, topic, kind) : NULL;
        uint64_t oldest = log ? history_oldest(topic, &log->log) : start->head;

        if (topic && !log)
            return FF_ENOMEM;
        choose_start(topic, log ? &log->log : NULL, since, oldest,
                     retained <= oldest ? retained : 0, start);
    }
    return !start->retained || past_get_retained(router, topic, kind) ? FF_OK : FF_ENOMEM;
}
