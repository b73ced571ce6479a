/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/place.h"

#include <inttypes.h>
#include <stdio.h>

/* An ACK's offset is the one before the first message; a GAP's that of the next. */
void place_take(struct place *place, const struct ff_message *m)
{
    struct ff_slice epoch = ff_message_text(m, FF_FIELD_EPOCH);

    place->is_begun |= m->type == FF_TYPE_ACK;
    if (!ff_message_has(m, FF_FIELD_OFFSET) || ff_message_has(m, FF_FIELD_FILTER))
        return;
    if (epoch.at && epoch.len <= sizeof(place->epoch)) {
        memcpy(place->epoch, epoch.at, epoch.len);
        place->epoch_len = epoch.len;
    }
    place->offset = m->values[FF_FIELD_OFFSET].integer - (m->type == FF_TYPE_GAP);
}

const char *place_since(const struct place *place, char room[PLACE_TEXT])
{
    if (!place->epoch_len)
        return NULL;
    (void)snprintf(room, PLACE_TEXT, "{\"epoch\":\"%.*s\",\"offset\":%" PRIu64 "}",
                   (int)place->epoch_len, place->epoch, place->offset);
    return room;
}
