/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - what one sendmsg is to take: ranges of bytes that stay where they are.
 */
#ifndef NET_PLAN_H
#define NET_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

enum { PLAN_IOVECS = 64 };

/* What one sendmsg takes. `bytes` and `count` grow as ranges are added. */
struct plan {
    struct iovec *iov; /* room for PLAN_IOVECS */
    int count;
    size_t bytes;
    size_t max_bytes;
    size_t own; /* of `bytes`: the connection's, in front of what its owner added */

    /* Several plans may be made before the first is accounted for: the owner's ranges of each. */
    bool is_first; /* no plan with ranges waits to be accounted for */
    bool is_last;  /* the owner has no room for the ranges of another one */
    uint32_t first_range;
    uint32_t range_count;
};

static inline bool plan_is_full(const struct plan *plan)
{
    return plan->count == PLAN_IOVECS || plan->bytes >= plan->max_bytes;
}

/* The plan must not be full. `bytes` is only read. */
static inline void plan_add(struct plan *plan, const void *bytes, size_t len)
{
    struct iovec *iov = &plan->iov[plan->count++];

    memcpy(&iov->iov_base, &bytes, sizeof(bytes));
    iov->iov_len = len;
    plan->bytes += len;
}

#endif
