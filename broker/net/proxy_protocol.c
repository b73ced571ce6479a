/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/proxy_protocol.h"

#include <netinet/in.h>

enum {
    LINE_MAX_BYTES = 107, /* of version 1, CRLF included */
    SIGNATURE = 12,
    FIXED = 16, /* of version 2: signature, version and command, family, length */
    VERSION_2 = 2,
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    INET_BYTES = 12, /* two addresses, two ports */
    INET6_BYTES = 36,
};

/* The upper half of version 2's family octet. */
enum family { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX };

static const uint8_t signature[SIGNATURE] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                             '\n', 'Q',  'U',  'I',  'T', '\n'};
static const char keyword[] = "PROXY ";

static bool parse_port(struct ff_slice text, in_port_t *port)
{
    unsigned value = 0;

    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.at[i] - '0');
    }
    *port = htons((uint16_t)value);
    return value <= UINT16_MAX;
}

static void set_port(struct address *address, in_port_t port)
{
    if (address->storage.ss_family == AF_INET)
        ((struct sockaddr_in *)&address->storage)->sin_port = port;
    else
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = port;
}

/* What follows "PROXY ": "TCP4 SOURCE DESTINATION PORT PORT", or "UNKNOWN" and whatever. */
static bool read_line(struct proxy_head *head, struct ff_slice line)
{
    struct ff_slice protocol = ff_slice_cut(&line, ' ');
    struct ff_slice source = ff_slice_cut(&line, ' ');
    struct ff_slice destination = ff_slice_cut(&line, ' ');
    struct ff_slice port = ff_slice_cut(&line, ' ');
    struct address other;
    in_port_t ports[2];
    int family = ff_slice_is_equal(protocol, FF_SLICE("TCP4"))   ? AF_INET
                 : ff_slice_is_equal(protocol, FF_SLICE("TCP6")) ? AF_INET6
                                                                 : AF_UNSPEC;

    if (ff_slice_is_equal(protocol, FF_SLICE("UNKNOWN")))
        return true;
    if (family == AF_UNSPEC || !parse_port(port, &ports[0]) || !parse_port(line, &ports[1]) ||
        address_parse_ip(&head->client, source) || address_parse_ip(&other, destination) ||
        head->client.storage.ss_family != family || other.storage.ss_family != family)
        return false;
    set_port(&head->client, ports[0]);
    head->has_client = true;
    return true;
}

static int read_version_1(struct proxy_head *head, const char *text, size_t len)
{
    size_t most = len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES;
    const char *end = memchr(text, '\n', most);
    size_t begin = sizeof(keyword) - 1;
    size_t size;

    if (!end)
        return most == LINE_MAX_BYTES ? FF_EINVAL : 0;
    size = (size_t)(end - text) + 1;
    if (size < begin + 2 || text[size - 2] != '\r' ||
        !read_line(head, (struct ff_slice){text + begin, size - begin - 2}))
        return FF_EINVAL;
    return (int)size;
}

/* False: what is said of the length does not hold the addresses. */
static bool read_addresses(struct proxy_head *head, enum family family, const uint8_t *bytes,
                           size_t len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&head->client.storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&head->client.storage;

    switch (family) {
    case FAMILY_INET:
        if (len < INET_BYTES)
            return false;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, bytes, sizeof(v4->sin_addr));
        memcpy(&v4->sin_port, bytes + 8, sizeof(v4->sin_port));
        head->client.len = sizeof(*v4);
        head->has_client = true;
        return true;
    case FAMILY_INET6:
        if (len < INET6_BYTES)
            return false;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, bytes, sizeof(v6->sin6_addr));
        memcpy(&v6->sin6_port, bytes + 32, sizeof(v6->sin6_port));
        head->client.len = sizeof(*v6);
        head->has_client = true;
        return true;
    case FAMILY_UNSPEC:
    case FAMILY_UNIX:
        return true;
    }
    return false;
}

static int read_version_2(struct proxy_head *head, const uint8_t *bytes, size_t len)
{
    unsigned command;
    size_t size;

    if (len < FIXED)
        return 0;
    command = bytes[SIGNATURE] & 0x0fU;
    size = FIXED + (size_t)ff_load_u16(bytes + FIXED - 2);
    if (bytes[SIGNATURE] >> 4 != VERSION_2 || command > COMMAND_PROXY || size > PROXY_HEAD_MAX)
        return FF_EINVAL;
    if (len < size)
        return 0;
    if (command == COMMAND_PROXY && !read_addresses(head, (enum family)(bytes[SIGNATURE + 1] >> 4),
                                                    bytes + FIXED, size - FIXED))
        return FF_EINVAL;
    return (int)size;
}

int proxy_protocol_read(struct proxy_head *head, const uint8_t *bytes, size_t len)
{
    size_t begin = len < SIGNATURE ? len : SIGNATURE;

    *head = (struct proxy_head){.has_client = false};
    if (memcmp(bytes, signature, begin) == 0)
        return read_version_2(head, bytes, len);
    begin = len < sizeof(keyword) - 1 ? len : sizeof(keyword) - 1;
    if (memcmp(bytes, keyword, begin) == 0)
        return read_version_1(head, (const char *)bytes, len);
    return FF_EINVAL;
}
