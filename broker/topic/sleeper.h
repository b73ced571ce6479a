/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sleeper.h - a topic to which nobody publishes, with its one subscription.
 *
 * Of a million topics most are quiet: a device each, a user each. Such a topic
 * needs no logs, no links and no cached filters; its name and its subscription
 * say all there is to know, for the log would begin where the cursor stands. It
 * becomes a topic again with the next message or the second subscription
 * (registry_wake), and sleeps again when it was quiet for a while
 * (registry_lull).
 */
#ifndef TOPIC_SLEEPER_H
#define TOPIC_SLEEPER_H

#include "broker/topic/subscription.h"
#include "protocol/base/map.h"

struct sleeper {
    struct ff_map_node node;
    struct subscription *subscription;
    uint8_t encoding; /* enum ff_encoding */
    uint8_t name_len;
    char name[];
};

static inline struct ff_slice sleeper_name(const struct sleeper *sleeper)
{
    return (struct ff_slice){sleeper->name, sleeper->name_len};
}

#endif
