/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence.h - who is subscribed to a worker's topics, and how the others hear of it.
 *
 * A topic with members has a room, apart from the topic itself: its members are counted and
 * listed whether anybody asked to hear of them or not. Who did reads the topic's bulletin
 * (topic/bulletin.h):
 *
 *   - who came and who went is told at most each 100 ms, in one frame for all readers, or
 *     several at once: who begins to read meanwhile must not hear what its answer holds,
 *     so that all that is to be told is appended before;
 *   - a leave waits 2 s. Who comes with the same user by then, or in the same session without
 *     one, takes the member's place: nobody is told anything, and it stays known as it was;
 *   - from 1,001 members on, until fewer than 900 are left, only their number is told, once
 *     a second.
 *
 * Whatever a client does costs O(1), but for the list of at most 1,000 that it asks for.
 * Leaving needs no memory. Where memory is tight, or very many leaves wait, none waits.
 */
#ifndef ENGINE_PRESENCE_H
#define ENGINE_PRESENCE_H

#include "broker/engine/engine.h"
#include "broker/topic/router.h"

enum {
    PRESENCE_LISTED = 1000, /* members in a list, at most */
    PRESENCE_LARGE = 1000,  /* with more only their number is told */
    PRESENCE_SMALL = 900,   /* with fewer each one is, again */
    PRESENCE_TELL_MS = 100,
    PRESENCE_COUNT_MS = 1000,
    PRESENCE_LEAVE_MS = 2000,
};

struct presence;

/* For the topics that a router owns, by its clock. NULL: out of memory. */
FF_MUST_CHECK struct presence *presence_new(struct router *router);

/* Before the router ends. NULL is allowed. */
void presence_free(struct presence *presence);

/* One more member of a topic. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err presence_join(struct presence *presence, struct ff_slice topic,
                                        const struct engine_member *who);

/* One that came by presence_join() goes. */
void presence_leave(struct presence *presence, uint64_t serial);

/*
 * Who is there: `who` first, if it is among them (serial 0: nobody asks), then the others in the
 * order in which they came. Who begins to read the bulletin now hears of nobody that is listed, and
 * nothing that was. `roll->members` is borrowed until the next call. The error is in
 * `roll`: FF_OK, FF_ENOMEM.
 */
void presence_list(struct presence *presence, struct ff_slice topic, uint64_t who,
                   struct engine_listing listing, struct engine_roll *roll);

/* The same as the start of a subscription to a topic's bulletin. */
void presence_start(struct presence *presence, const struct engine_subscription *what,
                    struct engine_start *start);

/* Of all topics, those whose leave waits too. */
uint64_t presence_count(const struct presence *presence);

#endif
