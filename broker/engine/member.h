/* SPDX-License-Identifier: Apache-2.0 */
/* member.h - one member of a topic, and what members look like on the wire. */
#ifndef ENGINE_MEMBER_H
#define ENGINE_MEMBER_H

#include "protocol/base/buf.h"
#include "protocol/base/list.h"
#include "protocol/base/map.h"
#include "protocol/message/encode.h"

enum { MEMBER_USER_MAX = 64 };

struct room;

struct member {
    struct ff_map_node by_serial;
    struct ff_map_node by_who; /* while its leave waits */
    struct ff_list node;       /* of its room, in the order in which they came */
    struct ff_list leaving;    /* while its leave waits: the first to go first */
    struct ff_list change;     /* while it is to be told that it came, or went */
    struct room *room;
    uint64_t serial;  /* of the subscription that it is there by */
    uint64_t session; /* as which it is known */
    uint64_t goes_at; /* ms; while its leave waits */
    uint8_t user_len;
    char user[]; /* not NUL-terminated */
};

static inline struct ff_slice member_user(const struct member *member)
{
    return (struct ff_slice){member->user, member->user_len};
}

/* The most octets that one takes in an array of them: a user all of escapes. */
enum { MEMBER_TEXT_MAX = 64 + 6 * MEMBER_USER_MAX };

/*
 * An array of them, in a buffer: begun, each one added, ended when it is known how many they
 * are. `*array` is borrowed from the buffer. FF_OK, FF_ENOMEM, FF_ELIMIT.
 */
FF_MUST_CHECK enum ff_err members_begin(struct ff_buf *out);
FF_MUST_CHECK enum ff_err members_add(struct ff_buf *out, enum ff_encoding encoding,
                                      const struct member *member);
FF_MUST_CHECK enum ff_err members_end(struct ff_buf *out, enum ff_encoding encoding, uint32_t count,
                                      struct ff_slice *array);

#endif
