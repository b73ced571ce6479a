/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring.c - the flush by io_uring: connections offer their plans, all plans go to
 * the kernel by one system call, and each connection accounts for what was sent, in
 * the same order, before anything else happens.
 */
#include "broker/net/uring.h"

#include <errno.h>

#ifdef FF_URING

#include <liburing.h>

#include "broker/net/conn.h"
#include "protocol/base/mem.h"

enum {
    RANGES = URING_SENDS + PLAN_IOVECS,
    BYTES = 8 * 1024 * 1024, /* of one call: 2 ms of copying, half a turn's slice */
};

struct sending {
    struct conn *conn;
    struct plan plan;
    struct msghdr message;
    long result;
};

struct uring {
    struct io_uring ring;
    uint32_t count; /* of sends: plans that wait to be settled */
    uint32_t range_count;
    size_t bytes;
    bool is_noted; /* a plan among them has notes: the owner's room for them is begun */
    struct sending sends[URING_SENDS];
    struct iovec ranges[RANGES];
};

/* Completions are worked by our own thread, when it asks for them, in no interrupt. */
static int open_ring(struct io_uring *ring)
{
    int failure = io_uring_queue_init(URING_SENDS, ring,
                                      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);

    return failure == -EINVAL /* a kernel before 6.1 */ ? io_uring_queue_init(URING_SENDS, ring, 0)
                                                        : failure;
}

struct uring *uring_new(void)
{
    struct uring *uring = ff_mem_zalloc(sizeof(*uring));
    int failure = uring ? open_ring(&uring->ring) : -ENOMEM;

    if (!failure)
        return uring;
    ff_mem_free(uring);
    errno = -failure;
    return NULL;
}

void uring_free(struct uring *uring)
{
    if (!uring)
        return;
    io_uring_queue_exit(&uring->ring);
    ff_mem_free(uring);
}

/* What one connection has to send becomes a request. */
static void offer(struct uring *uring, struct conn *conn)
{
    struct sending *sending = &uring->sends[uring->count];
    struct plan *plan = &sending->plan;
    struct io_uring_sqe *sqe;

    *plan = (struct plan){.iov = uring->ranges + uring->range_count, .is_first = !uring->is_noted};
    if (!conn_offer(conn, plan))
        return;
    uring->is_noted |= plan->range_count > 0; /* not all have: who is closing collects nothing */
    sqe = io_uring_get_sqe(&uring->ring);
    FF_CHECK(sqe); /* there are as many as sends */
    if (plan->count == 1) {
        io_uring_prep_send(sqe, conn_fd(conn), plan->iov->iov_base, plan->iov->iov_len,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
        sending->message = (struct msghdr){.msg_iov = plan->iov, .msg_iovlen = (size_t)plan->count};
        io_uring_prep_sendmsg(sqe, conn_fd(conn), &sending->message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    io_uring_sqe_set_data64(sqe, uring->count);
    sending->conn = conn;
    sending->result = TRANSPORT_AGAIN; /* what holds if the kernel does not take it */
    uring->range_count += (uint32_t)plan->count;
    uring->bytes += plan->bytes;
    uring->count++;
}

/* Notes what became of requests; returns of how many. */
static uint32_t reap(struct uring *uring)
{
    struct io_uring_cqe *cqe;
    uint32_t done = 0;
    unsigned head;

    io_uring_for_each_cqe(&uring->ring, head, cqe)
    {
        uring->sends[io_uring_cqe_get_data64(cqe)].result =
            cqe->res >= 0 ? cqe->res : transport_failure(-cqe->res);
        done++;
    }
    io_uring_cq_advance(&uring->ring, done);
    return done;
}

/* Has all requests done. False: the kernel did not take them all. */
static bool submit(struct uring *uring)
{
    enum { TRIES = 16 };
    uint32_t done = 0;

    for (int tries = 0; done < uring->count && tries < TRIES; tries++) {
        uint32_t before = done;

        (void)io_uring_submit_and_wait(&uring->ring, uring->count - done);
        done += reap(uring);
        if (done > before)
            tries = 0;
    }
    return done == uring->count;
}

/* Sends what was offered, and tells each connection. */
static bool send_all(struct uring *uring)
{
    uint32_t count = uring->count;
    bool is_good = !count || submit(uring);

    uring->count = uring->range_count = 0;
    uring->bytes = 0;
    uring->is_noted = false;
    for (uint32_t i = 0; i < count; i++) {
        struct sending *sending = &uring->sends[i];

        if (conn_account_sent(sending->conn, &sending->plan, sending->result))
            conn_mark(sending->conn); /* the others first */
    }
    return is_good;
}

/* Is there no room for one more plan? */
static bool requester_waits(const struct uring *uring)
{
    return uring->count && (uring->sends[uring->count - 1].plan.is_last ||
                            uring->range_count > RANGES - PLAN_IOVECS || uring->bytes >= BYTES);
}

/* Takes connections off the list. TLS sends at once. */
static uint32_t gather(struct ff_list *flush, struct ff_list *gathered, uint64_t until_us)
{
    struct ff_list *node;
    uint32_t count = 0;

    for (uint32_t i = 1; i <= URING_SENDS && (node = ff_list_pop(flush)); i++) {
        struct conn *conn = FF_CONTAINER(node, struct conn, link);

        if (conn->tls) {
            conn_flush(conn);
        } else {
            ff_list_append(gathered, node);
            count++;
        }
        if (i % NET_LOOK_EVERY == 0 && loop_clock_us() > until_us)
            break;
    }
    return count;
}

/* What there was no time for comes first in the next turn. */
static void put_back(struct ff_list *flush, struct ff_list *gathered)
{
    while (!ff_list_is_empty(gathered)) {
        struct ff_list *last = gathered->prev;

        ff_list_remove(last);
        ff_list_prepend(flush, last);
    }
}

bool uring_flush(struct uring *uring, struct ff_list *flush, uint64_t until_us)
{
    struct ff_list gathered;
    struct ff_list *node;
    bool is_good = true;
    bool is_worth_it;

    ff_list_init(&gathered);
    is_worth_it = gather(flush, &gathered, until_us) >= URING_LEAST;
    while (is_good && (node = ff_list_pop(&gathered))) {
        struct conn *conn = FF_CONTAINER(node, struct conn, link);

        if (!is_worth_it)
            conn_flush(conn);
        else if (!conn->is_blocked)
            offer(uring, conn);
        if (!requester_waits(uring))
            continue;
        is_good = send_all(uring);
        if (loop_clock_us() > until_us)
            break;
    }
    is_good &= send_all(uring);
    put_back(flush, &gathered);
    return is_good;
}

#else

struct uring *uring_new(void)
{
    errno = ENOSYS;
    return NULL;
}

void uring_free(struct uring *uring)
{
    (void)uring;
}

bool uring_flush(struct uring *uring, struct ff_list *flush, uint64_t until_us)
{
    (void)uring;
    (void)flush;
    (void)until_us;
    return false;
}

#endif
