/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/replica.h"

#include "broker/net/logger.h"
#include "broker/topic/retained.h"

enum { OFFSET_BITS = 53 };

/* What look() answers before the messages. */
enum {
    PAGE_EPOCH = 1,
    PAGE_NEWEST,
    PAGE_BEGUN,
    PAGE_FORMER,
    PAGE_RETAINED,
    PAGE_MORE, /* 1: there may be more messages behind */
    PAGE_LAST, /* the offset of the last one */
    PAGE_MESSAGES
};

static struct registry *registry_of(const struct mirror *mirror)
{
    return &mirror->mirrors->router->registry;
}

void replica_find(struct mirror *mirror)
{
    const struct topic *topic = registry_find(registry_of(mirror), mirror_name(mirror));

    if (mirror->at.epoch)
        return;
    if (topic)
        mirror->at = (struct ff_position){topic->epoch, topic->epoch ? topic->offset : 0};
    else if (!registry_find_idle(registry_of(mirror), mirror_name(mirror)))
        (void)registry_forget_position(registry_of(mirror), mirror_name(mirror));
}

static void forget_retained(struct mirror *mirror)
{
    struct topic *topic = registry_find(registry_of(mirror), mirror_name(mirror));

    if (!topic || !topic->has_retained)
        return;
    retained_forget(topic);
    router_drop_unused(mirror->mirrors->router, topic);
}

void replica_end(struct mirror *mirror)
{
    forget_retained(mirror);
}

bool replica_is_needed(const struct mirror *mirror)
{
    const struct topic *topic = registry_find(registry_of(mirror), mirror_name(mirror));

    return topic ? topic->is_counted
                 : registry_find_idle(registry_of(mirror), mirror_name(mirror)) != NULL;
}

struct topic *replica_topic(struct mirror *mirror)
{
    struct topic *topic;

    if (registry_get(registry_of(mirror), mirror_name(mirror), TOPIC_KEEP, &mirror->at, &topic))
        return NULL;
    return topic;
}

/* So many messages are gone from the stream, too. Where memory is short they are looked for again.
 */
static enum ff_err tell_hole(struct mirror *mirror, uint64_t to, const char *cause)
{
    struct hole hole = {.topic = mirror_name(mirror), .cause = cause, .skips_filters = true};

    if (mirror->at.offset >= to)
        return FF_OK;
    hole.count = to - mirror->at.offset;
    if (!replica_topic(mirror) || router_publish_hole(mirror->mirrors->router, &hole))
        return FF_ENOMEM;
    mirror->at.offset = to;
    return FF_OK;
}

/* The topic goes on behind `begun` in another epoch. Redis has begun it behind all that was told.
 */
static enum ff_err begin_epoch(struct mirror *mirror, uint64_t epoch, uint64_t begun)
{
    struct hole hole = {
        .topic = mirror_name(mirror), .cause = "lost", .skips_filters = true, .epoch = epoch};
    uint64_t last = 0;
    enum ff_err err = FF_OK;

    if (mirror_find_former(mirror, mirror->at.epoch, &last)) {
        hole.cause = "rollback";
        if (last > mirror->at.offset && last < begun)
            err = tell_hole(mirror, last, "expired");
        hole.from = last < mirror->at.offset ? last + 1 : 0;
        hole.to = last < mirror->at.offset ? mirror->at.offset : 0;
    }
    if (begun <= mirror->at.offset)
        begun =
            mirror->at.offset + 1; /* what lies before it cannot be told here: it is lost, too */
    if (err)
        return err;
    hole.count = begun - mirror->at.offset;
    if (!replica_topic(mirror) || router_publish_hole(mirror->mirrors->router, &hole))
        return FF_ENOMEM;
    mirror->at = (struct ff_position){epoch, begun};
    return FF_OK;
}

static enum ff_err publish(struct mirrors *mirrors, struct ff_slice name,
                           const struct parcel *parcel, struct placement placement)
{
    struct publication p = {.topic = name,
                            .payload = parcel->payload,
                            .publisher = parcel->node == mirrors->node ? parcel->session : 0,
                            .retain = parcel->retain && !placement.skips_topic,
                            .placement = &placement};
    struct receipt receipt;
    enum ff_err err;

    placement.at = parcel->at;
    placement.wall_ms = parcel->wall_ms;
    err = router_publish(mirrors->router, &p, &receipt);
    if (err != FF_ELIMIT || !p.retain)
        return err;
    LOG_EVENT(LOG_WARN, "retained_limit", LOG_SLICE("topic", name)); /* of this node's memory */
    p.retain = false;
    return router_publish(mirrors->router, &p, &receipt);
}

void replica_tell_lost(struct router *router, struct ff_slice name)
{
    const struct hole hole = {
        .topic = name, .cause = "lost", .count = 1, .skips_filters = true, .is_uncounted = true};

    (void)!router_publish_hole(router, &hole);
}

/* A message could not be appended for the filters that match its name. */
static void tell_filters_lost(struct mirrors *mirrors, struct ff_slice name)
{
    struct topic **filters;
    uint32_t count = registry_match(&mirrors->router->registry, NULL, name, &filters);

    for (uint32_t i = 0; i < count; i++)
        replica_tell_lost(mirrors->router, topic_name(filters[i]));
}

/* A message that comes right behind the log. What cannot be kept is told in its place. */
static enum ff_err append(struct mirror *mirror, const struct parcel *parcel, bool skips_filters)
{
    struct placement placement = {.skips_filters = skips_filters};
    enum ff_err err = replica_topic(mirror)
                          ? publish(mirror->mirrors, mirror_name(mirror), parcel, placement)
                          : FF_ENOMEM;

    if (!err)
        mirror->at.offset = parcel->at.offset;
    if (err && !skips_filters)
        tell_filters_lost(mirror->mirrors, mirror_name(mirror));
    return err ? tell_hole(mirror, parcel->at.offset, "slow") : FF_OK;
}

bool replica_has(const struct mirror *mirror, const struct parcel *parcel)
{
    return parcel->at.epoch && parcel->at.epoch == mirror->at.epoch &&
           parcel->at.offset <= mirror->at.offset;
}

/* Of a topic without history. */
static void take_uncounted(struct mirror *mirror, const struct parcel *parcel,
                           struct placement placement)
{
    struct topic *topic = mirror->at.epoch ? replica_topic(mirror) : NULL;

    if (topic) { /* it had history: who published it has another configuration than before */
        registry_begin_epoch(topic, 0, 0);
        mirror->left = mirror->at;
        mirror->at = (struct ff_position){0, 0};
    }
    if (parcel->retain) {
        mirror->retained_ms = parcel->wall_ms;
        (void)replica_topic(mirror);
    }
    if (publish(mirror->mirrors, mirror_name(mirror), parcel, placement)) {
        replica_tell_lost(mirror->mirrors->router, mirror_name(mirror));
        if (!placement.skips_filters)
            tell_filters_lost(mirror->mirrors, mirror_name(mirror));
    }
}

enum ff_err replica_take_next(struct mirror *mirror, const struct parcel *parcel,
                              bool skips_filters)
{
    struct placement placement = {.skips_filters = skips_filters};

    if (!parcel->at.epoch) {
        take_uncounted(mirror, parcel, placement);
        return FF_OK;
    }
    if (parcel->at.epoch != mirror->at.epoch)
        return FF_EOTHER;
    if (skips_filters && replica_has(mirror, parcel))
        return FF_OK;
    if (parcel->at.offset != mirror->at.offset + 1)
        return FF_EOTHER;
    return append(mirror, parcel, skips_filters);
}

void replica_tell_filters(struct mirrors *mirrors, struct ff_slice name,
                          const struct parcel *parcel)
{
    if (mirrors->router->registry.filters.count &&
        publish(mirrors, name, parcel, (struct placement){.skips_topic = true}))
        tell_filters_lost(mirrors, name);
}

/* A message of the stream, wherever the log stands. */
static enum ff_err take_kept(struct mirror *mirror, const struct parcel *parcel)
{
    enum ff_err err = FF_OK;

    if (!mirror->at.epoch && mirror->left.epoch == parcel->at.epoch &&
        mirror->left.offset >= parcel->at.offset)
        return FF_OK; /* it was told before the topic lost its history */
    if (!mirror->at.epoch)
        mirror->at = (struct ff_position){parcel->at.epoch, parcel->at.offset - 1};
    if (parcel->at.epoch != mirror->at.epoch)
        err = begin_epoch(mirror, parcel->at.epoch, parcel->at.offset - 1);
    if (!err && replica_has(mirror, parcel))
        return FF_OK;
    if (!err)
        err = tell_hole(mirror, parcel->at.offset - 1, "expired");
    return err ? err : append(mirror, parcel, true);
}

static bool read_number(const struct redis_reply *reply, uint32_t i, uint64_t *number)
{
    struct ff_slice text = redis_text(reply, i);

    return parcel_take_number(&text, '\0', number);
}

/* EPOCH:LAST, for each, the newest first. */
static void read_former(struct mirror *mirror, struct ff_slice text)
{
    mirror->former_count = 0;
    while (text.len && mirror->former_count < MIRROR_FORKS) {
        struct ff_position *at = &mirror->former[mirror->former_count];

        if (!parcel_take_number(&text, ':', &at->epoch) ||
            !parcel_take_number(&text, ',', &at->offset))
            return;
        mirror->former_count++;
    }
}

/* Behind the last message that was kept: to where the topic is. */
static enum ff_err catch_up(struct mirror *mirror, const struct ff_position *newest, uint64_t begun)
{
    enum ff_err err = FF_OK;

    if (!mirror->at.epoch)
        mirror->at = *newest;
    if (mirror->at.epoch != newest->epoch)
        err = begin_epoch(mirror, newest->epoch, begun);
    return err ? err : tell_hole(mirror, newest->offset, "expired");
}

/* What is retained of a topic without history, if it is another one than before. */
static void take_retained(struct mirror *mirror, const struct parcel *retained)
{
    if (retained && retained->wall_ms != mirror->retained_ms)
        take_uncounted(mirror, retained, (struct placement){.skips_filters = true});
}

/* What is retained comes in its place, where the stream does not have it any more. */
static enum ff_err take_retained_before(struct mirror *mirror, const struct parcel *retained,
                                        const struct ff_position *next)
{
    bool is_first = !mirror->at.epoch;

    if (!retained || (!is_first && retained->at.epoch != mirror->at.epoch) ||
        (!is_first && retained->at.offset <= mirror->at.offset) ||
        (retained->at.epoch == next->epoch && retained->at.offset >= next->offset))
        return FF_OK;
    return take_kept(mirror, retained);
}

/* The messages of a page. */
static enum ff_err take_messages(struct mirror *mirror, const struct redis_reply *reply,
                                 const struct parcel *retained)
{
    struct parcel parcel;
    enum ff_err err = FF_OK;

    for (uint32_t i = PAGE_MESSAGES; i <= reply->values[0].count && !err; i++) {
        if (parcel_read(redis_text(reply, i), &parcel) != PARCEL_GOOD || !parcel.at.epoch)
            continue; /* told as a hole, in its place */
        err = take_retained_before(mirror, retained, &parcel.at);
        if (!err)
            err = take_kept(mirror, &parcel);
    }
    return err;
}

enum ff_err replica_take_page(struct mirror *mirror, const struct redis_reply *reply,
                              bool *has_more)
{
    struct ff_position newest;
    struct ff_position end;
    uint64_t begun;
    uint64_t last = 0;
    struct parcel parcel;
    const struct parcel *retained = NULL;
    enum ff_err err;

    if (!reply->count || reply->values[0].kind != REDIS_ARRAY ||
        !read_number(reply, PAGE_EPOCH, &newest.epoch) ||
        !read_number(reply, PAGE_NEWEST, &newest.offset) ||
        !read_number(reply, PAGE_BEGUN, &begun) || !read_number(reply, PAGE_LAST, &last) ||
        (newest.offset | begun | last) >> OFFSET_BITS)
        return FF_EAWAY;
    read_former(mirror, redis_text(reply, PAGE_FORMER));
    if (parcel_read(redis_text(reply, PAGE_RETAINED), &parcel) == PARCEL_GOOD)
        retained = &parcel;
    if (!retained)
        forget_retained(mirror);
    if (!newest.epoch) {
        take_retained(mirror, retained);
        return mirror->at.epoch ? FF_EAWAY : FF_OK;
    }
    err = take_messages(mirror, reply, retained);
    *has_more = ff_slice_is_equal(redis_text(reply, PAGE_MORE), FF_SLICE("1"));
    if (!err && *has_more && mirror->at.epoch == newest.epoch) /* the last ones may be unreadable */
        err = tell_hole(mirror, last, "lost");
    if (err || *has_more)
        return err;
    end = (struct ff_position){newest.epoch, newest.offset + 1};
    err = take_retained_before(mirror, retained, &end);
    return err ? err : catch_up(mirror, &newest, begun);
}
