/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/endpoint.h"

#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define MODE   "mode="
#define GROUP  "group="
#define UNIX   "unix:"
#define LOOPS  "localhost:"
#define LOOPS4 "127.0.0.1:"

enum { TEXT_MAX = 512, MODE_MOST = 0777 };

static bool cut_word(struct ff_slice *text, const char *word)
{
    size_t len = strlen(word);

    if (text->len < len || memcmp(text->at, word, len) != 0)
        return false;
    text->at += len;
    text->len -= len;
    return true;
}

struct ff_slice endpoint_cut(struct ff_slice *rest)
{
    const char *from = rest->at;
    struct ff_slice part = ff_slice_cut(rest, ',');

    while (rest->at) {
        struct ff_slice next = ff_slice_trim(*rest);

        if (!cut_word(&next, MODE) && !cut_word(&next, GROUP))
            break;
        part = ff_slice_cut(rest, ',');
    }
    return (struct ff_slice){from, (size_t)(part.at - from) + part.len};
}

static bool take_mode(struct endpoint *endpoint, const char *text, char *why)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);

    if (text[0] < '0' || text[0] > '7' || *end || mode > MODE_MOST) {
        (void)snprintf(
            why, ENDPOINT_WHY_MAX,
            "mode=%.20s is none: write it in octal, as chmod does, for example mode=0660", text);
        return false;
    }
    endpoint->access.has_mode = true;
    endpoint->access.mode = (mode_t)mode;
    return true;
}

static bool take_group(struct endpoint *endpoint, const char *text, char *why)
{
    const struct group *group = getgrnam(text);
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0' && number < UINT32_MAX;

    if (!group && !is_number) {
        (void)snprintf(why, ENDPOINT_WHY_MAX, "there is no group \"%.60s\" on this machine", text);
        return false;
    }
    endpoint->access.has_group = true;
    endpoint->access.group = group ? group->gr_gid : (gid_t)number;
    return true;
}

/* What follows the path of a Unix socket. */
static bool take_access(struct endpoint *endpoint, struct ff_slice rest, char *why)
{
    while (rest.at) {
        struct ff_slice item = ff_slice_trim(ff_slice_cut(&rest, ','));
        char text[TEXT_MAX];
        bool is_mode = cut_word(&item, MODE);

        if (!is_mode && !cut_word(&item, GROUP)) {
            (void)snprintf(why, ENDPOINT_WHY_MAX,
                           "\"%.*s\" is not known: what may follow a path is mode=0660 and "
                           "group=www-data",
                           item.len < 60 ? (int)item.len : 60, item.at);
            return false;
        }
        (void)snprintf(text, sizeof(text), "%.*s", (int)item.len, item.at);
        if (!(is_mode ? take_mode : take_group)(endpoint, text, why))
            return false;
    }
    return true;
}

bool endpoint_parse(struct endpoint *endpoint, const char *text, char why[ENDPOINT_WHY_MAX])
{
    struct ff_slice rest = ff_slice_of(text);
    struct ff_slice address;
    char plain[TEXT_MAX];

    *endpoint = (struct endpoint){.is_tls = false};
    for (bool is_more = true; is_more;) { /* in either order, each once */
        is_more = false;
        if (!endpoint->is_tls && cut_word(&rest, "tls:"))
            is_more = endpoint->is_tls = true;
        if (!endpoint->is_proxied && cut_word(&rest, "proxy:"))
            is_more = endpoint->is_proxied = true;
    }
    address = ff_slice_trim(ff_slice_cut(&rest, ','));
    endpoint->is_localhost = cut_word(&address, LOOPS);
    (void)snprintf(plain, sizeof(plain), "%s%.*s", endpoint->is_localhost ? LOOPS4 : "",
                   address.len < TEXT_MAX / 2 ? (int)address.len : TEXT_MAX / 2, address.at);
    if (address_parse(&endpoint->address, plain)) {
        (void)snprintf(why, ENDPOINT_WHY_MAX,
                       "is no address: write ADDR:PORT with a numeric address (0.0.0.0:8080), "
                       "localhost:PORT, [IPV6]:PORT or unix:/path");
        return false;
    }
    if (rest.at && endpoint->address.storage.ss_family != AF_UNIX) {
        (void)snprintf(why, ENDPOINT_WHY_MAX,
                       "has something behind a comma: mode and group are of "
                       "Unix sockets (" UNIX "/path)");
        return false;
    }
    return take_access(endpoint, rest, why);
}

void endpoint_take_ipv6(struct endpoint *endpoint, const struct address *bound)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&endpoint->address.storage;
    in_port_t port = ((const struct sockaddr_in *)&bound->storage)->sin_port;

    endpoint->address = (struct address){.len = sizeof(*v6)};
    v6->sin6_family = AF_INET6;
    v6->sin6_addr = in6addr_loopback;
    v6->sin6_port = port;
}
