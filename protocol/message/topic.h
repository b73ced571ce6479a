/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.h - what a topic's name and a filter look like, and which match.
 *
 * A name is UTF-8, 1 to 255 octets, at most 32 levels separated by `/`, no
 * level empty, no control characters, no `+` or `#`. A filter may have `+` for
 * one level and `#` as its last level for all below and the level itself, as
 * in MQTT. Names that begin with `$` match only filters that spell the first
 * level. See docs/protocol.md, Topics.
 */
#ifndef MESSAGE_TOPIC_H
#define MESSAGE_TOPIC_H

#include <stdbool.h>

#include "protocol/base/bytes.h"

enum { FF_TOPIC_MAX = 255, FF_TOPIC_LEVELS = 32 };

enum ff_topic_kind { FF_TOPIC_BAD, FF_TOPIC_NAME, FF_TOPIC_FILTER };

/* What `text` is. O(length). */
enum ff_topic_kind ff_topic_kind(struct ff_slice text);

/* What is wrong with a BAD one, for an error's reason. Static. */
const char *ff_topic_fault(struct ff_slice text);

/* Does the filter (or name) match the name? Both must be well formed. */
bool ff_topic_is_match(struct ff_slice filter, struct ff_slice name);

/* Names that belong to the broker. */
static inline bool ff_topic_is_reserved(struct ff_slice name)
{
    return name.len > 0 && name.at[0] == '$';
}

#endif
