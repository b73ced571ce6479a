/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backoff.h - how long to wait before a lost connection is tried again.
 *
 * Full jitter: anything from 0 to 500 ms at first, to twice as much after each
 * further loss, to 20 s at most, so that a thousand clients that lost the same
 * broker do not return in step. A connection that held for 5 s begins anew. The
 * delay that a broker asked for in its GOODBYE holds instead: it has spread its
 * clients itself. Time and randomness are arguments.
 */
#ifndef C_BACKOFF_H
#define C_BACKOFF_H

#include <stdint.h>

enum { FF_BACKOFF_LEAST_MS = 500, FF_BACKOFF_MOST_MS = 20000, FF_BACKOFF_UPTIME_MS = 5000 };

struct ff_backoff {
    unsigned losses; /* in a row */
};

/*
 * What to wait now, in milliseconds. `up_ms`: how long the connection that was
 * lost had held, 0: it never was. `asked_ms`: GOODBYE's `retry`, below 0: none
 * came; more than an hour is taken for an hour.
 */
int64_t ff_backoff_next_ms(struct ff_backoff *backoff, int64_t up_ms, int64_t asked_ms,
                           uint32_t random);

#endif
