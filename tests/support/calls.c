/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/calls.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct call_fault call_fault;
uint64_t call_count;
uint64_t call_total;
bool call_is_exempt;
bool call_may_fail_reads;
uint64_t call_clock_ahead_ns;
struct call_flow call_flows[CALL_FDS];

int call_next(bool is_of_ring)
{
    bool is_short = call_fault.is_always_short;

    if (call_is_exempt)
        return 0;
    call_total++;
    if (call_fault.is_of_ring && !is_of_ring)
        return is_short ? CALL_SHORT : 0;
    if (++call_count == call_fault.call && (call_fault.error != EBUSY || is_of_ring))
        return call_fault.error;
    return is_short ? CALL_SHORT : 0;
}

static bool fails(int *outcome)
{
    *outcome = call_next(false);
    if (*outcome > 0)
        errno = *outcome;
    return *outcome > 0;
}

static size_t shortened(size_t len, int outcome)
{
    return outcome == CALL_SHORT && len > 1 ? 1 : len;
}

static struct call_flow *flow_of(int fd)
{
    static struct call_flow nobody;

    return fd >= 0 && fd < CALL_FDS ? &call_flows[fd] : &nobody;
}

static ssize_t note_sent(int fd, ssize_t sent)
{
    flow_of(fd)->sent += sent > 0 ? (size_t)sent : 0;
    return sent;
}

static ssize_t note_received(int fd, ssize_t got)
{
    flow_of(fd)->received += got > 0 ? (size_t)got : 0;
    return got;
}

ssize_t recv(int fd, void *out, size_t size, int flags)
{
    int outcome;

    if (fails(&outcome))
        return -1;
    return note_received(
        fd, syscall(SYS_recvfrom, fd, out, shortened(size, outcome), flags, NULL, NULL));
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    int outcome;

    if (fails(&outcome))
        return -1;
    return note_sent(fd, syscall(SYS_sendto, fd, bytes, shortened(len, outcome), flags, NULL, 0));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    int outcome;

    if (fails(&outcome))
        return -1;
    if (outcome == CALL_SHORT)
        return note_sent(fd,
                         syscall(SYS_sendto, fd, message->msg_iov[0].iov_base, 1, flags, NULL, 0));
    return note_sent(fd, syscall(SYS_sendmsg, fd, message, flags));
}

ssize_t read(int fd, void *out, size_t size)
{
    int outcome = 0;

    if (size > 1024 && call_may_fail_reads && fails(&outcome)) /* OpenSSL's, not libev's */
        return -1;
    return note_received(fd, syscall(SYS_read, fd, out, shortened(size, outcome)));
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    int outcome = 0;

    if (fd > STDERR_FILENO && len > 8 && fails(&outcome))
        return -1;
    return note_sent(fd, syscall(SYS_write, fd, bytes, shortened(len, outcome)));
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags)
{
    const struct sockaddr_in *peer = address.__sockaddr_in__;
    int outcome;
    int accepted;

    if (fails(&outcome))
        return -1;
    accepted = (int)syscall(SYS_accept4, fd, address.__sockaddr__, len, flags);
    if (accepted >= 0)
        *flow_of(accepted) =
            (struct call_flow){.peer_port = peer ? peer->sin_port : 0, .listener = fd};
    return accepted;
}

int shutdown(int fd, int how)
{
    flow_of(fd)->is_over = true;
    return (int)syscall(SYS_shutdown, fd, how);
}

int close(int fd)
{
    *flow_of(fd) = (struct call_flow){.is_over = true};
    return (int)syscall(SYS_close, fd);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    int outcome;

    if (fails(&outcome))
        return -1;
    return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    if (call_next(false) == ENOMEM) { /* or ENOSPC: fs.epoll.max_user_watches */
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

/*
 * The broker's time is what a test passes, so that nothing is due in the midst of
 * a step because the machine is busy. A look at it takes a microsecond: who
 * waits for the clock to move does not wait for ever.
 */
int clock_gettime(clockid_t id, struct timespec *now)
{
    enum { BEGIN_S = 3600, LOOK_NS = 1000 };
    static _Atomic uint64_t looks;
    uint64_t ns;

    if (id != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, id, now);
    ns = BEGIN_S * UINT64_C(1000000000) + ++looks * LOOK_NS + call_clock_ahead_ns;
    now->tv_sec = (time_t)(ns / 1000000000);
    now->tv_nsec = (long)(ns % 1000000000);
    return 0;
}
