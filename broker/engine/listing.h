/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listing.h - what a topic's log keeps, as an engine's answer: the same for all engines.
 */
#ifndef ENGINE_LISTING_H
#define ENGINE_LISTING_H

#include "broker/engine/engine.h"
#include "broker/topic/router.h"

/* `roll` becomes the answer; what it points to lies in `out`, the caller's to free. */
void listing_recall(struct router *router, struct ff_slice name,
                    const struct engine_listing *listing, struct ff_buf *out,
                    struct engine_roll *roll);

#endif
