/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.h - where a subscription stands in its topic, so that it goes on there after
 * a lost connection: docs/protocol.md, SUBSCRIBE, `since`.
 */
#ifndef CLI_PLACE_H
#define CLI_PLACE_H

#include "protocol/message/message.h"

enum { PLACE_TEXT = FF_EPOCH_MAX + 64 };

struct place {
    char epoch[FF_EPOCH_MAX]; /* as the broker says it */
    size_t epoch_len;         /* 0: the topic keeps no history, or has not answered */
    uint64_t offset;
    bool is_begun; /* it was acknowledged, once */
};

/* What came to this subscription: its ACK, a GAP, a MESSAGE. */
void place_take(struct place *place, const struct ff_message *m);

/* For `since`, as JSON, in `room`; NULL: it stands nowhere. */
const char *place_since(const struct place *place, char room[PLACE_TEXT]);

#endif
