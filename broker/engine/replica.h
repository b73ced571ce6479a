/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replica.h - a topic's log, made the same as its stream in Redis.
 *
 * A message is taken if it is the next one of the log. What is missing before it is told, in its
 * place, by an entry of the log (router.h, holes); so is the end of an epoch.
 */
#ifndef ENGINE_REPLICA_H
#define ENGINE_REPLICA_H

#include "broker/engine/mirror.h"

/* Where the log stands that is left from an earlier mirror of the name, if there is one. */
void replica_find(struct mirror *mirror);

/* The mirror ends: what is retained is Redis' to keep. */
void replica_end(struct mirror *mirror);

/* Is anybody subscribed to it? */
bool replica_is_needed(const struct mirror *mirror);

/*
 * Takes a message that comes right behind the log, for filters, too, but if they have had it.
 * FF_OK: it is there, or was before; FF_EOTHER: it is not the next one.
 */
enum ff_err replica_take_next(struct mirror *mirror, const struct parcel *parcel,
                              bool skips_filters);

/* Is it one that the log has, or had? */
bool replica_has(const struct mirror *mirror, const struct parcel *parcel);

/* A message for filters alone. */
void replica_tell_filters(struct mirrors *mirrors, struct ff_slice name,
                          const struct parcel *parcel);

/* What redis.lua's look() answered. FF_OK; FF_EAWAY: it is an error, or no such answer. */
FF_MUST_CHECK enum ff_err replica_take_page(struct mirror *mirror, const struct redis_reply *reply,
                                            bool *has_more);

/* Nobody knows what a topic or filter without history missed, but that it may have: a GAP "lost".
 */
void replica_tell_lost(struct router *router, struct ff_slice name);

/* The topic, which stands where the log is to end; NULL: out of memory. */
struct topic *replica_topic(struct mirror *mirror);

#endif
