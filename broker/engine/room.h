/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room.h - the members of one topic, and what of their coming and going is still to be told.
 *
 * What is told goes into the topic's bulletin, if somebody reads it; else it is forgotten.
 * It is appended first, and told when its time has come.
 */
#ifndef ENGINE_ROOM_H
#define ENGINE_ROOM_H

#include "broker/engine/member.h"
#include "broker/topic/router.h"

/* What rooms have in common. */
struct room_env {
    struct router *router;
    struct ff_buf texts[2];             /* arrays of members */
    struct ff_buf frames[FF_ENCODINGS]; /* what is to be appended */
};

void room_env_init(struct room_env *env, struct router *router);
void room_env_deinit(struct room_env *env);

struct room {
    struct ff_map_node node;
    struct room_env *env;
    struct wheel_timer clock;
    struct ff_list members;
    struct ff_list leaving; /* of them, the first to go first */
    struct ff_list joined;  /* of them, and not told of yet */
    struct ff_list gone;    /* no members any more, and not told of yet */
    uint64_t told_at;       /* ms */
    uint32_t count;
    bool is_large;   /* only the number is told */
    bool is_counted; /* and is to be told */
    bool is_untold;  /* what was appended is to be told */
    uint8_t name_len;
    char name[]; /* the bulletin's */
};

static inline struct ff_slice room_name(const struct room *room)
{
    return (struct ff_slice){room->name, room->name_len};
}

/* Is something to be appended, or told? */
bool room_has_news(const struct room *room);

/* Nobody is to be told what is not appended yet. */
void room_forget_news(struct room *room);

/* All that is to be told is appended. FF_OK, FF_ENOMEM: what is left of it is still to be told. */
FF_MUST_CHECK enum ff_err room_append_news(struct room *room);

/* And told. Where memory is short it is to be tried again. */
void room_tell(struct room *room);

/* When something may be told next, in ms. */
uint64_t room_tell_at(const struct room *room);

/* There are more members, or fewer. */
void room_note_count(struct room *room);

#endif
