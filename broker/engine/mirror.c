/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror.c - the life of a mirror, from whom it is wanted by to its end.
 *
 * What a message does to the topic's log stands in replica.c.
 */
#include "broker/engine/mirror.h"

#include "broker/engine/replica.h"
#include "broker/net/logger.h"
#include "protocol/base/mem.h"

enum {
    CHANNELS_AT_ONCE = 512,
    LOOKS_AT_ONCE = 16,
    SWEPT_PART = 4, /* each comes once in one to so many seconds */
    SWEPT_LEAST = 1000,
    IDLE_SWEEPS = 5,    /* until one that nobody wants ends, */
    WAITED_SWEEPS = 3,  /* a question is refused, */
    FRESH_SWEEPS = 300, /* and one that is quiet is looked at: in 300 to 1,200 s */
};

/* What came while the stream was read. */
struct held {
    struct ff_list node;
    size_t len;
    char text[];
};

enum ff_err mirrors_init(struct mirrors *mirrors, struct router *router, uint64_t node,
                         const struct mirrors_ops *ops, void *arg)
{
    *mirrors = (struct mirrors){.router = router, .node = node, .ops = ops, .arg = arg};
    ff_list_init(&mirrors->all);
    ff_list_init(&mirrors->waiting);
    ff_list_init(&mirrors->to_look);
    return ff_map_init(&mirrors->map);
}

static bool is_named(const void *arg, const struct ff_map_node *node)
{
    const struct ff_slice *name = arg;

    return ff_slice_is_equal(mirror_name(FF_CONTAINER_CONST(node, struct mirror, node)), *name);
}

static uint32_t hash_of(const struct mirrors *mirrors, struct ff_slice name)
{
    return ff_hash(&mirrors->router->registry.key, name.at, name.len);
}

struct mirror *mirrors_find(const struct mirrors *mirrors, struct ff_slice name)
{
    struct ff_map_node *node = ff_map_find(&mirrors->map, hash_of(mirrors, name), is_named, &name);

    return node ? FF_CONTAINER(node, struct mirror, node) : NULL;
}

struct mirror *mirrors_get(struct mirrors *mirrors, struct ff_slice name)
{
    struct mirror *mirror = mirrors_find(mirrors, name);

    if (mirror)
        return mirror;
    mirror = ff_mem_zalloc(sizeof(*mirror) + name.len);
    if (!mirror)
        return NULL;
    mirror->mirrors = mirrors;
    mirror->name_len = (uint8_t)name.len;
    memcpy(mirror->name, name.at, name.len);
    ff_list_init(&mirror->asks);
    ff_list_init(&mirror->held);
    ff_map_add(&mirrors->map, &mirror->node, hash_of(mirrors, name));
    ff_list_append(&mirrors->all, &mirror->all);
    return mirror;
}

static void let_go(struct mirror *mirror)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&mirror->held))) {
        struct held *held = FF_CONTAINER(node, struct held, node);

        mirror->mirrors->held_bytes -= held->len;
        ff_mem_free(held);
    }
}

static void free_mirror(struct mirror *mirror)
{
    FF_CHECK(ff_list_is_empty(&mirror->asks));
    replica_end(mirror);
    let_go(mirror);
    ff_list_remove(&mirror->all);
    ff_list_remove(&mirror->waiting);
    ff_list_remove(&mirror->to_look);
    ff_map_remove(&mirror->mirrors->map, &mirror->node);
    ff_mem_free(mirror);
}

void mirrors_deinit(struct mirrors *mirrors)
{
    while (!ff_list_is_empty(&mirrors->all))
        free_mirror(FF_CONTAINER(mirrors->all.next, struct mirror, all));
    ff_map_deinit(&mirrors->map);
}

static bool has_links(const struct mirrors *mirrors)
{
    return mirrors->can_subscribe && mirrors->can_look;
}

static bool is_wanted(const struct mirror *mirror)
{
    return !ff_list_is_empty(&mirror->asks) || replica_is_needed(mirror);
}

/* What waits for it is told why it cannot be. */
static void refuse(struct mirror *mirror, enum ff_err err)
{
    mirror->mirrors->ops->settled(mirror->mirrors->arg, mirror, err);
}

/* Reading: its stream. */

/* So many are read at once: publishes stand behind them. */
static void look(struct mirror *mirror)
{
    struct mirrors *mirrors = mirror->mirrors;

    mirror->state = MIRROR_LOADING;
    if (mirror->is_looking)
        mirror->looks_again = true;
    if (mirror->is_looking || ff_list_is_in(&mirror->to_look) || !mirrors->can_look)
        return;
    if (mirrors->looking >= LOOKS_AT_ONCE ||
        !mirrors->ops->look(mirrors->arg, mirror, mirror->at)) {
        ff_list_append(&mirrors->to_look, &mirror->to_look);
        return;
    }
    mirrors->looking++;
    mirror->is_looking = true;
    mirror->looks_again = mirror->has_overrun = false;
}

static void look_next(struct mirrors *mirrors)
{
    for (uint32_t i = mirrors->looking; i < LOOKS_AT_ONCE; i++) {
        struct ff_list *node = ff_list_pop(&mirrors->to_look);

        if (node)
            look(FF_CONTAINER(node, struct mirror, to_look));
    }
}

void mirror_note(struct mirror *mirror, struct ff_position position)
{
    bool is_known = position.epoch == mirror->at.epoch ||
                    mirror_translate(mirror, position).epoch == mirror->at.epoch;

    if (!position.epoch || !mirror->at.epoch)
        return;
    if (!is_known) /* another epoch may have begun that was not heard of yet */
        mirror->wanted = UINT64_MAX;
    else if (position.epoch == mirror->at.epoch && position.offset > mirror->wanted)
        mirror->wanted = position.offset;
}

/* Following: its channel. */

void mirror_want(struct mirror *mirror)
{
    struct mirrors *mirrors = mirror->mirrors;

    mirror->idle_sweeps = 0;
    if (mirror_is_live(mirror))
        return;
    if (!has_links(mirrors)) {
        if (!mirrors->is_patient)
            refuse(mirror, FF_EAWAY);
        return;
    }
    mirror->due_err = 0;
    if (mirror->state == MIRROR_OFF) {
        mirror->state = MIRROR_SUBSCRIBING;
        if (!ff_list_is_in(&mirror->waiting))
            ff_list_append(&mirrors->waiting, &mirror->waiting);
    } else if (mirror->state == MIRROR_LIVE ||
               (mirror->state == MIRROR_LOADING && !mirror->is_looking)) {
        look(mirror);
    }
}

void mirrors_flush(struct mirrors *mirrors)
{
    struct mirror *some[CHANNELS_AT_ONCE];
    struct ff_slice names[CHANNELS_AT_ONCE];

    look_next(mirrors);
    while (mirrors->can_subscribe && !ff_list_is_empty(&mirrors->waiting)) {
        uint32_t count = 0;

        for (struct ff_list *node;
             count < CHANNELS_AT_ONCE && (node = ff_list_pop(&mirrors->waiting)); count++) {
            some[count] = FF_CONTAINER(node, struct mirror, waiting);
            names[count] = mirror_name(some[count]);
        }
        if (mirrors->ops->subscribe(mirrors->arg, names, count))
            continue;
        while (count > 0) /* with the next turn, or when the link is up again */
            ff_list_prepend(&mirrors->waiting, &some[--count]->waiting);
        return;
    }
}

static void settle(struct mirror *mirror)
{
    mirror->was_live = true;
    mirror->wanted = 0; /* what Redis has is there */
    mirror->waited_sweeps = 0;
    mirror->sweeps = 0;
    mirror->state = MIRROR_LIVE;
    mirror->mirrors->ops->settled(mirror->mirrors->arg, mirror, FF_OK);
}

void mirrors_confirmed(struct mirrors *mirrors, struct ff_slice name)
{
    struct mirror *mirror = mirrors_find(mirrors, name);

    if (!mirror || mirror->state != MIRROR_SUBSCRIBING)
        return;
    replica_find(mirror);
    if (!mirror->at.epoch && mirror->has_lost) /* else what is gone is known, and told */
        replica_tell_lost(mirrors->router, name);
    mirror->has_lost = false;
    look(mirror);
}

/* Nothing more comes by its channel: until now that was what filters heard. */
void mirrors_left(struct mirrors *mirrors, struct ff_slice name)
{
    struct mirror *mirror = mirrors_find(mirrors, name);

    if (!mirror || mirror->state != MIRROR_ENDING)
        return;
    mirror->state = MIRROR_OFF;
    if (is_wanted(mirror))
        mirror_want(mirror);
    else if (!mirror->is_looking)
        free_mirror(mirror);
}

/* What was held back is told, as far as it is the next. False: a message is missing in it. */
static bool tell_held(struct mirror *mirror)
{
    struct ff_list *node;
    bool is_whole = !mirror->has_overrun;

    while (is_whole && (node = ff_list_pop(&mirror->held))) {
        struct held *held = FF_CONTAINER(node, struct held, node);
        struct parcel parcel;

        mirror->mirrors->held_bytes -= held->len;
        if (parcel_read((struct ff_slice){held->text, held->len}, &parcel) == PARCEL_GOOD)
            is_whole = replica_take_next(mirror, &parcel, true) != FF_EOTHER;
        ff_mem_free(held);
    }
    let_go(mirror);
    return is_whole;
}

/* False: it leads nowhere. */
static bool take_page(struct mirror *mirror, const struct redis_reply *reply, bool *has_more)
{
    struct ff_position before = mirror->at;
    enum ff_err err = replica_take_page(mirror, reply, has_more);

    if (!err && *has_more && before.epoch == mirror->at.epoch && before.offset == mirror->at.offset)
        err = FF_EAWAY;
    if (err)
        refuse(mirror, err); /* it is tried again, once a second */
    return !err;
}

void mirror_looked(struct mirror *mirror, const struct redis_reply *reply)
{
    struct mirrors *mirrors = mirror->mirrors;
    bool has_more = false;

    mirror->is_looking = false;
    mirrors->looking--;
    /* No answer: the link is lost. Another state: so is the channel, or nobody wants it. */
    if (reply && mirror->state == MIRROR_LOADING && take_page(mirror, reply, &has_more)) {
        if (mirror->looks_again || has_more || !tell_held(mirror))
            look(mirror);
        else
            settle(mirror);
    }
    look_next(mirrors);
}

/* Delivering. */

/* False: it could not be held, and is to be read from the stream. */
static bool hold(struct mirror *mirror, struct ff_slice text)
{
    struct mirrors *mirrors = mirror->mirrors;
    struct held *held = mirrors->held_bytes + text.len <= MIRRORS_HELD_MAX
                            ? ff_mem_alloc(sizeof(*held) + text.len)
                            : NULL;

    if (!held)
        return false;
    *held = (struct held){.len = text.len};
    memcpy(held->text, text.at, text.len);
    ff_list_append(&mirror->held, &held->node);
    mirrors->held_bytes += text.len;
    return true;
}

static bool is_readable(enum parcel_fault fault, struct ff_slice name)
{
    if (fault)
        LOG_EVENT(LOG_WARN, "redis_message_unreadable", LOG_SLICE("topic", name),
                  LOG_TEXT("why", fault == PARCEL_NEWER
                                      ? "a newer version of Fanfare wrote it: upgrade this node"
                                      : "it is no message of Fanfare's"));
    return !fault;
}

void mirrors_deliver(struct mirrors *mirrors, struct ff_slice name, struct ff_slice text)
{
    struct mirror *mirror = mirrors_find(mirrors, name);
    struct parcel parcel;

    if (!mirror || mirror->state < MIRROR_LOADING || !is_readable(parcel_read(text, &parcel), name))
        return;
    if (mirror->state == MIRROR_LIVE && replica_take_next(mirror, &parcel, false) != FF_EOTHER)
        return;
    replica_tell_filters(mirrors, name, &parcel);
    if (mirror->state == MIRROR_ENDING || replica_has(mirror, &parcel))
        return; /* nobody reads it; it was read from the stream before it came */
    if (!hold(mirror, text))
        mirror->has_overrun = true;
    look(mirror);
}

void mirrors_deliver_to_filters(struct mirrors *mirrors, struct ff_slice text, uint32_t index,
                                uint32_t owners)
{
    const struct mirror *mirror;
    struct parcel parcel;
    struct ff_slice name = {NULL, 0};
    enum parcel_fault fault = parcel_read_named(text, &name, &parcel);

    if (!is_readable(fault, name) ||
        registry_owner(&mirrors->router->registry, name, owners) != index)
        return;
    mirror = mirrors_find(mirrors, name);
    if (!mirror || mirror->state < MIRROR_LOADING)
        replica_tell_filters(mirrors, name, &parcel);
}

/* The links. No mirror ends by what is done here. */

/* The channel is gone with its link: it follows nothing. */
static void lose(struct mirror *mirror)
{
    ff_list_remove(&mirror->waiting);
    ff_list_remove(&mirror->to_look);
    let_go(mirror);
    mirror->has_lost |= mirror->was_live;
    mirror->state = MIRROR_OFF;
    if (!mirror->mirrors->is_patient)
        refuse(mirror, FF_EAWAY);
}

void mirrors_can_subscribe(struct mirrors *mirrors, bool can)
{
    mirrors->can_subscribe = can;
    for (struct ff_list *node = mirrors->all.next; node != &mirrors->all; node = node->next) {
        struct mirror *mirror = FF_CONTAINER(node, struct mirror, all);

        if (!can)
            lose(mirror);
        else if (mirrors->can_look && is_wanted(mirror))
            mirror_want(mirror);
    }
}

void mirrors_can_look(struct mirrors *mirrors, bool can)
{
    mirrors->can_look = can;
    for (struct ff_list *node = mirrors->all.next; node != &mirrors->all; node = node->next) {
        struct mirror *mirror = FF_CONTAINER(node, struct mirror, all);

        if (!can)
            ff_list_remove(&mirror->to_look);
        else if (mirror->state == MIRROR_LIVE || mirror->state == MIRROR_LOADING)
            look(mirror); /* it may be another Redis */
        else if (is_wanted(mirror))
            mirror_want(mirror);
    }
}

void mirrors_lose_patience(struct mirrors *mirrors)
{
    mirrors->is_patient = false;
    for (struct ff_list *node = mirrors->all.next; node != &mirrors->all; node = node->next) {
        struct mirror *mirror = FF_CONTAINER(node, struct mirror, all);

        if (!ff_list_is_empty(&mirror->asks) && !mirror_is_live(mirror))
            refuse(mirror, FF_EAWAY);
    }
}

/* It is wanted: what stands still goes on, and who waits for too long is told so. */
static void push(struct mirror *mirror)
{
    struct mirrors *mirrors = mirror->mirrors;

    mirror->idle_sweeps = 0;
    if (mirror->questions && !mirror_is_live(mirror) && ++mirror->waited_sweeps > WAITED_SWEEPS) {
        mirror->waited_sweeps = 0;
        refuse(mirror, FF_EAWAY);
    }
    if (has_links(mirrors) && !mirror_is_live(mirror) && is_wanted(mirror))
        mirror_want(mirror);
    else if (mirror->state == MIRROR_LIVE && ++mirror->sweeps > FRESH_SWEEPS && mirrors->can_look)
        look(mirror); /* Redis forgets a topic that nobody asks about for an hour */
}

static void sweep_one(struct mirror *mirror)
{
    struct mirrors *mirrors = mirror->mirrors;

    if (is_wanted(mirror)) {
        push(mirror);
        return;
    }
    if (mirror->is_looking || ++mirror->idle_sweeps < IDLE_SWEEPS)
        return;
    if (mirror->state == MIRROR_OFF)
        free_mirror(mirror);
    else if ((mirror->state == MIRROR_LIVE || mirror->state == MIRROR_LOADING) &&
             mirrors->ops->unsubscribe(mirrors->arg, mirror))
        mirror->state = MIRROR_ENDING;
}

/* A part of them, so that each comes every few seconds. */
void mirrors_sweep(struct mirrors *mirrors)
{
    size_t most = mirrors->map.count / SWEPT_PART + SWEPT_LEAST;

    for (size_t i = 0, count = mirrors->map.count; i < most && i < count; i++) {
        struct mirror *mirror = FF_CONTAINER(mirrors->all.next, struct mirror, all);

        ff_list_remove(&mirror->all);
        ff_list_append(&mirrors->all, &mirror->all);
        sweep_one(mirror);
    }
}

uint64_t mirrors_top(const struct mirrors *mirrors)
{
    uint64_t top = 0;

    for (const struct ff_list *node = mirrors->all.next; node != &mirrors->all; node = node->next) {
        const struct mirror *mirror = FF_CONTAINER_CONST(node, struct mirror, all);

        if (mirror->at.offset > top)
            top = mirror->at.offset;
    }
    return top;
}

bool mirror_find_former(const struct mirror *mirror, uint64_t epoch, uint64_t *last)
{
    for (uint32_t i = 0; i < mirror->former_count; i++) {
        if (mirror->former[i].epoch != epoch)
            continue;
        *last = mirror->former[i].offset;
        return true;
    }
    return false;
}

struct ff_position mirror_translate(const struct mirror *mirror, struct ff_position position)
{
    uint64_t last;

    if (mirror_find_former(mirror, position.epoch, &last) && position.offset <= last)
        position.epoch = mirror->at.epoch;
    return position;
}
