/* SPDX-License-Identifier: Apache-2.0 */
/*
 * past.h - the past of a topic in another kind than it was published in.
 *
 * A log that is made for a new kind begins with what the window of the topic holds,
 * written again from a log that is there: so whoever asks for the past finds it in the
 * log that he reads on from. See docs/decisions/0017-past-in-another-kind.md.
 */
#ifndef TOPIC_PAST_H
#define TOPIC_PAST_H

#include "broker/topic/place.h"
#include "broker/topic/topic.h"
#include "protocol/message/message.h"

struct router;

/* Octets of frames that are written again at most, the newest: some milliseconds of a turn. */
enum { PAST_MOST = 4 * 1024 * 1024 };

/*
 * Finds or makes a topic's log of a kind. Where the topic keeps history, the log reaches
 * back as far as the others do, or as memory allows; what that cost is counted in
 * router.rewritten, for who shares out turns. NULL: out of memory; a publish can do without.
 */
struct topic_log *past_get_log(struct router *router, struct topic *topic, enum log_kind kind);

/* The same, and it has the topic's retained message, which there must be. False: out of memory. */
bool past_get_retained(struct router *router, struct topic *topic, enum log_kind kind);

/* The log of an encoding that reaches back furthest; NULL: none has a message. */
const struct topic_log *past_source(const struct topic *topic, enum log_kind *kind);

/* The message of a frame in such a log. False: it is a hole. */
bool past_payload(const struct topic *topic, enum log_kind kind, const struct place *place,
                  struct ff_payload *payload);

#endif
