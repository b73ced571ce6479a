/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advice.h - how Redis is set up, held against what Fanfare needs of it (docs/cluster.md).
 *
 * What could lose messages is told to the operator in the log, with what to write instead. Where
 * CONFIG is refused INFO is read, and what that cannot show is named.
 */
#ifndef ENGINE_ADVICE_H
#define ENGINE_ADVICE_H

#include "broker/redis/link.h"

/* Asks; the answer is logged when it comes. A link that takes no more is asked the next time. */
void advice_ask(struct redis_link *link);

#endif
