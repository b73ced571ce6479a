/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.c - what the broker sets and asks of sockets.
 */
#include "broker/net/socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

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

/* Before it listens: until then nobody can connect, whatever the umask was. */
static bool set_access(const struct address *address, const struct socket_access *access)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;

    return (!access->has_group || chown(un->sun_path, (uid_t)-1, access->group) == 0) &&
           (!access->has_mode || chmod(un->sun_path, access->mode) == 0);
}

static enum ff_err fail_unix(const struct address *address, int *fd)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
    int failure = errno;

    (void)unlink(un->sun_path);
    errno = failure;
    return fail_stream(fd);
}

enum ff_err socket_listen(struct address *address, const struct socket_access *access, int *fd)
{
    int family = address->storage.ss_family;
    int on = 1;

    remove_stale(address);
    if (open_stream(family, fd))
        return FF_ESYS;
    if (bind(*fd, (struct sockaddr *)&address->storage, address->len) < 0)
        return fail_stream(fd);
    if (family == AF_UNIX && !set_access(address, access))
        return fail_unix(address, fd);
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
