/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/subscriptions.h"

#include "protocol/base/mem.h"

void subscriptions_init(struct subscriptions *all)
{
    *all = (struct subscriptions){.count = 0};
    ff_list_init(&all->list);
}

static void free_map(struct ff_map *map)
{
    ff_map_deinit(map);
    ff_mem_free(map);
}

void subscriptions_deinit(struct subscriptions *all)
{
    if (all->is_map)
        free_map(all->map);
    subscriptions_init(all);
}

static struct subscription *in_list(struct ff_list *node)
{
    return FF_CONTAINER(node, struct subscription, node);
}

static struct subscription *in_map(struct ff_map_node *node)
{
    return FF_CONTAINER(node, struct subscription, map_node);
}

static void add_to_map(struct ff_map *map, const struct ff_hash_key *key, struct ff_slice name,
                       struct subscription *s)
{
    ff_map_add(map, &s->map_node, ff_hash(key, name.at, name.len));
}

static void become_map(struct subscriptions *all, const struct ff_hash_key *key)
{
    struct ff_map *map = ff_mem_alloc(sizeof(*map));
    struct ff_list *node;

    if (!map || ff_map_init(map)) {
        ff_mem_free(map);
        return;
    }
    while ((node = ff_list_pop(&all->list)))
        add_to_map(map, key, subscription_name(in_list(node)), in_list(node));
    all->map = map;
    all->is_map = true;
}

static void become_list(struct subscriptions *all)
{
    struct ff_map *map = all->map;
    struct ff_map_node *node;

    ff_list_init(&all->list);
    all->is_map = false;
    while ((node = ff_map_next(map, NULL))) {
        ff_map_remove(map, node);
        ff_list_append(&all->list, &in_map(node)->node);
    }
    free_map(map);
}

void subscriptions_add(struct subscriptions *all, const struct ff_hash_key *key,
                       struct ff_slice name, bool is_filter, struct subscription *s)
{
    if (!all->is_map && all->count >= SUBSCRIPTIONS_FEW)
        become_map(all, key);
    if (all->is_map)
        add_to_map(all->map, key, name, s);
    else
        ff_list_append(&all->list, &s->node);
    all->count++;
    all->filter_count += is_filter;
}

void subscriptions_remove(struct subscriptions *all, bool is_filter, struct subscription *s)
{
    all->count--;
    all->filter_count -= is_filter;
    if (!all->is_map) {
        ff_list_remove(&s->node);
        return;
    }
    ff_map_remove(all->map, &s->map_node);
    if (all->count <= SUBSCRIPTIONS_FEW / 2) /* one who goes to and fro between both is no cost */
        become_list(all);
}

static bool is_named(const struct subscription *s, struct ff_slice name)
{
    return s->state != SUBSCRIPTION_DETACHED && ff_slice_is_equal(subscription_name(s), name);
}

static bool is_match(const void *arg, const struct ff_map_node *node)
{
    const struct ff_slice *name = arg;

    return is_named(FF_CONTAINER_CONST(node, struct subscription, map_node), *name);
}

struct subscription *subscriptions_find(const struct subscriptions *all,
                                        const struct ff_hash_key *key, struct ff_slice name)
{
    struct ff_map_node *found;

    if (all->is_map) {
        found = ff_map_find(all->map, ff_hash(key, name.at, name.len), is_match, &name);
        return found ? in_map(found) : NULL;
    }
    for (struct ff_list *node = all->list.next; node != &all->list; node = node->next)
        if (is_named(in_list(node), name))
            return in_list(node);
    return NULL;
}

struct subscription *subscriptions_next(const struct subscriptions *all,
                                        const struct subscription *s)
{
    struct ff_map_node *found;
    struct ff_list *node;

    if (all->is_map) {
        found = ff_map_next(all->map, s ? &s->map_node : NULL);
        return found ? in_map(found) : NULL;
    }
    node = s ? s->node.next : all->list.next;
    return node != &all->list ? in_list(node) : NULL;
}
