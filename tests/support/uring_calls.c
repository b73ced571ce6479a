/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring's calls, counted and failing like the others (calls.h): each call of the
 * kernel, and each send that it is asked for. A call that is short takes one
 * request only; a send that is to fail is not made, and the kernel's answer to it
 * is replaced. (The linker puts these in the place of liburing's.)
 */
#include <errno.h>
#include <liburing.h>
#include <sys/socket.h>

#include "broker/net/uring.h"
#include "protocol/base/check.h"
#include "tests/support/calls.h"

/* Of each request, by its number: what its answer is to be, 0: the kernel's; and its socket. */
static int failures[URING_SENDS];
static int sockets[URING_SENDS];

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __real_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);

/* A request that moves one octet. */
static void shorten(struct io_uring_sqe *sqe)
{
    const struct msghdr *message = (const struct msghdr *)(uintptr_t)sqe->addr;
    uint64_t number = sqe->user_data;
    unsigned flags = sqe->msg_flags;
    const void *bytes = (const void *)(uintptr_t)sqe->addr;

    if (sqe->opcode == IORING_OP_SENDMSG)
        bytes = message->msg_iov[0].iov_base;
    io_uring_prep_send(sqe, sqe->fd, bytes, 1, (int)flags);
    sqe->user_data = number;
}

static void prepare(struct io_uring_sqe *sqe)
{
    uint64_t number = sqe->user_data;
    int outcome = call_next(true);

    FF_CHECK(number < URING_SENDS);
    sockets[number] = sqe->fd;
    failures[number] = outcome > 0 && outcome != EBUSY ? outcome : 0;
    if (outcome == CALL_SHORT)
        shorten(sqe);
    if (!failures[number])
        return;
    io_uring_prep_nop(sqe);
    sqe->user_data = number;
}

/* Replaces answers, and notes what went out. */
static void look_at_answers(struct io_uring *ring)
{
    struct io_uring_cqe *cqe;
    unsigned head;

    io_uring_for_each_cqe(ring, head, cqe)
    {
        int fd = sockets[cqe->user_data];

        if (failures[cqe->user_data])
            cqe->res = -failures[cqe->user_data];
        if (cqe->res > 0 && fd < CALL_FDS)
            call_flows[fd].sent += (uint64_t)cqe->res;
    }
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    unsigned end = ring->sq.sqe_tail;
    int outcome = call_next(true);
    int result;

    if (outcome > 0)
        return -outcome;
    if (outcome == CALL_SHORT && ring->sq.sqe_head != end) {
        ring->sq.sqe_tail = ring->sq.sqe_head + 1;
        count = 1;
    }
    for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++)
        prepare(&ring->sq.sqes[i & ring->sq.ring_mask]);
    result = __real_io_uring_submit_and_wait(ring, count);
    ring->sq.sqe_tail = end;
    look_at_answers(ring);
    return result;
}

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    int outcome = call_next(true);

    return outcome > 0 ? -outcome : __real_io_uring_queue_init(entries, ring, flags);
}
