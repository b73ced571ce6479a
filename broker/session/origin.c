/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/origin.h"

#include <stdio.h>

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

/* `text` is in normal form, as what the lists hold is. */
static bool is_listed(const struct text_list *list, const char *text)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (site_is_match(list->at[i], text))
            return true;
    return false;
}

static bool is_listed_origin(const struct settings *settings, struct ff_slice origin)
{
    char text[SITE_TEXT_MAX];

    if (is_listed(&settings->origins, "*"))
        return true;
    if (ff_slice_is_equal(origin, FF_SLICE("null")) ||
        ff_slice_is_equal(origin, FF_SLICE("file://")))
        (void)snprintf(text, sizeof(text), "%.*s", (int)origin.len, origin.at);
    else if (!site_read_origin(text, origin))
        return false;
    return is_listed(&settings->origins, text);
}

static bool is_secure(struct ff_slice scheme)
{
    return ff_slice_is_equal_nocase(scheme, FF_SLICE("https")) ||
           ff_slice_is_equal_nocase(scheme, FF_SLICE("wss"));
}

/* The same port, where both are known. `has_tls`: the page came by https. */
static bool is_same_port(const struct site *site, const struct authority *us,
                         const struct authority *page, bool has_tls)
{
    struct ff_slice default_port = ff_slice_of(has_tls ? "443" : "80");
    struct ff_slice ours = us->port.at ? us->port : site->port;

    if (!ours.at && site->is_proxied)
        return true;
    if (!ours.at) /* behind a proxy that nobody told us of: the default of the page's scheme */
        ours = default_port;
    return ff_slice_is_equal(page->port.at ? page->port : default_port, ours);
}

bool origin_is_allowed(const struct settings *settings, struct ff_slice origin,
                       const struct site *site)
{
    char text[SITE_TEXT_MAX];
    struct ff_slice rest;
    struct ff_slice scheme;
    struct authority page;
    struct authority us;
    bool has_tls;

    if (!origin.at || is_listed_origin(settings, origin))
        return true;
    if (!site_read_origin(text, origin) || !authority_parse(&us, site->host))
        return false;
    rest = ff_slice_of(text);
    scheme = ff_slice_cut(&rest, ':');
    has_tls = ff_slice_is_equal(scheme, FF_SLICE("https"));
    if (!has_tls && !ff_slice_is_equal(scheme, FF_SLICE("http")))
        return false;
    rest = (struct ff_slice){rest.at + 2, rest.len - 2};
    if (!authority_parse(&page, rest))
        return false;
    /* What listens on this machine alone is for its own pages, whatever port served them. */
    if (settings->is_loopback_only && is_loopback_host(page.host))
        return true;
    if (!has_tls && is_secure(site->scheme))
        return false;
    return ff_slice_is_equal_nocase(page.host, us.host) && is_same_port(site, &us, &page, has_tls);
}

bool host_is_allowed(const struct settings *settings, const struct site *site)
{
    char text[SITE_TEXT_MAX];
    struct authority us;
    char name[SITE_TEXT_MAX];

    if (!settings->is_loopback_only || site->is_indirect)
        return true;
    if (!authority_parse(&us, site->host) || !site_read_host(text, site->host) ||
        !site_read_host(name, us.host))
        return false;
    return is_loopback_host(us.host) ||
           (us.host.len > 4 && memcmp(us.host.at, "127.", 4) == 0 && is_numeric(us.host)) ||
           is_listed(&settings->hosts, name) || is_listed(&settings->hosts, text);
}
