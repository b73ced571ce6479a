/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/backoff.h"

enum { HOUR_MS = 3600000 };

int64_t ff_backoff_next_ms(struct ff_backoff *backoff, int64_t up_ms, int64_t asked_ms,
                           uint32_t random)
{
    int64_t most = FF_BACKOFF_LEAST_MS;

    if (up_ms >= FF_BACKOFF_UPTIME_MS)
        backoff->losses = 0;
    for (unsigned i = 0; i < backoff->losses && most < FF_BACKOFF_MOST_MS; i++)
        most *= 2;
    if (most > FF_BACKOFF_MOST_MS)
        most = FF_BACKOFF_MOST_MS;
    backoff->losses++;
    if (asked_ms >= 0)
        return asked_ms < HOUR_MS ? asked_ms : HOUR_MS;
    return (int64_t)(random % (uint64_t)(most + 1));
}
