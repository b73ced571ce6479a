/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulletin.h - what the engine itself tells those who ask for it about a topic.
 *
 * A bulletin is a topic beside another one: it has the same owner and logs for both
 * encodings, and is read by subscriptions and remote links like any other. No client
 * can name it, no filter matches it and no rule is for it: its name is BULLETIN_PREFIX,
 * which a client cannot spell, and the other topic's name. Its frames are written as they are
 * to be sent. Who missed some is told how many members there are, in the place of a GAP.
 *
 * What was appended is not told until the engine says so: it may be told with what
 * follows, and who begins to read at the head then does not hear it.
 */
#ifndef TOPIC_BULLETIN_H
#define TOPIC_BULLETIN_H

#include "broker/topic/router.h"

#define BULLETIN_PREFIX "$\x01"

enum { BULLETIN_PREFIX_LEN = 2, BULLETIN_TOPIC_MAX = FF_TOPIC_MAX - BULLETIN_PREFIX_LEN };

/* Is it one, and if so: of which topic? */
static inline bool bulletin_is(struct ff_slice name)
{
    return name.len > BULLETIN_PREFIX_LEN &&
           memcmp(name.at, BULLETIN_PREFIX, BULLETIN_PREFIX_LEN) == 0;
}

/* May this name or filter have one? A short name that is not the broker's may. */
static inline bool bulletin_may_be(struct ff_slice topic)
{
    return topic.len <= BULLETIN_TOPIC_MAX && ff_topic_kind(topic) == FF_TOPIC_NAME &&
           !ff_topic_is_reserved(topic);
}

static inline struct ff_slice bulletin_topic(struct ff_slice name)
{
    return (struct ff_slice){name.at + BULLETIN_PREFIX_LEN, name.len - BULLETIN_PREFIX_LEN};
}

/* The name of a topic's bulletin, in `room`. The topic's has at most BULLETIN_TOPIC_MAX octets. */
struct ff_slice bulletin_name(struct ff_slice topic, char room[FF_TOPIC_MAX]);

/* For the owner; `name` is the bulletin's. Does anybody read it? FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err bulletin_find(struct router *router, struct ff_slice name,
                                        struct topic **bulletin);

/*
 * Appends one frame, in each encoding, to the logs that are there: to all of them or to none.
 * FF_OK, FF_ENOMEM.
 */
FF_MUST_CHECK enum ff_err bulletin_append(struct router *router, struct topic *bulletin,
                                          const struct ff_slice frames[FF_ENCODINGS]);

/* Its readers are told of what was appended, when the turn ends. */
void bulletin_tell(struct router *router, struct topic *bulletin);

/* So many members there are. */
void bulletin_count(const struct topic *bulletin, uint32_t members);

/* In the place of a GAP, for who reads this link: how many there are now. Its size. */
size_t bulletin_write_count(const struct link *link, char out[GAP_MAX]);

#endif
