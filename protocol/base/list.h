/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.h - an intrusive ring of nodes, for things that are in one list or none.
 *
 * The head is a node itself. Adding and removing are O(1) and cannot fail. A
 * node outside any list has `next` NULL.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct ff_list {
    struct ff_list *next;
    struct ff_list *prev;
};

static inline void ff_list_init(struct ff_list *head)
{
    head->next = head->prev = head;
}

static inline bool ff_list_is_empty(const struct ff_list *head)
{
    return head->next == head;
}

static inline bool ff_list_is_in(const struct ff_list *node)
{
    return node->next != NULL;
}

static inline void ff_list_append(struct ff_list *head, struct ff_list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

static inline void ff_list_prepend(struct ff_list *head, struct ff_list *node)
{
    node->next = head->next;
    node->prev = head;
    head->next->prev = node;
    head->next = node;
}

/* A node that is in no list may be removed, too. */
static inline void ff_list_remove(struct ff_list *node)
{
    if (!node->next)
        return;
    node->next->prev = node->prev;
    node->prev->next = node->next;
    node->next = node->prev = NULL;
}

/* Takes the first node out, NULL if there is none. */
static inline struct ff_list *ff_list_pop(struct ff_list *head)
{
    struct ff_list *node = head->next;

    if (node == head)
        return NULL;
    ff_list_remove(node);
    return node;
}

#endif
