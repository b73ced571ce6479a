/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - which filters match a name: a trie of levels.
 *
 * Nodes are found by (parent, level) in one hash map, so a name of n levels
 * costs at most two look-ups for each node of the trie that it reaches. The
 * tree borrows the filters.
 */
#ifndef TOPIC_FILTER_H
#define TOPIC_FILTER_H

#include "broker/topic/topic.h"

struct filter_tree {
    struct ff_map nodes;
    struct ff_hash_key key;
    struct topic **found; /* room for all filters, so that matching never allocates */
    uint32_t capacity;
    uint32_t count;
    uint64_t generation; /* changes with every filter that comes or goes, and never comes again */
};

/* FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err filter_tree_init(struct filter_tree *tree, const struct ff_hash_key *key);

/* All filters must be out. */
void filter_tree_deinit(struct filter_tree *tree);

/* FF_OK, FF_ENOMEM. The filter must not be in the tree. */
FF_MUST_CHECK enum ff_err filter_tree_add(struct filter_tree *tree, struct topic *filter);
void filter_tree_remove(struct filter_tree *tree, struct topic *filter);

/* The filters that match a name are in `found` until the next call; returns their number. */
uint32_t filter_tree_match(struct filter_tree *tree, struct ff_slice name);

#endif
