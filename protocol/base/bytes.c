/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/bytes.h"

static char lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        c = (char)(c + ('a' - 'A'));
    return c;
}

bool ff_slice_is_equal_nocase(struct ff_slice a, struct ff_slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

struct ff_slice ff_slice_trim(struct ff_slice s)
{
    while (s.len && (s.at[0] == ' ' || s.at[0] == '\t')) {
        s.at++;
        s.len--;
    }
    while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

struct ff_slice ff_slice_cut(struct ff_slice *rest, char separator)
{
    const char *found = rest->len ? memchr(rest->at, separator, rest->len) : NULL;
    struct ff_slice part = *rest;

    if (!found) {
        *rest = (struct ff_slice){NULL, 0};
        return part;
    }
    part.len = (size_t)(found - rest->at);
    rest->at = found + 1;
    rest->len -= part.len + 1;
    return part;
}
