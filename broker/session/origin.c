/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/origin.h"

#include "broker/session/authority.h"

static bool is_loopback_host(struct ff_slice host)
{
    return ff_slice_is_equal_nocase(host, FF_SLICE("localhost")) ||
           ff_slice_is_equal(host, FF_SLICE("127.0.0.1")) ||
           ff_slice_is_equal(host, FF_SLICE("[::1]"));
}

/* 127.x.y.z; "127.evil.example" is a name like any other. */
static bool is_numeric(struct ff_slice host)
{
    for (size_t i = 0; i < host.len; i++)
        if (host.at[i] != '.' && (host.at[i] < '0' || host.at[i] > '9'))
            return false;
    return true;
}

static bool is_listed(const struct text_list *list, struct ff_slice text)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (ff_slice_is_equal_nocase(ff_slice_of(list->at[i]), text))
            return true;
    return false;
}

static bool cut_prefix(struct ff_slice *text, const char *prefix)
{
    size_t len = strlen(prefix);

    if (text->len < len ||
        !ff_slice_is_equal_nocase((struct ff_slice){text->at, len}, (struct ff_slice){prefix, len}))
        return false;
    text->at += len;
    text->len -= len;
    return true;
}

bool origin_is_allowed(const struct settings *settings, struct ff_slice origin,
                       struct ff_slice host)
{
    struct ff_slice rest = origin;
    const char *default_port = "80";
    struct authority page;
    struct authority us;

    if (!origin.at || is_listed(&settings->origins, FF_SLICE("*")) ||
        is_listed(&settings->origins, origin))
        return true;
    if (cut_prefix(&rest, "https://"))
        default_port = "443";
    else if (!cut_prefix(&rest, "http://"))
        return false;
    if (!authority_parse(&page, rest) || rest.at[rest.len - 1] == ':' ||
        !authority_parse(&us, host)) /* an empty port is of a Host alone */
        return false;
    /* What listens on this machine alone is for its own pages, whatever port served them. */
    if (settings->is_loopback_only && is_loopback_host(page.host))
        return true;
    if (!page.port.at)
        page.port = ff_slice_of(default_port);
    if (!us.port.at) /* behind a proxy: its port is the default of the page's scheme */
        us.port = ff_slice_of(default_port);
    return ff_slice_is_equal_nocase(page.host, us.host) && ff_slice_is_equal(page.port, us.port);
}

bool host_is_allowed(const struct settings *settings, struct ff_slice host)
{
    struct authority us;

    if (!settings->is_loopback_only)
        return true;
    if (!authority_parse(&us, host))
        return false;
    return is_loopback_host(us.host) ||
           (us.host.len > 4 && memcmp(us.host.at, "127.", 4) == 0 && is_numeric(us.host)) ||
           is_listed(&settings->hosts, us.host) || is_listed(&settings->hosts, host);
}
