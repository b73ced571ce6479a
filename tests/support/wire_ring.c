/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's part of io_uring, for one ring over scripted sockets: it takes as
 * many requests as the script says, does them in any order, and answers. (The
 * linker puts these in the place of liburing's.)
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/support/wire.h"

enum { SENDS = 1024, ANSWERS = 2 * SENDS };

struct wire_ring wire_ring;

static struct {
    struct io_uring_sqe asked[SENDS];
    uint64_t answers[ANSWERS][2]; /* struct io_uring_cqe, which may be longer */
    unsigned asked_head;
    unsigned asked_tail;
    unsigned answers_head;
    unsigned answers_tail;
    bool is_there;
} kernel;

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
void __wrap_io_uring_queue_exit(struct io_uring *ring);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    (void)flags;
    if (kernel.is_there || entries > SENDS)
        abort();
    kernel.is_there = true;
    kernel.asked_head = kernel.asked_tail = kernel.answers_head = kernel.answers_tail = 0;
    memset(ring, 0, sizeof(*ring));
    ring->sq.khead = &kernel.asked_head;
    ring->sq.ktail = &kernel.asked_tail;
    ring->sq.sqes = kernel.asked;
    ring->sq.ring_entries = SENDS;
    ring->sq.ring_mask = SENDS - 1;
    ring->cq.khead = &kernel.answers_head;
    ring->cq.ktail = &kernel.answers_tail;
    ring->cq.cqes = (struct io_uring_cqe *)kernel.answers;
    ring->cq.ring_entries = ANSWERS;
    ring->cq.ring_mask = ANSWERS - 1;
    return 0;
}

void __wrap_io_uring_queue_exit(struct io_uring *ring)
{
    (void)ring;
    kernel.is_there = false;
}

static void answer(const struct io_uring_sqe *sqe)
{
    struct io_uring_cqe *cqe = (struct io_uring_cqe *)kernel.answers[kernel.answers_tail % ANSWERS];
    const void *at = (const void *)(uintptr_t)sqe->addr;
    ssize_t sent = sqe->opcode == IORING_OP_SEND      ? wire_send(sqe->fd, at, sqe->len)
                   : sqe->opcode == IORING_OP_SENDMSG ? __wrap_sendmsg(sqe->fd, at, 0)
                                                      : (abort(), 0);

    cqe->user_data = sqe->user_data;
    cqe->res = sent >= 0 ? (int)sent : -errno;
    kernel.answers_tail++;
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    unsigned taken = ring->sq.sqe_tail - ring->sq.sqe_head;

    (void)count; /* what it answers is there when it returns */
    if (wire_ring.refusals) {
        wire_ring.refusals--;
        return -wire_ring.error;
    }
    if (wire_ring.most && taken > wire_ring.most)
        taken = wire_ring.most;
    for (unsigned i = 0; i < taken; i++) {
        unsigned k = wire_ring.is_backwards ? taken - 1 - i : i;

        answer(&kernel.asked[(ring->sq.sqe_head + k) % SENDS]);
    }
    ring->sq.sqe_head += taken;
    kernel.asked_head = ring->sq.sqe_head;
    return (int)taken;
}
