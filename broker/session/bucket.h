/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bucket.h - token buckets for messages and bytes a second.
 *
 * What is over the rate waits unread: the connection is paused until the
 * bucket is out of debt. A bucket holds one second's worth. Only connections
 * for which a limit is configured have one.
 */
#ifndef SESSION_BUCKET_H
#define SESSION_BUCKET_H

#include "broker/net/wheel.h"
#include "protocol/base/check.h"

struct session;

struct bucket {
    struct wheel_timer timer; /* when the debt is paid */
    struct session *session;
    double messages; /* tokens left; below 0: debt */
    double bytes;
    uint64_t filled_ms;
};

/* NULL: out of memory. */
FF_MUST_CHECK struct bucket *bucket_new(struct session *session);
void bucket_free(struct bucket *bucket);

/* A message of so many octets came. Pauses the connection when it is over a limit. */
void bucket_take(struct bucket *bucket, uint64_t len);

#endif
