/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/heard.h"

#include "protocol/base/list.h"
#include "protocol/base/mem.h"

struct heard {
    struct ff_map map;
    struct ff_hash_key key;
};

struct heard *heard_new(const struct ff_hash_key *key)
{
    struct heard *heard = ff_mem_zalloc(sizeof(*heard));

    if (!heard)
        return NULL;
    if (ff_map_init(&heard->map)) {
        ff_mem_free(heard);
        return NULL;
    }
    heard->key = *key;
    return heard;
}

void heard_clear(struct heard *heard)
{
    struct ff_map_node *node = ff_map_next(&heard->map, NULL);

    while (node) {
        struct ff_map_node *next = ff_map_next(&heard->map, node);

        ff_map_remove(&heard->map, node);
        ff_mem_free(FF_CONTAINER(node, struct heard_name, node));
        node = next;
    }
}

void heard_free(struct heard *heard)
{
    if (!heard)
        return;
    heard_clear(heard);
    ff_map_deinit(&heard->map);
    ff_mem_free(heard);
}

static bool is_name(const void *arg, const struct ff_map_node *node)
{
    const struct heard_name *name = FF_CONTAINER_CONST(node, struct heard_name, node);

    return ff_slice_is_equal(*(const struct ff_slice *)arg,
                             (struct ff_slice){name->name, name->len});
}

void heard_count(struct heard *heard, struct ff_slice name, uint32_t receivers)
{
    uint32_t hash = ff_hash(&heard->key, name.at, name.len);
    struct ff_map_node *node = ff_map_find(&heard->map, hash, is_name, &name);
    struct heard_name *entry = node ? FF_CONTAINER(node, struct heard_name, node) : NULL;

    if (!entry) {
        if (heard->map.count >= HEARD_MAX)
            return;
        entry = ff_mem_zalloc(sizeof(*entry) + name.len);
        if (!entry)
            return;
        entry->len = (uint32_t)name.len;
        memcpy(entry->name, name.at, name.len);
        ff_map_add(&heard->map, &entry->node, hash);
    }
    entry->messages++;
    entry->receivers = receivers;
}

const struct heard_name *heard_next(const struct heard *heard, const struct heard_name *name)
{
    struct ff_map_node *node = ff_map_next(&heard->map, name ? &name->node : NULL);

    return node ? FF_CONTAINER(node, struct heard_name, node) : NULL;
}
