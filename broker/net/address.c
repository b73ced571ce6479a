/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

enum { NODE_PORT_DIGITS = 5 };

static const char any_unix[] = "unix:";

enum ff_err address_parse_ip(struct address *address, struct ff_slice text)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address->storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;
    char host[INET6_ADDRSTRLEN];

    *address = (struct address){.len = 0};
    if (text.len == 0 || text.len >= sizeof(host))
        return FF_EINVAL;
    memcpy(host, text.at, text.len);
    host[text.len] = '\0';
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        address->len = sizeof(*v4);
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        address->len = sizeof(*v6);
    }
    return address->len ? FF_OK : FF_EINVAL;
}

/* What stands behind an address: nothing, or a port, which may be a secret one. */
static bool is_node_port(struct ff_slice text)
{
    bool is_secret = text.len > 1 && text.at[1] == '_';

    if (text.len == 0)
        return true;
    if (text.at[0] != ':' || text.len == 1 || (!is_secret && text.len > 1 + NODE_PORT_DIGITS))
        return false;
    for (size_t i = 1; i < text.len; i++) {
        char c = text.at[i];

        if (c >= '0' && c <= '9')
            continue;
        if (!is_secret ||
            !(c == '_' || c == '.' || c == '-' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    }
    return true;
}

static enum ff_err parse_bracketed(struct address *address, struct ff_slice text)
{
    const char *end = memchr(text.at, ']', text.len);
    size_t len = end ? (size_t)(end - text.at) + 1 : 0;

    if (!end || !is_node_port((struct ff_slice){text.at + len, text.len - len}) ||
        address_parse_ip(address, (struct ff_slice){text.at + 1, len - 2}))
        return FF_EINVAL;
    return address->storage.ss_family == AF_INET6 ? FF_OK : FF_EINVAL;
}

enum ff_err address_parse_node(struct address *address, struct ff_slice text)
{
    const char *colon;

    text = ff_slice_trim(text);
    if (text.len >= 2 && text.at[0] == '"' && text.at[text.len - 1] == '"')
        text = (struct ff_slice){text.at + 1, text.len - 2};
    if (text.len && text.at[0] == '[')
        return parse_bracketed(address, text);
    colon = text.len ? memchr(text.at, ':', text.len) : NULL;
    if (colon && !memchr(colon + 1, ':', text.len - (size_t)(colon - text.at) - 1)) {
        size_t len = (size_t)(colon - text.at); /* one alone: it is none of IPv6 */

        if (!is_node_port((struct ff_slice){colon, text.len - len}))
            return FF_EINVAL;
        text.len = len;
    }
    return address_parse_ip(address, text);
}

static enum ff_err parse_unix(struct address *address, const char *path)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&address->storage;
    size_t len = strlen(path);

    *address = (struct address){.len = sizeof(*un)};
    if (len == 0 || len >= sizeof(un->sun_path))
        return FF_EINVAL;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len + 1);
    return FF_OK;
}

static bool parse_port(const char *text, in_port_t *port)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    *port = htons((uint16_t)value);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && value <= 65535;
}

enum ff_err address_parse(struct address *address, const char *text)
{
    const char *colon;
    struct ff_slice host;
    in_port_t port;

    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(address, text + 5);
    colon = strrchr(text, ':');
    if (!colon || !parse_port(colon + 1, &port))
        return FF_EINVAL;
    host = (struct ff_slice){text, (size_t)(colon - text)};
    if (host.len >= 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
        host = (struct ff_slice){host.at + 1, host.len - 2};
    else if (memchr(host.at, ':', host.len))
        return FF_EINVAL; /* an IPv6 address stands in brackets */
    if (address_parse_ip(address, host))
        return FF_EINVAL;
    if (address->storage.ss_family == AF_INET)
        ((struct sockaddr_in *)&address->storage)->sin_port = port;
    else
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = port;
    return FF_OK;
}

/* The octets of an IP address; an IPv4 address mapped into IPv6 counts as IPv4. */
static size_t ip_octets(const struct address *address, uint8_t out[16])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;

    if (address->storage.ss_family == AF_INET) {
        memcpy(out, &v4->sin_addr, 4);
        return 4;
    }
    if (address->storage.ss_family != AF_INET6)
        return 0;
    memcpy(out, &v6->sin6_addr, 16);
    if (!IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return 16;
    memmove(out, out + 12, 4);
    return 4;
}

bool address_ip(const struct address *address, uint8_t out[16])
{
    uint8_t octets[16];
    size_t len = ip_octets(address, octets);

    memset(out, 0, 16);
    if (len)
        memcpy(out + 16 - len, octets, len);
    return len > 0;
}

static bool parse_network(const char *text, uint8_t octets[16], size_t *len, unsigned *bits)
{
    struct ff_slice rest = ff_slice_of(text);
    struct ff_slice ip = ff_slice_cut(&rest, '/');
    struct address address;
    char *end;

    if (address_parse_ip(&address, ip))
        return false;
    *len = ip_octets(&address, octets);
    *bits = (unsigned)*len * 8;
    if (!rest.at)
        return true;
    *bits = (unsigned)strtoul(rest.at, &end, 10);
    return rest.len && *end == '\0' && rest.at[0] >= '0' && rest.at[0] <= '9' && *bits <= *len * 8;
}

bool address_is_network(const char *network)
{
    uint8_t octets[16];
    size_t len;
    unsigned bits;

    return strcmp(network, any_unix) == 0 || parse_network(network, octets, &len, &bits);
}

bool address_is_in(const struct address *address, const char *network)
{
    uint8_t ours[16];
    uint8_t theirs[16];
    size_t len;
    unsigned bits;

    if (address->storage.ss_family == AF_UNIX)
        return strcmp(network, any_unix) == 0;
    if (!parse_network(network, theirs, &len, &bits) || ip_octets(address, ours) != len)
        return false;
    if (memcmp(ours, theirs, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || (ours[bits / 8] ^ theirs[bits / 8]) >> (8 - bits % 8) == 0;
}

bool address_is_listed(const struct address *address, const char *const *networks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (address_is_in(address, networks[i]))
            return true;
    return false;
}

void address_mask_ipv6(struct address *address, unsigned bits)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address->storage;
    uint8_t *octets = v6->sin6_addr.s6_addr;

    if (address->storage.ss_family != AF_INET6 || IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return;
    for (unsigned i = 0; i < sizeof(v6->sin6_addr.s6_addr); i++, bits -= bits < 8 ? bits : 8)
        octets[i] &= (uint8_t)(bits < 8 ? 0xff00U >> bits : 0xffU);
}

void address_text(const struct address *address, bool with_port, char out[ADDRESS_TEXT_MAX])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->storage.ss_family == AF_UNIX) {
        (void)snprintf(out, ADDRESS_TEXT_MAX, "unix:%s", address->len > 2 ? un->sun_path : "");
        return;
    }
    if (address->storage.ss_family == AF_INET)
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
    else
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
    if (!with_port)
        (void)snprintf(out, ADDRESS_TEXT_MAX, "%s", host);
    else if (address->storage.ss_family == AF_INET)
        (void)snprintf(out, ADDRESS_TEXT_MAX, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    else
        (void)snprintf(out, ADDRESS_TEXT_MAX, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
}

bool address_is_loopback(const struct address *address)
{
    return address->storage.ss_family == AF_UNIX || address_is_in(address, "127.0.0.0/8") ||
           address_is_in(address, "::1");
}
