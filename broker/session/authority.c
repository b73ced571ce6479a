/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/authority.h"

enum { PORT_DIGITS = 5, PORT_MAX = 65535 };

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool has_only(struct ff_slice text, const char *others)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_alphanumeric(text.at[i]) && (!text.at[i] || !strchr(others, text.at[i])))
            return false;
    return text.len > 0;
}

static bool is_port(struct ff_slice text)
{
    unsigned value = 0;

    if (text.len > PORT_DIGITS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.at[i] - '0');
    }
    return value <= PORT_MAX;
}

/* Octets of the host that a text begins with; 0: of none. */
static size_t find_host_end(struct ff_slice text)
{
    const char *bracket = text.len && text.at[0] == '[' ? memchr(text.at, ']', text.len) : NULL;
    const char *colon;
    size_t len = text.len;

    if (bracket) {
        len = (size_t)(bracket - text.at) + 1;
        return has_only((struct ff_slice){text.at + 1, len - 2}, ":.") ? len : 0;
    }
    colon = len ? memchr(text.at, ':', len) : NULL;
    len = colon ? (size_t)(colon - text.at) : len;
    return has_only((struct ff_slice){text.at, len}, "-._~%!$&'()*+;=") ? len : 0;
}

bool authority_parse(struct authority *authority, struct ff_slice text)
{
    size_t len = find_host_end(text);
    struct ff_slice rest;

    *authority = (struct authority){{text.at, len}, {NULL, 0}};
    if (len == 0 || len == text.len)
        return len > 0;
    rest = (struct ff_slice){text.at + len, text.len - len};
    if (rest.at[0] != ':' || !is_port((struct ff_slice){rest.at + 1, rest.len - 1}))
        return false;
    if (rest.len > 1)
        authority->port = (struct ff_slice){rest.at + 1, rest.len - 1};
    return true;
}
