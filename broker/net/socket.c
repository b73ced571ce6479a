/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.c - sockets and addresses: what the broker sets, asks and parses of them.
 * Errors of parsing say what was wrong, in words for the operator.
 */
#include "broker/net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

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

    return parse_network(network, octets, &len, &bits);
}

bool address_is_in(const struct address *address, const char *network)
{
    uint8_t ours[16];
    uint8_t theirs[16];
    size_t len;
    unsigned bits;

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

/* A socket file that nobody listens on any more is left by a kill -9: it goes. */
static void remove_stale(const struct address *address)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
    int fd;

    if (address->storage.ss_family != AF_UNIX)
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)un, address->len) < 0 && errno == ECONNREFUSED)
        (void)unlink(un->sun_path);
    (void)close(fd);
}

/* A socket that is not bound yet. */
static enum ff_err open_stream(int family, int *fd)
{
    int on = 1;

    *fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return FF_ESYS;
    if (family != AF_UNIX)
        (void)setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6)
        (void)setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    return FF_OK;
}

static enum ff_err fail_stream(int *fd)
{
    int failure = errno;

    (void)close(*fd);
    *fd = -1;
    errno = failure;
    return FF_ESYS;
}

enum ff_err socket_listen(struct address *address, int *fd)
{
    int family = address->storage.ss_family;
    int on = 1;

    remove_stale(address);
    if (open_stream(family, fd))
        return FF_ESYS;
    if (bind(*fd, (struct sockaddr *)&address->storage, address->len) < 0)
        return fail_stream(fd);
    /* Only after it is bound: a port that another program has is an error, and not shared. */
    if (family != AF_UNIX)
        (void)setsockopt(*fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (listen(*fd, BACKLOG) < 0)
        return fail_stream(fd);
    address->len = sizeof(address->storage);
    if (family == AF_UNIX ||
        getsockname(*fd, (struct sockaddr *)&address->storage, &address->len) == 0)
        return FF_OK;
    return fail_stream(fd);
}

enum ff_err socket_listen_too(const struct address *address, int *fd)
{
    int on = 1;

    if (open_stream(address->storage.ss_family, fd))
        return FF_ESYS;
    if (setsockopt(*fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
        bind(*fd, (const struct sockaddr *)&address->storage, address->len) < 0 ||
        listen(*fd, BACKLOG) < 0)
        return fail_stream(fd);
    return FF_OK;
}

int socket_unsent(int fd)
{
    int bytes = 0;

    return ioctl(fd, SIOCOUTQNSD, &bytes) == 0 ? bytes : 0;
}

void socket_set_low_water(int fd, int bytes)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

void socket_set_user_timeout(int fd, unsigned ms)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

void socket_set_up(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    socket_set_low_water(fd, SOCKET_LOW_WATER);
}

void socket_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    (void)close(fd);
}
