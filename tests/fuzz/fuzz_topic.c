/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and filters, one a line. Each is judged, each filter is held against
 * each name by the real matcher, by a naive one, and by the tree that the
 * router looks filters up in, while filters come and go.
 */
#include <stdlib.h>

#include "broker/topic/filter.h"
#include "protocol/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_LINES = 16 };

struct line {
    struct ff_slice text;
    enum ff_topic_kind kind;
    struct topic *filter; /* while it is in the tree */
};

static bool is_text(const char *at, const char *end, char c)
{
    return end - at == 1 && *at == c;
}

static const char *level_end(const char *at, const char *end)
{
    while (at < end && *at != '/')
        at++;
    return at;
}

/* Level by level, by recursion; NULL: no level is left. */
static bool is_match(const char *f, const char *f_end, const char *n, const char *n_end, bool first)
{
    const char *f_to = f ? level_end(f, f_end) : NULL;
    const char *n_to = n ? level_end(n, n_end) : NULL;
    bool is_wild;

    if (!f)
        return !n;
    is_wild = is_text(f, f_to, '#') || is_text(f, f_to, '+');
    if (first && is_wild && n && n < n_end && *n == '$')
        return false;
    if (is_text(f, f_to, '#'))
        return true;
    if (!n)
        return false;
    if (!is_wild && (f_to - f != n_to - n || memcmp(f, n, (size_t)(f_to - f)) != 0))
        return false;
    return is_match(f_to < f_end ? f_to + 1 : NULL, f_end, n_to < n_end ? n_to + 1 : NULL, n_end,
                    false);
}

static struct topic *new_filter(struct ff_slice text)
{
    struct topic *topic = ff_mem_zalloc(sizeof(*topic) + text.len);

    if (!topic)
        abort();
    topic->is_filter = true;
    topic->name_len = (uint8_t)text.len;
    memcpy(topic->name, text.at, text.len);
    return topic;
}

static bool is_found(const struct filter_tree *tree, uint32_t count, const struct topic *filter)
{
    for (uint32_t i = 0; i < count; i++)
        if (tree->found[i] == filter)
            return true;
    return false;
}

static void check_name(struct filter_tree *tree, const struct line *lines, size_t count,
                       struct ff_slice name)
{
    uint32_t found = filter_tree_match(tree, name);
    uint32_t wanted = 0;

    for (size_t i = 0; i < count; i++) {
        struct ff_slice f = lines[i].text;
        bool matches;

        if (lines[i].kind != FF_TOPIC_FILTER)
            continue;
        matches = is_match(f.at, f.at + f.len, name.at, name.at + name.len, true);
        if (matches != ff_topic_is_match(f, name))
            abort();
        if (!lines[i].filter)
            continue;
        wanted += matches;
        if (matches != is_found(tree, found, lines[i].filter))
            abort();
    }
    if (found != wanted)
        abort();
}

static void add(struct filter_tree *tree, struct line *lines, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (lines[k].filter && ff_slice_is_equal(lines[k].text, lines[i].text))
            return; /* it is there */
    lines[i].filter = new_filter(lines[i].text);
    if (filter_tree_add(tree, lines[i].filter))
        abort();
}

static void drop(struct filter_tree *tree, struct line *line)
{
    if (!line->filter)
        return;
    filter_tree_remove(tree, line->filter);
    ff_mem_free(line->filter);
    line->filter = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ff_hash_key key = {{1, 2}};
    struct ff_slice rest = {(const char *)data, size};
    struct line lines[MAX_LINES] = {{.text = {NULL, 0}}};
    struct filter_tree tree;
    size_t count = 0;

    if (!size || filter_tree_init(&tree, &key))
        return 0;
    for (; rest.at && count < MAX_LINES; count++) {
        struct line *line = &lines[count];

        line->text = ff_slice_cut(&rest, '\n');
        line->kind = ff_topic_kind(line->text);
        if ((line->kind == FF_TOPIC_BAD) != (ff_topic_fault(line->text)[0] != '\0'))
            abort();
        if (line->kind == FF_TOPIC_FILTER)
            add(&tree, lines, count);
        if (line->kind == FF_TOPIC_NAME)
            check_name(&tree, lines, count, line->text);
        if (line->text.len % 3 == 0)
            drop(&tree, &lines[line->text.len % (count + 1)]);
    }
    for (size_t i = 0; i < count; i++)
        drop(&tree, &lines[i]);
    filter_tree_deinit(&tree);
    return 0;
}
