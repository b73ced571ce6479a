/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring.h - a flush whose sends are handed to the kernel together, by io_uring.
 *
 * Many connections offer what they have to send, one system call sends all of
 * it, then each connection hears what was taken of its own. Nothing is sent
 * later than in a flush of one sendmsg for each connection: a full socket
 * answers so at once.
 *
 * Without liburing at build time uring_new() fails with ENOSYS.
 */
#ifndef NET_URING_H
#define NET_URING_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/check.h"
#include "protocol/base/list.h"

struct uring;

enum {
    URING_SENDS = 1024, /* of one system call: 1,000 cost x 0.85 of as many calls, 9,000 x 1.15 */
    URING_LEAST = 16,   /* fewer are cheaper one by one */
};

/* In the one thread that will call uring_flush(). NULL: errno says why the kernel does not let us.
 */
FF_MUST_CHECK struct uring *uring_new(void);

/* NULL is allowed. */
void uring_free(struct uring *uring);

/*
 * Takes at most URING_SENDS connections off the flush list and sends what they
 * offer; ends early, with one call at least, when the clock passes `until_us`
 * (loop_clock_us). False: the kernel took no requests; those that it left wait for their
 * sockets, and it is to be freed.
 */
FF_MUST_CHECK bool uring_flush(struct uring *uring, struct ff_list *flush, uint64_t until_us);

#endif
