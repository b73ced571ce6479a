/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publication.c - from a published message to the frames in its logs.
 *
 * A message goes into the logs of its topic and of all filters that match: into
 * all of them or, on failure, into none. First room is reserved everywhere, then
 * the frames are written and committed. A payload is rewritten for another
 * kind once, when a log of it is met first. A message for the log of a deflated kind
 * is compressed once, before room is reserved; only a topic itself has such logs, no
 * filter (kind.h). A hole, which stands for messages that nobody has, goes the same way.
 */
#include "broker/topic/publication.h"

#include "broker/net/loop.h"
#include "broker/topic/heard.h"
#include "broker/topic/past.h"
#include "broker/topic/retained.h"
#include "broker/topic/router.h"
#include "protocol/message/transcode.h"

enum { OLDEST_MS = 24 * 24 * 3600 * 1000U /* log.c, is_older() */ };

/* What is on its way into the logs: a publication, or a hole. */
struct rendering {
    const struct publication *p;
    const struct hole *hole;     /* NULL: `p` */
    bool is_retained;            /* by its topic */
    struct ff_position position; /* epoch 0: its topic keeps no history */
    struct log_stamp stamp;
    struct ff_payload payloads[KINDS];
    bool is_made[KINDS];
    struct ff_slice packed[KINDS]; /* compressed frames, */
    bool is_packed[KINDS];         /* where it does not go as it is, */
    bool is_judged[KINDS];         /* which is known */
};

/* What is not made stays as it is: to empty it all would cost each publish. */
static void begin(struct rendering *r, const struct publication *p, const struct hole *hole)
{
    r->p = p;
    r->hole = hole;
    r->is_retained = false;
    r->position = (struct ff_position){0, 0};
    memset(r->is_made, 0, sizeof(r->is_made));
    memset(r->is_packed, 0, sizeof(r->is_packed));
    memset(r->is_judged, 0, sizeof(r->is_judged));
}

/* The kind of log in which a message is kept. */
static enum log_kind kind_of_payload(const struct ff_payload *payload)
{
    return payload->kind == FF_PAYLOAD_MSGPACK ? KIND_MSGPACK : KIND_JSON;
}

/* The payload in an encoding, made once. */
static enum ff_err transcode(struct router *router, struct rendering *r, enum ff_encoding encoding)
{
    enum log_kind kind = kind_of(encoding);
    enum ff_err err;

    if (r->is_made[kind])
        return FF_OK;
    r->payloads[kind] = r->p->payload;
    err = ff_transcode(&r->payloads[kind], encoding, &router->payload_bufs[kind]);
    r->is_made[kind] = !err; /* where memory was short it is tried again */
    return err;
}

/* What the logs of a kind hold of the message, made once, however many there are. */
static enum ff_err render(struct router *router, struct rendering *r, enum log_kind kind)
{
    enum log_kind plain = log_kinds[kind].plain;
    enum ff_encoding encoding = log_kinds[kind].encoding;
    enum ff_err err;

    if (r->is_made[kind] || r->hole)
        return FF_OK;
    err = transcode(router, r, encoding);
    if (err)
        return err;
    if (!r->is_made[plain]) {
        r->payloads[plain] = r->payloads[kind_of(encoding)];
        err = log_kinds[plain].render(&r->payloads[plain], &router->payload_bufs[plain]);
        r->is_made[plain] = !err;
    }
    if (kind != plain) {
        r->payloads[kind] = r->payloads[plain];
        r->is_made[kind] = !err;
    }
    return err;
}

enum ff_err publication_render(struct router *router, struct ff_payload *payload,
                               enum log_kind kind)
{
    const struct publication p = {.payload = *payload};
    struct rendering r;
    enum ff_err err;

    begin(&r, &p, NULL);
    err = render(router, &r, kind);
    if (!err)
        *payload = r.payloads[kind];
    return err;
}

static struct ff_delivery delivery_for(const struct rendering *r, const struct topic *to,
                                       enum log_kind kind)
{
    return (struct ff_delivery){
        .topic = r->p->topic,
        .filter = to->is_filter ? topic_name(to) : (struct ff_slice){NULL, 0},
        .payload = r->payloads[kind],
        .offset = r->position.offset,
        .epoch = to->is_filter ? r->position.epoch : 0,
    };
}

/* The message as a frame in the packer. False: memory is short. */
static bool write_plain(struct packer *packer, enum log_kind kind,
                        const struct ff_delivery *delivery, size_t size)
{
    packer->plain.len = 0;
    if (ff_buf_reserve(&packer->plain, size))
        return false;
    log_kinds[kind].write((uint8_t *)packer->plain.data, delivery, size);
    packer->plain.len = size;
    return true;
}

/* For a log of a deflated kind: is it worth it to compress the message? Then that is done. */
static void pack(struct router *router, struct rendering *r, const struct topic *to,
                 enum log_kind kind)
{
    struct packer *packer = &router->packer;
    struct ff_delivery delivery;
    size_t size;

    if (log_kinds[kind].plain == kind || r->is_judged[kind] || r->hole)
        return;
    FF_CHECK(!to->is_filter); /* a frame through a filter would be another one */
    r->is_judged[kind] = true;
    delivery = delivery_for(r, to, kind);
    size = log_kinds[kind].measure(&delivery);
    r->is_packed[kind] = packer_is_worth(packer, size, topic_log_receivers(to->logs[kind])) &&
                         write_plain(packer, kind, &delivery, size) &&
                         packer_run(packer, &router->payload_bufs[kind], &r->packed[kind]);
}

/* Holes are rare: they are rendered to be measured, and again to be written. */
static size_t render_hole(const struct rendering *r, const struct topic *to, enum log_kind kind,
                          char out[GAP_MAX])
{
    struct gap gap = {.topic = topic_name(to), .cause = r->hole->cause, .skipped = r->hole->count};

    if (r->position.epoch && !to->is_filter) {
        gap.from = r->position.offset;
        gap.to = r->position.offset + r->hole->count - 1;
        gap.epoch = r->position.epoch;
        gap.offset = gap.to + 1;
    }
    if (r->hole->is_uncounted)
        gap.skipped = gap.from = gap.to = 0;
    if (r->hole->epoch) {
        gap.skipped = 0;
        gap.from = r->hole->from;
        gap.to = r->hole->to;
        gap.epoch = to->is_filter ? 0 : r->hole->epoch;
    }
    return kind_write_gap(kind, &gap, out);
}

static enum ff_err reserve_in(struct router *router, const struct rendering *r,
                              const struct topic *to, enum log_kind kind)
{
    struct limbo *limbo = &router->registry.limbo;
    struct log *log = &to->logs[kind]->log;
    struct ff_delivery delivery = delivery_for(r, to, kind);
    char gap[GAP_MAX];
    size_t size;
    enum ff_err err;

    if (r->hole)
        return log_reserve_hole(log, limbo, render_hole(r, to, kind, gap));
    size = r->is_packed[kind] ? r->packed[kind].len : log_kinds[kind].measure(&delivery);
    err = log_reserve(log, limbo, size);
    if (err || !r->is_retained || to->is_filter || kind != kind_of_payload(&r->p->payload))
        return err;
    return retained_has_room(to, size) ? log_reserve_retained(log, limbo, size) : FF_ELIMIT;
}

/* Room in all logs of one topic or filter. */
static enum ff_err reserve(struct router *router, struct rendering *r, struct topic *to)
{
    for (int i = 0; i < KINDS; i++) {
        enum ff_err err;

        if (!to->logs[i])
            continue;
        err = render(router, r, (enum log_kind)i);
        if (err)
            return err == FF_ELIMIT ? FF_EINVAL : err;
        pack(router, r, to, (enum log_kind)i);
        err = reserve_in(router, r, to, (enum log_kind)i);
        if (err)
            return err;
    }
    return FF_OK;
}

static void cancel(struct router *router, struct topic *to)
{
    for (int i = 0; i < KINDS; i++)
        if (to->logs[i])
            log_cancel(&to->logs[i]->log, &router->registry.limbo);
}

static void commit_in(struct router *router, const struct rendering *r, const struct topic *to,
                      enum log_kind kind)
{
    struct limbo *limbo = &router->registry.limbo;
    struct log *log = &to->logs[kind]->log;
    struct ff_delivery delivery;

    if (r->hole) {
        char gap[GAP_MAX];
        size_t size = render_hole(r, to, kind, gap);

        memcpy(log_reserved(log), gap, size);
        log_commit_hole(log, limbo, r->hole->count, &r->stamp);
        return;
    }
    if (r->is_packed[kind]) {
        memcpy(log_reserved(log), r->packed[kind].at, r->packed[kind].len);
        log_commit(log, limbo, &r->stamp);
        return;
    }
    delivery = delivery_for(r, to, kind);
    log_kinds[kind].write(log_reserved(log), &delivery, log->reserved_size);
    log_commit(log, limbo, &r->stamp);
}

static void commit(struct router *router, const struct rendering *r, struct topic *to,
                   struct receipt *receipt)
{
    to->offset += r->hole ? r->hole->count : 1;
    for (int i = 0; i < KINDS; i++) {
        struct topic_log *log = to->logs[i];
        uint64_t buffered;

        if (!log)
            continue;
        commit_in(router, r, to, (enum log_kind)i);
        log->link.is_dirty = true;
        router_touch_link(router, &log->link);
        receipt->receivers += topic_log_receivers(log);
        buffered = topic_log_buffered(log);
        if (buffered > receipt->buffered)
            receipt->buffered = buffered;
    }
}

/* Octets of a payload: `data` counts as what it stands for. */
static size_t payload_size(const struct ff_payload *payload)
{
    return payload->kind == FF_PAYLOAD_BASE64 ? payload->bytes.len / 4 * 3 : payload->bytes.len;
}

/* A log that is there for its history alone holds nobody up: what it kept is gone, then. */
static enum ff_err reserve_or_forget(struct router *router, struct rendering *r,
                                     struct topic *topic)
{
    enum ff_err err = reserve(router, r, topic);

    if (err != FF_ENOMEM || !topic->epoch)
        return err;
    cancel(router, topic);
    for (int i = 0; i < KINDS; i++) {
        if (!topic->logs[i] || topic_log_is_read(topic->logs[i]))
            continue;
        log_empty(&topic->logs[i]->log, &router->registry.limbo);
        if (!r->is_retained && !topic_log_is_needed(topic->logs[i]))
            registry_drop_log(topic, (enum log_kind)i);
    }
    return reserve(router, r, topic);
}

/* In all logs of a topic, if there is one, and of the filters that match, or in none. */
static enum ff_err reserve_all(struct router *router, struct rendering *r, struct topic *topic,
                               struct topic **filters, uint32_t count)
{
    enum ff_err err = topic ? reserve_or_forget(router, r, topic) : FF_OK;

    for (uint32_t i = 0; i < count && !err; i++)
        err = reserve(router, r, filters[i]);
    if (!err)
        return FF_OK;
    if (topic)
        cancel(router, topic);
    for (uint32_t i = 0; i < count; i++)
        cancel(router, filters[i]);
    return err;
}

/* The tick at which a message of this wall time would have come: its age counts, not its way. */
static uint32_t tick_of(const struct router *router, uint64_t wall_ms)
{
    uint64_t now_ms = loop_wall_ms();
    uint64_t age = wall_ms && wall_ms < now_ms ? now_ms - wall_ms : 0;

    if (age > OLDEST_MS)
        age = OLDEST_MS;
    return wheel_now(router->wheel) - (uint32_t)(age / WHEEL_TICK_MS);
}

/* Which place it takes, and when. */
static void stamp(struct router *router, struct rendering *r, struct topic *topic)
{
    const struct placement *placement = r->p->placement;

    r->stamp = (struct log_stamp){.publisher = r->p->publisher, .tick = wheel_now(router->wheel)};
    if (placement) {
        r->position = placement->at;
        r->stamp.wall_ms = placement->wall_ms;
        r->stamp.tick = tick_of(router, placement->wall_ms);
    }
    if (!topic || !topic->epoch)
        return;
    if (!r->stamp.wall_ms)
        r->stamp.wall_ms = loop_wall_ms();
    if (r->stamp.wall_ms < topic->wall_ms)
        r->stamp.wall_ms = topic->wall_ms;
    topic->wall_ms = r->stamp.wall_ms;
    r->position = (struct ff_position){topic->epoch, topic->offset + 1};
}

/* Is the place that it is given the one after those that its topic has? */
static bool is_next(const struct topic *topic, const struct placement *placement)
{
    return !placement || !topic->epoch ||
           (placement->at.epoch == topic->epoch && placement->at.offset == topic->offset + 1);
}

/* The filters that are to have it. */
static uint32_t match(struct router *router, const struct rendering *r, struct topic *topic,
                      struct topic ***filters)
{
    bool skips =
        r->hole ? r->hole->skips_filters : r->p->placement && r->p->placement->skips_filters;

    return skips ? 0 : registry_match(&router->registry, topic, r->p->topic, filters);
}

/* To a topic, if there is one, and to the filters that match: to all of them or to none. */
static enum ff_err append(struct router *router, struct rendering *r, struct topic *topic,
                          struct receipt *receipt)
{
    struct topic **filters = NULL;
    uint32_t count = match(router, r, topic, &filters);
    enum ff_err err;

    if (r->p->placement && r->p->placement->skips_topic)
        topic = NULL;
    if (topic && !is_next(topic, r->p->placement))
        return FF_EOTHER;
    stamp(router, r, topic);
    err = reserve_all(router, r, topic, filters, count);

    if (err == FF_ENOMEM && router->registry.limbo.budget) {
        router_trim_for_memory(router, (r->p->payload.bytes.len + 1) * (count + 1UL));
        err = reserve_all(router, r, topic, filters, count);
    }
    if (err)
        return err;
    receipt->position = r->position;
    if (topic && r->hole && r->hole->epoch)
        registry_begin_epoch(topic, r->hole->epoch, r->hole->count);
    if (topic)
        commit(router, r, topic, receipt);
    else if (!r->p->placement) /* nobody counts it: who comes back to where he was missed it */
        (void)registry_forget_position(&router->registry, r->p->topic);
    if (topic && topic->epoch)
        history_note(topic);
    for (uint32_t i = 0; i < count; i++)
        commit(router, r, filters[i], receipt);
    return FF_OK;
}

/*
 * The topic of a message, NULL: neither is it subscribed to nor is anything of it kept. Where
 * there is no memory for what history needs, it does without; not so for what is to be retained.
 */
static enum ff_err find_topic(struct router *router, const struct rendering *r,
                              struct topic **topic)
{
    struct registry *registry = &router->registry;
    struct ff_slice name = r->p->topic;
    enum ff_err err = registry_find_expanded(registry, name, topic);

    if (err) {
        *topic = NULL; /* it sleeps on */
        return err;
    }
    if (!*topic && !r->p->placement && (r->is_retained || history_is_on(registry, name)) &&
        registry_get(registry, name, TOPIC_KEEP, NULL, topic)) /* who places it has made it */
        *topic = NULL;
    if (r->p->placement && r->p->placement->skips_topic)
        return FF_OK;
    if (*topic && ((*topic)->epoch || r->is_retained) &&
        past_get_log(router, *topic, kind_of_payload(&r->p->payload)))
        return FF_OK;
    return r->is_retained ? FF_ENOMEM : FF_OK;
}

bool publication_is_null(const struct publication *p)
{
    const struct ff_payload *payload = &p->payload;

    return payload->kind == FF_PAYLOAD_MSGPACK
               ? payload->bytes.len == 1 && (uint8_t)payload->bytes.at[0] == 0xc0
               : payload->kind == FF_PAYLOAD_JSON &&
                     ff_slice_is_equal(payload->bytes, FF_SLICE("null"));
}

/* Refused as a whole where there may be no more of them. */
static enum ff_err append_retained(struct router *router, struct rendering *r, struct topic *topic,
                                   struct receipt *receipt)
{
    struct registry *registry = &router->registry;
    bool is_first;
    enum ff_err err;

    FF_CHECK(topic);
    is_first = !topic->has_retained;
    if (is_first && !tally_add(&registry->retained_tally, registry->limits.max_retained))
        return FF_ELIMIT;
    err = append(router, r, topic, receipt);
    if (err && is_first)
        tally_take(&registry->retained_tally);
    if (err)
        return err;
    retained_note(topic, kind_of_payload(&r->p->payload));
    return FF_OK;
}

/* What failed may have made a topic that nothing needs. */
static enum ff_err give_up(struct router *router, struct topic *topic, enum ff_err err)
{
    if (topic)
        router_drop_unused(router, topic);
    return err;
}

/* Where memory was too short for all its logs, nothing of the topic would ever end it. */
static void drop_bare(struct router *router, struct topic *topic)
{
    for (int i = 0; topic && i < KINDS; i++)
        if (topic->logs[i])
            return;
    if (topic)
        router_drop_unused(router, topic);
}

static bool is_over(const struct topic_rule *rule, const struct ff_payload *payload)
{
    return rule->max_message && payload_size(payload) > rule->max_message;
}

bool publication_is_too_big(const struct router *router, const struct publication *p)
{
    return is_over(registry_rule(&router->registry, p->topic), &p->payload);
}

enum ff_err router_publish(struct router *router, const struct publication *p,
                           struct receipt *receipt)
{
    const struct topic_rule *rule;
    struct publication named = *p;
    struct rendering r;
    struct topic *topic;
    enum ff_err err;

    begin(&r, &named, NULL);
    *receipt = (struct receipt){.receivers = 0};
    r.is_retained = p->retain && !publication_is_null(p);
    err = find_topic(router, &r, &topic);
    if (err == FF_ENOMEM && r.is_retained) {
        router_trim_for_memory(router, p->payload.bytes.len + 1);
        err = find_topic(router, &r, &topic);
    }
    if (err)
        return give_up(router, topic, err);
    r.is_retained &= topic != NULL; /* whoever places a message has made its topic, or wants none */
    if (topic) /* what was given may have been the name of the idle topic, which is gone */
        named.topic = topic_name(topic);
    rule = topic ? topic->rule : registry_rule(&router->registry, named.topic);
    if (!p->placement && is_over(rule, &p->payload))
        return give_up(router, topic, FF_ETOOBIG);
    err = r.is_retained ? append_retained(router, &r, topic, receipt)
                        : append(router, &r, topic, receipt);
    if (err)
        return give_up(router, topic, err);
    if (topic && p->retain && !r.is_retained)
        retained_forget(topic);
    if (ff_topic_is_reserved(named.topic))
        return FF_OK; /* what the broker says of itself is no traffic, and is not kept */
    router->published += !p->placement; /* whoever placed it counts it where it was published */
    if (router->heard && receipt->receivers && (!topic || !topic->is_counted))
        heard_count(router->heard, named.topic, receipt->receivers);
    drop_bare(router, topic);
    return FF_OK;
}

enum ff_err router_publish_hole(struct router *router, const struct hole *hole)
{
    struct publication named = {.topic = hole->topic};
    struct rendering r;
    struct receipt receipt = {.receivers = 0};
    struct topic *topic;
    enum ff_err err = registry_find_expanded(&router->registry, hole->topic, &topic);

    begin(&r, &named, hole);
    if (err)
        return err;
    if (topic)
        named.topic = topic_name(topic);
    err = append(router, &r, topic, &receipt);
    if (!err)
        drop_bare(router, topic);
    return err;
}
