/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/site.h"

#include <stdio.h>

#include "broker/session/authority.h"

#define SEPARATOR "://"

static char lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c + ('a' - 'A'));
    return c;
}

/* `rest` is what follows the scheme; a text without one has none that is .at. */
static struct ff_slice cut_scheme(struct ff_slice *rest)
{
    const char *end = memmem(rest->at, rest->len, SEPARATOR, strlen(SEPARATOR));
    struct ff_slice scheme = {rest->at, end ? (size_t)(end - rest->at) : 0};

    if (!end || scheme.len == 0)
        return (struct ff_slice){NULL, 0};
    for (size_t i = 0; i < scheme.len; i++) {
        char c = lower(scheme.at[i]);

        if (!(c >= 'a' && c <= 'z') && !(i && ((c >= '0' && c <= '9') || strchr("+-.", c))))
            return (struct ff_slice){NULL, 0};
    }
    rest->at += scheme.len + strlen(SEPARATOR);
    rest->len -= scheme.len + strlen(SEPARATOR);
    return scheme;
}

static bool is_default_port(struct ff_slice scheme, struct ff_slice port)
{
    if (ff_slice_is_equal_nocase(scheme, FF_SLICE("https")))
        return ff_slice_is_equal(port, FF_SLICE("443"));
    return ff_slice_is_equal_nocase(scheme, FF_SLICE("http")) &&
           ff_slice_is_equal(port, FF_SLICE("80"));
}

/* In lower case, the scheme left out if .at is NULL. False: it is too long. */
static bool write(char out[SITE_TEXT_MAX], struct ff_slice scheme, const struct authority *site)
{
    bool has_port = site->port.at && !is_default_port(scheme, site->port);
    int len;

    if (scheme.len + site->host.len + 16 > SITE_TEXT_MAX)
        return false;
    len = snprintf(out, SITE_TEXT_MAX, "%.*s%s%.*s%s%.*s", (int)scheme.len,
                   scheme.at ? scheme.at : "", scheme.at ? SEPARATOR : "", (int)site->host.len,
                   site->host.at, has_port ? ":" : "", has_port ? (int)site->port.len : 0,
                   has_port ? site->port.at : "");
    for (int i = 0; i < len; i++)
        out[i] = lower(out[i]);
    return true;
}

bool site_read_origin(char out[SITE_TEXT_MAX], struct ff_slice text)
{
    struct ff_slice rest = text;
    struct ff_slice scheme = cut_scheme(&rest);
    struct authority authority;

    /* An empty port is of a Host alone. */
    return scheme.at && authority_parse(&authority, rest) && rest.at[rest.len - 1] != ':' &&
           write(out, scheme, &authority);
}

bool site_read_host(char out[SITE_TEXT_MAX], struct ff_slice text)
{
    struct authority authority;

    return authority_parse(&authority, text) && write(out, (struct ff_slice){NULL, 0}, &authority);
}

/* Is the last label a number? Then it is an address, which has no subdomains. */
static bool is_numeric(struct ff_slice host)
{
    const char *dot = memrchr(host.at, '.', host.len);
    const char *from = dot ? dot + 1 : host.at;
    const char *end = host.at + host.len;

    for (const char *c = from; c < end; c++)
        if (*c < '0' || *c > '9')
            return false;
    return from < end;
}

/* NULL, or what is wrong with a host that an entry names. */
static const char *judge_host(struct ff_slice host)
{
    struct ff_slice rest;
    const char *dot;

    if (host.at[0] == '[')
        return NULL;
    for (size_t i = 0; i < host.len; i++)
        if (strchr("%!$&'()+;=~", host.at[i]))
            return "has a character that no host's name has";
    if (!memchr(host.at, '*', host.len))
        return NULL;
    if (host.len == 1)
        return "would match the names of strangers";
    if (memcmp(host.at, "*.", 2) != 0 || memchr(host.at + 1, '*', host.len - 1))
        return "has a * that is not the whole first label";
    rest = (struct ff_slice){host.at + 2, host.len - 2};
    dot = rest.len ? memchr(rest.at, '.', rest.len) : NULL;
    if (!dot || dot == rest.at || dot + 1 == rest.at + rest.len || is_numeric(rest))
        return "would match the names of strangers";
    return NULL;
}

/* What an operator may have meant: the part of a text that names a host, or "". */
static struct ff_slice guess_host(const char *text)
{
    struct ff_slice rest = ff_slice_of(text);
    struct authority authority;

    (void)cut_scheme(&rest);
    rest.len = strcspn(rest.at, "/?#");
    return authority_parse(&authority, rest) && !judge_host(authority.host) &&
                   !memchr(rest.at, '*', rest.len)
               ? rest
               : FF_SLICE("app.example");
}

static bool refuse(char why[SITE_WHY_MAX], const char *what, const char *prefix, const char *text)
{
    struct ff_slice host = guess_host(text);

    if (strchr(text, '*'))
        (void)snprintf(why, SITE_WHY_MAX, "%s: write %s*.app.example for all subdomains of one",
                       what, prefix);
    else
        (void)snprintf(why, SITE_WHY_MAX, "%s: write %s%.*s", what, prefix,
                       host.len < 100 ? (int)host.len : 100, host.at);
    return false;
}

bool site_read_origin_entry(char out[SITE_TEXT_MAX], const char *text, char why[SITE_WHY_MAX])
{
    struct ff_slice rest = ff_slice_of(text);
    struct ff_slice scheme = cut_scheme(&rest);
    struct authority authority;
    const char *fault;

    if (strcmp(text, "*") == 0 || strcmp(text, "null") == 0 || strcmp(text, "file://") == 0) {
        (void)snprintf(out, SITE_TEXT_MAX, "%s", text);
        return true;
    }
    if (!scheme.at)
        return refuse(why, "has no scheme, and an Origin has one", "https://", text);
    if (ff_slice_is_equal_nocase(scheme, FF_SLICE("wss")))
        return refuse(why, "is no page's origin", "https://", text);
    if (ff_slice_is_equal_nocase(scheme, FF_SLICE("ws")))
        return refuse(why, "is no page's origin", "http://", text);
    if (rest.len && rest.at[rest.len - 1] == '/')
        rest.len--;
    if (memchr(rest.at, '/', rest.len) || memchr(rest.at, '?', rest.len))
        return refuse(why, "has a path, and an Origin has none",
                      ff_slice_is_equal_nocase(scheme, FF_SLICE("http")) ? "http://" : "https://",
                      text);
    if (!authority_parse(&authority, rest) || !write(out, scheme, &authority))
        return refuse(why, "is no origin (names are in ASCII, as browsers send them)", "https://",
                      text);
    fault = judge_host(authority.host);
    return fault ? refuse(why, fault, "https://", text) : true;
}

bool site_read_host_entry(char out[SITE_TEXT_MAX], const char *text, char why[SITE_WHY_MAX])
{
    struct ff_slice rest = ff_slice_of(text);
    struct ff_slice scheme = cut_scheme(&rest);
    struct authority authority;
    const char *fault;

    if (rest.len && rest.at[rest.len - 1] == '/')
        rest.len--;
    if (!authority_parse(&authority, rest))
        return refuse(why, "is no host's name", "", text);
    if (is_default_port(scheme, authority.port))
        authority.port = (struct ff_slice){NULL, 0};
    if (!write(out, (struct ff_slice){NULL, 0}, &authority))
        return refuse(why, "is too long", "", text);
    fault = judge_host(authority.host);
    return fault ? refuse(why, fault, "", text) : true;
}

bool site_is_match(const char *entry, const char *text)
{
    const char *star = strstr(entry, "*.");
    size_t before = star ? (size_t)(star - entry) : 0;
    size_t behind = star ? strlen(star + 1) : 0;
    size_t len = strlen(text);

    if (!star)
        return strcmp(entry, text) == 0;
    return len > before + behind && strncmp(entry, text, before) == 0 &&
           strcmp(text + len - behind, star + 1) == 0;
}
