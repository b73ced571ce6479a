/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence.c - rooms and their members. What is told of a room stands in room.c.
 *
 * In this order: rooms, a room's clock, members who come and go, lists.
 */
#include "broker/engine/presence.h"

#include "broker/engine/room.h"
#include "broker/topic/bulletin.h"
#include "protocol/base/mem.h"

enum {
    LEAVES_AT_ONCE = 1000,
    LEAVES_AGAIN_MS = 10,
    LEAVES_MOST = 65536, /* that wait, in all rooms */
    LIST_MAX = 1024 * 1024,
};

struct presence {
    struct room_env env;
    struct ff_map rooms;     /* by the bulletin's name */
    struct ff_map by_serial; /* members */
    struct ff_map by_who;    /* members whose leave waits: by room and user, or session */
    uint32_t leaving_count;
    struct ff_buf list; /* that is asked for */
};

static uint64_t now_of(const struct presence *presence)
{
    return router_now_ms(presence->env.router);
}

static uint32_t hash_of(const struct presence *presence, const void *bytes, size_t len)
{
    return ff_hash(&presence->env.router->registry.key, bytes, len);
}

static struct presence *presence_of(const struct room *room)
{
    return FF_CONTAINER(room->env, struct presence, env);
}

/* Rooms. */

static bool is_named(const void *arg, const struct ff_map_node *node)
{
    return ff_slice_is_equal(room_name(FF_CONTAINER_CONST(node, struct room, node)),
                             *(const struct ff_slice *)arg);
}

static struct room *find_room(const struct presence *presence, struct ff_slice name)
{
    struct ff_map_node *node =
        ff_map_find(&presence->rooms, hash_of(presence, name.at, name.len), is_named, &name);

    return node ? FF_CONTAINER(node, struct room, node) : NULL;
}

static void on_clock(struct wheel_timer *timer);

/* NULL: out of memory. */
static struct room *make_room(struct presence *presence, struct ff_slice name)
{
    struct room *room = ff_mem_zalloc(sizeof(*room) + name.len);

    if (!room)
        return NULL;
    room->env = &presence->env;
    room->name_len = (uint8_t)name.len;
    memcpy(room->name, name.at, name.len);
    ff_list_init(&room->members);
    ff_list_init(&room->leaving);
    ff_list_init(&room->joined);
    ff_list_init(&room->gone);
    wheel_timer_init(&room->clock, on_clock);
    ff_map_add(&presence->rooms, &room->node, hash_of(presence, name.at, name.len));
    return room;
}

static void drop_room(struct room *room)
{
    wheel_stop(router_wheel(room->env->router), &room->clock);
    ff_map_remove(&presence_of(room)->rooms, &room->node);
    ff_mem_free(room);
}

/* The room's clock. */

static struct member *first_leaving(const struct room *room)
{
    return ff_list_is_empty(&room->leaving)
               ? NULL
               : FF_CONTAINER(room->leaving.next, struct member, leaving);
}

static void set_clock(struct room *room, uint64_t at)
{
    uint64_t now = now_of(presence_of(room));

    wheel_set(router_wheel(room->env->router), &room->clock, at > now ? at - now : 0);
}

/* Something changed: what is due is told, and the clock set for the rest. The room may go by it. */
static void attend(struct room *room)
{
    uint64_t now = now_of(presence_of(room));
    const struct member *first = first_leaving(room);
    uint64_t next = first ? first->goes_at : UINT64_MAX;

    if (first && first->goes_at <= now) /* there were too many for one step */
        next = now + LEAVES_AGAIN_MS;
    if (room_has_news(room) && room_tell_at(room) <= now)
        room_tell(room);
    if (room_has_news(room) && room_tell_at(room) < next)
        next = room_tell_at(room);
    if (next != UINT64_MAX)
        set_clock(room, next);
    else if (room->count == 0)
        drop_room(room);
    else
        wheel_stop(router_wheel(room->env->router), &room->clock);
}

/* Members who come and go. */

static struct member *in_leaving(struct ff_list *node)
{
    return FF_CONTAINER(node, struct member, leaving);
}

static bool has_serial(const void *arg, const struct ff_map_node *node)
{
    return FF_CONTAINER_CONST(node, struct member, by_serial)->serial == *(const uint64_t *)arg;
}

static struct member *find_member(const struct presence *presence, uint64_t serial)
{
    struct ff_map_node *node = ff_map_find(
        &presence->by_serial, hash_of(presence, &serial, sizeof(serial)), has_serial, &serial);

    return node ? FF_CONTAINER(node, struct member, by_serial) : NULL;
}

static void set_serial(struct presence *presence, struct member *member, uint64_t serial)
{
    member->serial = serial;
    ff_map_add(&presence->by_serial, &member->by_serial,
               hash_of(presence, &serial, sizeof(serial)));
}

/* Who somebody is in a room: its user, or its session where it has none. */
struct who {
    const struct room *room;
    uint64_t session;
    struct ff_slice user;
};

static uint32_t hash_who(const struct presence *presence, const struct who *who)
{
    char text[sizeof(who->room) + MEMBER_USER_MAX + sizeof(who->session)];
    size_t len = sizeof(who->room);

    memcpy(text, &who->room, len);
    if (who->user.len)
        memcpy(text + len, who->user.at, who->user.len);
    else
        memcpy(text + len, &who->session, sizeof(who->session));
    len += who->user.len ? who->user.len : sizeof(who->session);
    return hash_of(presence, text, len);
}

static bool is_who(const void *arg, const struct ff_map_node *node)
{
    const struct who *who = arg;
    const struct member *member = FF_CONTAINER_CONST(node, struct member, by_who);

    return member->room == who->room && member->user_len == who->user.len &&
           (who->user.len ? memcmp(member->user, who->user.at, who->user.len) == 0
                          : member->session == who->session);
}

static struct who who_of(const struct member *member)
{
    return (struct who){member->room, member->session, member_user(member)};
}

/* It leaves no more, or has left. */
static void end_leave(struct presence *presence, struct member *member)
{
    if (!ff_list_is_in(&member->leaving))
        return;
    ff_list_remove(&member->leaving);
    ff_map_remove(&presence->by_who, &member->by_who);
    presence->leaving_count--;
}

/* Does somebody who is just leaving come back? */
static bool take_place(struct presence *presence, const struct room *room,
                       const struct engine_member *who)
{
    struct who wanted = {room, who->session, who->user};
    struct ff_map_node *node =
        ff_map_find(&presence->by_who, hash_who(presence, &wanted), is_who, &wanted);
    struct member *member;

    if (!node)
        return false;
    member = FF_CONTAINER(node, struct member, by_who);
    end_leave(presence, member);
    ff_map_remove(&presence->by_serial, &member->by_serial);
    set_serial(presence, member, who->serial);
    return true;
}

static bool add_member(struct presence *presence, struct room *room,
                       const struct engine_member *who)
{
    struct member *member = ff_mem_zalloc(sizeof(*member) + who->user.len);

    if (!member)
        return false;
    member->room = room;
    member->session = who->session;
    member->user_len = (uint8_t)who->user.len;
    if (who->user.len)
        memcpy(member->user, who->user.at, who->user.len);
    set_serial(presence, member, who->serial);
    ff_list_append(&room->members, &member->node);
    room->count++;
    room_note_count(room);
    if (!room->is_large)
        ff_list_append(&room->joined, &member->change);
    return true;
}

enum ff_err presence_join(struct presence *presence, struct ff_slice topic,
                          const struct engine_member *who)
{
    char text[FF_TOPIC_MAX];
    struct ff_slice name = bulletin_name(topic, text);
    struct room *room = find_room(presence, name);
    bool is_in;

    FF_CHECK(who->user.len <= MEMBER_USER_MAX);
    if (!room)
        room = make_room(presence, name);
    if (!room)
        return FF_ENOMEM;
    is_in = take_place(presence, room, who) || add_member(presence, room, who);
    attend(room);
    return is_in ? FF_OK : FF_ENOMEM;
}

/* It is no member any more. */
static void go(struct member *member)
{
    struct room *room = member->room;
    struct presence *presence = presence_of(room);
    bool is_new = ff_list_is_in(&member->change);

    end_leave(presence, member);
    ff_map_remove(&presence->by_serial, &member->by_serial);
    ff_list_remove(&member->node);
    ff_list_remove(&member->change);
    room->count--;
    room_note_count(room);
    if (room->is_large || is_new) /* nobody was told of it */
        ff_mem_free(member);
    else
        ff_list_append(&room->gone, &member->change);
}

static bool may_wait(const struct presence *presence)
{
    struct ff_budget *budget = presence->env.router->registry.limbo.budget;

    return presence->leaving_count < LEAVES_MOST &&
           (!budget || ff_budget_level(budget) == FF_MEMORY_FREE);
}

static void begin_leave(struct presence *presence, struct member *member)
{
    struct who who = who_of(member);

    member->goes_at = now_of(presence) + PRESENCE_LEAVE_MS;
    ff_list_append(&member->room->leaving, &member->leaving);
    ff_map_add(&presence->by_who, &member->by_who, hash_who(presence, &who));
    presence->leaving_count++;
}

void presence_leave(struct presence *presence, uint64_t serial)
{
    struct member *member = find_member(presence, serial);
    struct room *room;

    if (!member || ff_list_is_in(&member->leaving))
        return;
    room = member->room;
    if (may_wait(presence))
        begin_leave(presence, member);
    else
        go(member);
    attend(room);
}

static void on_clock(struct wheel_timer *timer)
{
    struct room *room = FF_CONTAINER(timer, struct room, clock);
    uint64_t now = now_of(presence_of(room));
    struct member *member;

    for (int i = 0; i < LEAVES_AT_ONCE && (member = first_leaving(room)); i++) {
        if (member->goes_at > now)
            break;
        go(member);
    }
    attend(room);
}

/* Lists. */

/* As many as may be, and as there is room for. */
static enum ff_err write_list(struct presence *presence, const struct room *room,
                              const struct member *first, struct engine_listing listing,
                              struct ff_slice *array)
{
    struct ff_buf *text = &presence->list;
    enum ff_err err = members_begin(text);
    uint32_t count = 0;

    if (!err && first) {
        err = members_add(text, listing.encoding, first);
        count = 1;
    }
    for (struct ff_list *node = room ? room->members.next : NULL;
         room && node != &room->members && !err && count < PRESENCE_LISTED &&
         text->len + MEMBER_TEXT_MAX < listing.max_octets;
         node = node->next) {
        const struct member *member = FF_CONTAINER(node, struct member, node);

        if (member == first)
            continue;
        err = members_add(text, listing.encoding, member);
        count++;
    }
    return err ? err : members_end(text, listing.encoding, count, array);
}

void presence_list(struct presence *presence, struct ff_slice topic, uint64_t who,
                   struct engine_listing listing, struct engine_roll *roll)
{
    char text[FF_TOPIC_MAX];
    struct room *room = find_room(presence, bulletin_name(topic, text));
    const struct member *first = who ? find_member(presence, who) : NULL;

    *roll = (struct engine_roll){.err = FF_OK};
    if (first && first->room != room)
        first = NULL;
    if (room && !room->is_large)
        roll->err = room_append_news(room);
    if (!roll->err)
        roll->err = write_list(presence, room, first, listing, &roll->items);
    roll->count = room ? room->count : 0;
    if (room)
        attend(room);
}

void presence_start(struct presence *presence, const struct engine_subscription *what,
                    struct engine_start *start)
{
    struct engine_roll roll;

    presence_list(presence, bulletin_topic(what->name), what->member.serial, what->listing, &roll);
    start->err = roll.err;
    start->content = roll.items;
    start->count = roll.count;
}

/* Life. */

uint64_t presence_count(const struct presence *presence)
{
    return presence->by_serial.count;
}

struct presence *presence_new(struct router *router)
{
    struct presence *presence = ff_mem_zalloc(sizeof(*presence));

    if (!presence)
        return NULL;
    room_env_init(&presence->env, router);
    ff_buf_init(&presence->list, LIST_MAX);
    if (ff_map_init(&presence->rooms) || ff_map_init(&presence->by_serial) ||
        ff_map_init(&presence->by_who)) {
        presence_free(presence);
        return NULL;
    }
    return presence;
}

static void free_members(struct room *room)
{
    struct ff_list *node;

    room_forget_news(room);
    while ((node = ff_list_pop(&room->leaving)))
        end_leave(presence_of(room), in_leaving(node));
    while ((node = ff_list_pop(&room->members)))
        ff_mem_free(FF_CONTAINER(node, struct member, node));
}

void presence_free(struct presence *presence)
{
    struct ff_map_node *node;

    if (!presence)
        return;
    while (presence->rooms.buckets && (node = ff_map_next(&presence->rooms, NULL))) {
        struct room *room = FF_CONTAINER(node, struct room, node);

        free_members(room);
        drop_room(room);
    }
    ff_map_deinit(&presence->rooms);
    ff_map_deinit(&presence->by_serial);
    ff_map_deinit(&presence->by_who);
    ff_buf_deinit(&presence->list);
    room_env_deinit(&presence->env);
    ff_mem_free(presence);
}
