/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/forwarded.h"

/* The last hops that are named, the newest last. */
struct hops {
    struct ff_slice at[FORWARDED_HOPS];
    size_t count; /* of all that are named */
};

/* Cuts at a separator that stands in no quoted string, as ff_slice_cut() does at any. */
static struct ff_slice cut(struct ff_slice *rest, char separator)
{
    struct ff_slice part = *rest;
    bool is_quoted = false;

    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->at[i];

        if (c == '\\' && is_quoted)
            i++;
        else if (c == '"')
            is_quoted = !is_quoted;
        else if (c == separator && !is_quoted) {
            part.len = i;
            *rest = (struct ff_slice){rest->at + i + 1, rest->len - i - 1};
            return part;
        }
    }
    *rest = (struct ff_slice){NULL, 0};
    return part;
}

static void collect(struct hops *hops, const struct ff_http_head *head, const char *name)
{
    for (size_t i = 0; i < head->count; i++) {
        struct ff_slice rest = head->headers[i].value;

        if (!ff_slice_is_equal_nocase(head->headers[i].name, ff_slice_of(name)))
            continue;
        while (rest.at)
            hops->at[hops->count++ % FORWARDED_HOPS] = ff_slice_trim(cut(&rest, ','));
    }
}

/* The first element of a list, as ff_http_find() finds it; .at NULL: none. */
static struct ff_slice first_of(const struct ff_http_head *head, const char *name)
{
    const struct ff_http_header *header = ff_http_find(head, name, NULL);
    struct ff_slice rest = header ? header->value : (struct ff_slice){NULL, 0};
    struct ff_slice first = ff_slice_trim(cut(&rest, ','));

    return first.len ? first : (struct ff_slice){NULL, 0};
}

/* The value of a parameter of one element of Forwarded, without quotes; .at NULL: none. */
static struct ff_slice parameter(struct ff_slice element, const char *name)
{
    while (element.at) {
        struct ff_slice value = ff_slice_trim(cut(&element, ';'));

        if (!ff_slice_is_equal_nocase(ff_slice_trim(ff_slice_cut(&value, '=')), ff_slice_of(name)))
            continue;
        value = ff_slice_trim(value);
        if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
            value = (struct ff_slice){value.at + 1, value.len - 2};
        return value;
    }
    return (struct ff_slice){NULL, 0};
}

static bool is_scheme(struct ff_slice text)
{
    static const char *const schemes[] = {"http", "https", "ws", "wss"};

    for (size_t i = 0; i < FF_COUNT(schemes); i++)
        if (ff_slice_is_equal_nocase(text, ff_slice_of(schemes[i])))
            return true;
    return false;
}

static bool is_port(struct ff_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    return text.len > 0 && text.len <= 5;
}

/* Goes back as long as who is named is a proxy of ours. The element where that ends, or .at NULL.
 */
static struct ff_slice find_client(struct forwarded *forwarded, const struct settings *settings,
                                   const struct hops *hops, bool is_rfc7239)
{
    size_t least = hops->count > FORWARDED_HOPS ? hops->count - FORWARDED_HOPS : 0;

    for (size_t i = hops->count; i > least; i--) {
        struct ff_slice element = hops->at[(i - 1) % FORWARDED_HOPS];
        struct ff_slice node = is_rfc7239 ? parameter(element, "for") : element;

        if (address_parse_node(&forwarded->client, node))
            return element;
        if (address_is_listed(&forwarded->client, settings->proxies.at, settings->proxies.count))
            continue;
        forwarded->has_client = true;
        return element;
    }
    return least == 0 && hops->count ? hops->at[0] : (struct ff_slice){NULL, 0};
}

void forwarded_read(struct forwarded *forwarded, const struct settings *settings,
                    const struct ff_http_head *head)
{
    bool is_rfc7239 =
        ff_slice_is_equal_nocase(ff_slice_of(settings->proxy_header), FF_SLICE("Forwarded"));
    struct hops hops = {.count = 0};
    struct ff_slice element;

    *forwarded = (struct forwarded){.has_client = false};
    collect(&hops, head, settings->proxy_header);
    element = find_client(forwarded, settings, &hops, is_rfc7239);
    if (is_rfc7239) {
        forwarded->host = parameter(element, "host");
        forwarded->scheme = parameter(element, "proto");
    }
    if (!forwarded->host.at)
        forwarded->host = first_of(head, "X-Forwarded-Host");
    if (!forwarded->scheme.at)
        forwarded->scheme = first_of(head, "X-Forwarded-Proto");
    forwarded->port = first_of(head, "X-Forwarded-Port");
    forwarded->is_there = hops.count > 0 || forwarded->host.at;
    if (!is_scheme(forwarded->scheme))
        forwarded->scheme = (struct ff_slice){NULL, 0};
    if (!is_port(forwarded->port))
        forwarded->port = (struct ff_slice){NULL, 0};
}
