/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.c - a tree of the levels of all filters: a name is matched level by level
 * on a stack of branches, `+` and `#` beside the exact child. Its generation counts
 * changes, so that topics may keep what matched.
 */
#include "broker/topic/filter.h"

#include "protocol/base/mem.h"

struct tree_node {
    struct ff_map_node node;
    struct tree_node *parent; /* NULL: the first level */
    struct topic *filter;     /* the filter that ends here, or NULL */
    uint32_t children;
    uint32_t len;
    char level[];
};

struct tree_key {
    const struct tree_node *parent;
    struct ff_slice level;
};

enum ff_err filter_tree_init(struct filter_tree *tree, const struct ff_hash_key *key)
{
    *tree = (struct filter_tree){.key = *key, .generation = 1};
    return ff_map_init(&tree->nodes);
}

void filter_tree_deinit(struct filter_tree *tree)
{
    FF_CHECK(tree->count == 0);
    ff_map_deinit(&tree->nodes);
    ff_mem_free(tree->found);
    tree->found = NULL;
}

static uint32_t hash_of(const struct filter_tree *tree, const struct tree_key *key)
{
    uint32_t parent = key->parent ? key->parent->node.hash * 2654435761U : 0;

    return ff_hash(&tree->key, key->level.at, key->level.len) ^ parent;
}

static bool is_node(const void *arg, const struct ff_map_node *node)
{
    const struct tree_key *key = arg;
    const struct tree_node *tree_node = FF_CONTAINER_CONST(node, struct tree_node, node);

    return tree_node->parent == key->parent &&
           ff_slice_is_equal((struct ff_slice){tree_node->level, tree_node->len}, key->level);
}

static struct tree_node *find(const struct filter_tree *tree, const struct tree_node *parent,
                              struct ff_slice level)
{
    struct tree_key key = {parent, level};
    struct ff_map_node *node = ff_map_find(&tree->nodes, hash_of(tree, &key), is_node, &key);

    return node ? FF_CONTAINER(node, struct tree_node, node) : NULL;
}

static struct tree_node *make(struct filter_tree *tree, struct tree_node *parent,
                              struct ff_slice level)
{
    struct tree_key key = {parent, level};
    struct tree_node *node = ff_mem_zalloc(sizeof(*node) + level.len + 1);

    if (!node)
        return NULL;
    node->parent = parent;
    node->len = (uint32_t)level.len;
    memcpy(node->level, level.at, level.len);
    ff_map_add(&tree->nodes, &node->node, hash_of(tree, &key));
    if (parent)
        parent->children++;
    return node;
}

/* Nodes that lead nowhere go, from the leaf up. */
static void prune(struct filter_tree *tree, struct tree_node *node)
{
    while (node && !node->filter && !node->children) {
        struct tree_node *parent = node->parent;

        ff_map_remove(&tree->nodes, &node->node);
        ff_mem_free(node);
        if (parent)
            parent->children--;
        node = parent;
    }
}

static bool reserve_found(struct filter_tree *tree)
{
    uint32_t capacity = tree->capacity ? tree->capacity * 2 : 4;
    struct topic **found;

    if (tree->count < tree->capacity)
        return true;
    found = ff_mem_realloc(tree->found, capacity * sizeof(struct topic *));
    if (!found)
        return false;
    tree->found = found;
    tree->capacity = capacity;
    return true;
}

static void shrink_found(struct filter_tree *tree)
{
    uint32_t capacity = tree->capacity / 2;
    struct topic **found;

    if (capacity < 4 || tree->count > tree->capacity / 8)
        return;
    found = ff_mem_realloc(tree->found, capacity * sizeof(struct topic *));
    if (!found)
        return;
    tree->found = found;
    tree->capacity = capacity;
}

enum ff_err filter_tree_add(struct filter_tree *tree, struct topic *filter)
{
    struct ff_slice rest = topic_name(filter);
    struct tree_node *at = NULL;

    if (!reserve_found(tree))
        return FF_ENOMEM;
    while (rest.at) {
        struct ff_slice level = ff_slice_cut(&rest, '/');
        struct tree_node *child = find(tree, at, level);

        if (!child)
            child = make(tree, at, level);
        if (!child) {
            prune(tree, at);
            return FF_ENOMEM;
        }
        at = child;
    }
    at->filter = filter;
    tree->count++;
    tree->generation++;
    return FF_OK;
}

void filter_tree_remove(struct filter_tree *tree, struct topic *filter)
{
    struct ff_slice rest = topic_name(filter);
    struct tree_node *at = NULL;

    while (rest.at) {
        at = find(tree, at, ff_slice_cut(&rest, '/'));
        FF_CHECK(at);
    }
    FF_CHECK(at && at->filter == filter);
    at->filter = NULL;
    tree->count--;
    tree->generation++;
    prune(tree, at);
    shrink_found(tree);
}

/* A branch of the search: a node, and the levels of the name that are still to be matched. */
struct branch {
    struct tree_node *node;
    struct ff_slice rest;
    bool is_first;
};

static void add_found(struct filter_tree *tree, const struct tree_node *node, uint32_t *count)
{
    if (node && node->filter)
        tree->found[(*count)++] = node->filter;
}

uint32_t filter_tree_match(struct filter_tree *tree, struct ff_slice name)
{
    /* Depth first: a level leaves at most one branch behind. */
    struct branch stack[FF_TOPIC_LEVELS + 2];
    bool is_reserved = ff_topic_is_reserved(name);
    unsigned depth = 0;
    uint32_t count = 0;

    if (tree->count == 0)
        return 0;
    stack[depth++] = (struct branch){NULL, name, true};
    while (depth) {
        struct branch at = stack[--depth];
        bool is_hidden = at.is_first && is_reserved;
        struct ff_slice level;
        struct tree_node *child;

        if (!is_hidden)
            add_found(tree, find(tree, at.node, FF_SLICE("#")), &count);
        if (!at.rest.at) { /* all levels matched */
            add_found(tree, at.node, &count);
            continue;
        }
        level = ff_slice_cut(&at.rest, '/');
        child = is_hidden ? NULL : find(tree, at.node, FF_SLICE("+"));
        if (child)
            stack[depth++] = (struct branch){child, at.rest, false};
        child = find(tree, at.node, level);
        if (child)
            stack[depth++] = (struct branch){child, at.rest, false};
    }
    return count;
}
