/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/listing.h"

void listing_recall(struct router *router, struct ff_slice name,
                    const struct engine_listing *listing, struct ff_buf *out,
                    struct engine_roll *roll)
{
    struct recalled recalled = {.epoch = 0};
    struct recall what = listing->recall;

    what.encoding = listing->encoding;
    what.max_octets = listing->max_octets;

    *roll = (struct engine_roll){.err = FF_OK};
    roll->err = recall_messages(router, name, &what, out, &recalled);
    roll->items = ff_buf_slice(out);
    roll->epoch = recalled.epoch;
    roll->has_more = recalled.has_more;
}
