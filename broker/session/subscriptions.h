/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscriptions.h - what one session is subscribed to, found by name.
 *
 * Most sessions have a few subscriptions, and for them this is a list, which
 * costs no memory. From SUBSCRIPTIONS_FEW on it is a hash map, so that a look-up
 * costs as little for the thousandth subscription as for the first, whoever else
 * is subscribed to the same topics. The nodes are in the subscriptions, which
 * stay their session's.
 */
#ifndef SESSION_SUBSCRIPTIONS_H
#define SESSION_SUBSCRIPTIONS_H

#include "broker/topic/subscription.h"

enum {
    SUBSCRIPTIONS_FEW = 8, /* so many are compared one by one */
    SUBSCRIPTIONS_BITS = 31,
};

struct subscriptions {
    union { /* by `is_map` */
        struct ff_list list;
        struct ff_map *map;
    };
    uint32_t count : SUBSCRIPTIONS_BITS;
    uint32_t is_map : 1;
    uint32_t filter_count; /* of them */
};

void subscriptions_init(struct subscriptions *all);

/* Its own memory is given back; subscriptions that are still in it may be freed already. */
void subscriptions_deinit(struct subscriptions *all);

/*
 * Adds one by the name it will have: it need not be tied yet, all others must
 * be. `key`: the same in each call. Cannot fail: for want of memory the list is
 * only longer.
 */
void subscriptions_add(struct subscriptions *all, const struct ff_hash_key *key,
                       struct ff_slice name, bool is_filter, struct subscription *s);

/* Takes one out, tied or not. O(1). */
void subscriptions_remove(struct subscriptions *all, bool is_filter, struct subscription *s);

/* The one that is tied to this name or filter, or waits for its owner's answer; NULL: none. O(1).
 */
struct subscription *subscriptions_find(const struct subscriptions *all,
                                        const struct ff_hash_key *key, struct ff_slice name);

/* Walks all: start with NULL. None may come or go meanwhile. */
struct subscription *subscriptions_next(const struct subscriptions *all,
                                        const struct subscription *s);

#endif
