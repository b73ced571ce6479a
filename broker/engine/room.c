/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/room.h"

#include "broker/engine/presence.h"
#include "broker/topic/bulletin.h"
#include "protocol/base/mem.h"
#include "protocol/websocket/frame.h"

enum {
    TOLD_AT_ONCE = 256, /* members in one frame */
    TEXT_MAX = 1024 * 1024,
};

void room_env_init(struct room_env *env, struct router *router)
{
    env->router = router;
    for (int i = 0; i < 2; i++)
        ff_buf_init(&env->texts[i], TEXT_MAX);
    for (int i = 0; i < FF_ENCODINGS; i++)
        ff_buf_init(&env->frames[i], TEXT_MAX);
}

void room_env_deinit(struct room_env *env)
{
    for (int i = 0; i < 2; i++)
        ff_buf_deinit(&env->texts[i]);
    for (int i = 0; i < FF_ENCODINGS; i++)
        ff_buf_deinit(&env->frames[i]);
}

bool room_has_news(const struct room *room)
{
    return room->is_counted || room->is_untold || !ff_list_is_empty(&room->joined) ||
           !ff_list_is_empty(&room->gone);
}

static struct member *in_change(struct ff_list *node)
{
    return FF_CONTAINER(node, struct member, change);
}

/* Up to so many of a list have been told of, or never will be. */
static void forget_joined(struct room *room, uint32_t most)
{
    while (most-- > 0 && ff_list_pop(&room->joined))
        continue;
}

static void forget_gone(struct room *room, uint32_t most)
{
    struct ff_list *node;

    while (most-- > 0 && (node = ff_list_pop(&room->gone)))
        ff_mem_free(in_change(node));
}

void room_forget_news(struct room *room)
{
    forget_joined(room, UINT32_MAX);
    forget_gone(room, UINT32_MAX);
    room->is_counted = false;
}

/* The first of a list, as an array; `*count` of them. */
static enum ff_err write_changes(struct ff_buf *text, enum ff_encoding encoding,
                                 const struct ff_list *list, uint32_t *count,
                                 struct ff_slice *array)
{
    enum ff_err err = members_begin(text);

    *count = 0;
    for (struct ff_list *node = list->next; node != list && !err && *count < TOLD_AT_ONCE;
         node = node->next) {
        err = members_add(text, encoding, in_change(node));
        *count += 1;
    }
    return err ? err : members_end(text, encoding, *count, array);
}

/* The head before what was written behind its room. */
static struct ff_slice end_frame(struct ff_buf *frame, enum ff_encoding encoding)
{
    size_t size = frame->len - FF_FRAME_HEAD_MAX;
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t head_len = ff_frame_write_head(head, log_kinds[kind_of(encoding)].opcode, size);
    char *at = frame->data + FF_FRAME_HEAD_MAX - head_len;

    memcpy(at, head, head_len);
    return (struct ff_slice){at, head_len + size};
}

/* One frame in an encoding: who came and went, up to so many, and how many there are. */
static enum ff_err write_news(struct room *room, enum ff_encoding encoding, uint32_t counts[2],
                              struct ff_slice *out)
{
    struct room_env *env = room->env;
    struct ff_buf *frame = &env->frames[encoding];
    struct ff_slice arrays[2];
    struct ff_writer w;
    enum ff_err err =
        write_changes(&env->texts[0], encoding, &room->joined, &counts[0], &arrays[0]);

    if (!err)
        err = write_changes(&env->texts[1], encoding, &room->gone, &counts[1], &arrays[1]);
    frame->len = 0;
    if (!err)
        err = ff_buf_reserve(frame, FF_FRAME_HEAD_MAX);
    if (err)
        return err;
    frame->len = FF_FRAME_HEAD_MAX;
    ff_writer_begin(&w, frame, encoding, FF_BROKER, FF_TYPE_PRESENCE);
    ff_writer_string(&w, FF_FIELD_TOPIC, bulletin_topic(room_name(room)));
    if (!room->is_counted) { /* else who hears it asks who is there */
        ff_writer_raw(&w, FF_FIELD_JOINED, arrays[0]);
        ff_writer_raw(&w, FF_FIELD_LEFT, arrays[1]);
    }
    ff_writer_integer(&w, FF_FIELD_COUNT, room->count);
    err = ff_writer_end(&w);
    if (!err)
        *out = end_frame(frame, encoding);
    return err;
}

/* One frame, in the encodings that somebody reads. */
static enum ff_err append_one(struct room *room, struct topic *bulletin)
{
    struct ff_slice frames[FF_ENCODINGS] = {{NULL, 0}};
    uint32_t counts[2] = {0, 0};
    enum ff_err err = FF_OK;

    for (int i = 0; i < FF_ENCODINGS && !err; i++)
        if (bulletin->logs[i])
            err = write_news(room, (enum ff_encoding)i, counts, &frames[i]);
    if (!err)
        err = bulletin_append(room->env->router, bulletin, frames);
    if (err)
        return err;
    room->is_untold = true;
    if (room->is_counted) {
        room->is_counted = false;
        return FF_OK;
    }
    forget_joined(room, counts[0]);
    forget_gone(room, counts[1]);
    return FF_OK;
}

/* All that is to be told is appended, if somebody reads it. `*bulletin`: NULL if nobody does. */
static enum ff_err append_news(struct room *room, struct topic **bulletin)
{
    enum ff_err err = bulletin_find(room->env->router, room_name(room), bulletin);

    if (err)
        return err;
    if (!*bulletin) {
        room_forget_news(room);
        room->is_untold = false;
        return FF_OK;
    }
    bulletin_count(*bulletin, room->count);
    while (!err &&
           (room->is_counted || !ff_list_is_empty(&room->joined) || !ff_list_is_empty(&room->gone)))
        err = append_one(room, *bulletin);
    return err;
}

enum ff_err room_append_news(struct room *room)
{
    struct topic *bulletin;

    return append_news(room, &bulletin);
}

void room_tell(struct room *room)
{
    struct topic *bulletin;

    room->told_at = router_now_ms(room->env->router);
    if (append_news(room, &bulletin) || !bulletin)
        return;
    bulletin_tell(room->env->router, bulletin);
    room->is_untold = false;
}

uint64_t room_tell_at(const struct room *room)
{
    return room->told_at + (room->is_large ? PRESENCE_COUNT_MS : PRESENCE_TELL_MS);
}

void room_note_count(struct room *room)
{
    bool was_large = room->is_large;

    if (room->count > PRESENCE_LARGE)
        room->is_large = true;
    else if (room->count < PRESENCE_SMALL)
        room->is_large = false;
    if (room->is_large && !was_large)
        room_forget_news(room);
    room->is_counted |= room->is_large || was_large;
}
