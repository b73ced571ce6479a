/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/topic.h"

#include "protocol/base/utf8.h"

/* U+0000 to 001F and U+007F to 009F; the text is UTF-8. */
static bool has_control(struct ff_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];

        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < text.len && (unsigned char)text.at[i + 1] < 0xa0)
            return true;
    }
    return false;
}

static bool is_level(struct ff_slice level, char wildcard)
{
    return level.len == 1 && level.at[0] == wildcard;
}

static const char *classify(struct ff_slice text, enum ff_topic_kind *kind)
{
    struct ff_slice rest = text;
    int levels = 0;

    *kind = FF_TOPIC_BAD;
    if (text.len == 0)
        return "a topic must not be empty";
    if (text.len > FF_TOPIC_MAX)
        return "a topic is at most 255 bytes long";
    if (!ff_utf8_is_valid(text.at, text.len))
        return "a topic must be UTF-8";
    if (has_control(text))
        return "a topic must not contain control characters";
    *kind = FF_TOPIC_NAME;
    while (rest.at) {
        struct ff_slice level = ff_slice_cut(&rest, '/');
        bool is_wild = is_level(level, '+') || (is_level(level, '#') && !rest.at);

        if (level.len == 0 || ++levels > FF_TOPIC_LEVELS) {
            *kind = FF_TOPIC_BAD;
            return level.len ? "a topic has at most 32 levels" : "a level must not be empty";
        }
        if (is_wild) {
            *kind = FF_TOPIC_FILTER;
        } else if (memchr(level.at, '+', level.len) || memchr(level.at, '#', level.len)) {
            *kind = FF_TOPIC_BAD;
            return "'+' stands for a whole level, '#' for the last one";
        }
    }
    return "";
}

enum ff_topic_kind ff_topic_kind(struct ff_slice text)
{
    enum ff_topic_kind kind;

    (void)classify(text, &kind);
    return kind;
}

const char *ff_topic_fault(struct ff_slice text)
{
    enum ff_topic_kind kind;

    return classify(text, &kind);
}

bool ff_topic_is_match(struct ff_slice filter, struct ff_slice name)
{
    bool is_first = true;

    while (filter.at && name.at) {
        struct ff_slice wanted = ff_slice_cut(&filter, '/');
        struct ff_slice level;
        bool is_hidden = is_first && ff_topic_is_reserved(name);

        if (is_level(wanted, '#'))
            return !is_hidden;
        level = ff_slice_cut(&name, '/');
        if (is_level(wanted, '+') ? is_hidden : !ff_slice_is_equal(wanted, level))
            return false;
        is_first = false;
    }
    if (filter.at) /* `a/#` matches `a` itself */
        return is_level(filter, '#');
    return !name.at;
}
