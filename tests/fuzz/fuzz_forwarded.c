/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What proxies say: the first line names the header in which the client stands (f: Forwarded, else
 * X-Forwarded-For), the others are values of the headers of a proxy. Whom it finds is none of
 * our proxies; what it finds stands in the head. Then the site is judged against Origin.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/session/forwarded.h"
#include "broker/session/origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {
    "X-Forwarded-For",  "Forwarded",       "X-Forwarded-Host", "X-Forwarded-Proto",
    "X-Forwarded-Port", "X-Forwarded-For", "Forwarded",        "Origin"};
static const char *const proxies[] = {"10.0.0.0/8", "2001:db8::/32", "unix:"};

static void check_slice(struct ff_slice slice, const char *text, size_t len)
{
    if (slice.at && (slice.at < text || slice.at + slice.len > text + len))
        abort();
}

static void check_entry(struct ff_slice origin)
{
    char entry[SITE_TEXT_MAX];
    char again[SITE_TEXT_MAX];
    char why[SITE_WHY_MAX];
    char text[1024];

    if (origin.len >= sizeof(text))
        return;
    memcpy(text, origin.at, origin.len);
    text[origin.len] = '\0';
    /* A normal form is one, and lets in what it is the form of. */
    if (site_read_origin_entry(entry, text, why) &&
        (!site_read_origin_entry(again, entry, why) || strcmp(entry, again) != 0))
        abort();
    if (site_read_host_entry(entry, text, why) &&
        (!site_read_host_entry(again, entry, why) || strcmp(entry, again) != 0))
        abort();
    if (site_read_origin(entry, origin) && site_read_origin_entry(again, entry, why)) {
        const char *const list[] = {again};
        struct settings settings = {.origins = {list, 1}};

        if (!origin_is_allowed(&settings, origin, &(struct site){.host = FF_SLICE("x")}))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ff_slice rest = {(const char *)data, size};
    struct ff_slice first = ff_slice_cut(&rest, '\n');
    struct settings settings = {
        .proxies = {proxies, FF_COUNT(proxies)},
        .proxy_header = first.len && first.at[0] == 'f' ? "Forwarded" : "X-Forwarded-For"};
    static char text[FF_HTTP_HEAD_MAX];
    struct ff_http_head head;
    struct forwarded forwarded;
    const struct ff_http_header *origin;
    int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");

    if (size > 6000 || memchr(data, 0, size))
        return 0;
    for (size_t i = 0; rest.at && i < FF_COUNT(names); i++) {
        struct ff_slice value = ff_slice_cut(&rest, '\n');

        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s: %.*s\r\n", names[i],
                        (int)value.len, value.at);
    }
    len += snprintf(text + len, sizeof(text) - (size_t)len, "\r\n");
    if (ff_http_parse_request(&head, text, (size_t)len))
        return 0;
    forwarded_read(&forwarded, &settings, &head);
    if (forwarded.has_client &&
        address_is_listed(&forwarded.client, settings.proxies.at, settings.proxies.count))
        abort();
    check_slice(forwarded.host, text, (size_t)len);
    check_slice(forwarded.scheme, text, (size_t)len);
    check_slice(forwarded.port, text, (size_t)len);
    origin = ff_http_find(&head, "Origin", NULL);
    if (origin)
        check_entry(origin->value);
    (void)origin_is_allowed(
        &settings, origin ? origin->value : (struct ff_slice){NULL, 0},
        &(struct site){forwarded.host, forwarded.port, forwarded.scheme, true, true});
    return 0;
}
