/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/calls.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct call_fault call_fault;
uint64_t call_count;
bool call_is_exempt;
bool call_may_fail_reads;
uint64_t call_clock_ahead_ns;

static bool is_failing(void)
{
    return !call_is_exempt && ++call_count == call_fault.call;
}

static bool fails_with(int *error)
{
    *error = call_fault.error;
    if (!is_failing() || call_fault.error == CALL_SHORT)
        return false;
    errno = call_fault.error;
    return true;
}

static size_t shortened(size_t len)
{
    bool is_short =
        !call_is_exempt && (call_fault.is_always_short ||
                            (call_count == call_fault.call && call_fault.error == CALL_SHORT));

    return is_short && len > 1 ? 1 : len;
}

ssize_t recv(int fd, void *out, size_t size, int flags)
{
    int error;

    if (fails_with(&error))
        return -1;
    return syscall(SYS_recvfrom, fd, out, shortened(size), flags, NULL, NULL);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    int error;

    if (fails_with(&error))
        return -1;
    return syscall(SYS_sendto, fd, bytes, shortened(len), flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    int error;

    if (fails_with(&error))
        return -1;
    if (shortened(2) == 1)
        return syscall(SYS_sendto, fd, message->msg_iov[0].iov_base, 1, flags, NULL, 0);
    return syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t read(int fd, void *out, size_t size)
{
    int error;

    if (size > 1024 && call_may_fail_reads && fails_with(&error)) /* OpenSSL's, not libev's */
        return -1;
    return syscall(SYS_read, fd, out, size > 1024 ? shortened(size) : size);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    int error;

    if (fd > STDERR_FILENO && len > 8 && fails_with(&error))
        return -1;
    return syscall(SYS_write, fd, bytes, fd > STDERR_FILENO && len > 8 ? shortened(len) : len);
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags)
{
    int error;

    if (fails_with(&error))
        return -1;
    return (int)syscall(SYS_accept4, fd, address.__sockaddr__, len, flags);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    int error;

    if (fails_with(&error))
        return -1;
    return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (is_failing() && call_fault.error == ENOMEM) { /* or ENOSPC: fs.epoll.max_user_watches */
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

/*
 * The broker's clock goes by what a test passes. Real time counts for a 50th, so
 * that a busy machine does not let what is due in a second be due in the midst of a step.
 */
int clock_gettime(clockid_t id, struct timespec *now)
{
    enum { SLOWER = 50 };
    static _Atomic uint64_t begin_ns;
    long result = syscall(SYS_clock_gettime, id, now);
    uint64_t ns = (uint64_t)now->tv_sec * 1000000000 + (uint64_t)now->tv_nsec;

    if (id == CLOCK_MONOTONIC) {
        if (!begin_ns)
            begin_ns = ns;
        ns = begin_ns + (ns - begin_ns) / SLOWER + call_clock_ahead_ns;
        now->tv_sec = (time_t)(ns / 1000000000);
        now->tv_nsec = (long)(ns % 1000000000);
    }
    return (int)result;
}
