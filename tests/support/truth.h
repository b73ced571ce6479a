/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth.h - a model of topics with several owners: what each of them appended,
 * in order, and whether what a subscription received can be true of it.
 *
 * An owner notes a message where it orders it; a stream is one part of a
 * subscription, the messages of one owner. Each message comes once, in the
 * owner's order, or is told of in a gap, exactly. Owners may be threads: each
 * appends to its own truths only.
 */
#ifndef SUPPORT_TRUTH_H
#define SUPPORT_TRUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/bytes.h"

enum {
    TRUTH_NAMES = 6,
    TRUTH_FILTERS = 3,
    TRUTH_TOPICS = TRUTH_NAMES + TRUTH_FILTERS, /* the filters come last */
    TRUTH_OWNERS = 8,
};

extern const char *const truth_topics[TRUTH_TOPICS];

/* For messages with ids from 1 to `max_messages`, and so many owners. */
void truth_begin(uint32_t max_messages, uint32_t owners);
void truth_end(void);

/* The owner: message `id` of the publisher `tag` is the next one of all that `name` matches. */
void truth_note(uint32_t owner, uint32_t id, uint64_t tag, struct ff_slice name);

/* The owner: it was not taken after all; nothing was noted meanwhile. */
void truth_take_back(uint32_t owner, struct ff_slice name);

/* How many messages of this owner a topic or filter has had. */
uint32_t truth_count(uint32_t topic, uint32_t owner);

/* The number of a message in the order of a topic or filter, from 1 on. */
uint32_t truth_number(uint32_t id, uint32_t topic);

/* How a subscription reads. */
struct reading {
    uint64_t tag;  /* its session's */
    bool is_quiet; /* what that published is passed over */
    bool is_rated; /* messages may be left out; how many is told late */
};

struct stream {
    uint32_t topic;
    uint32_t owner;
    uint32_t least;  /* it begins here or later ... */
    uint32_t most;   /* ... and no later than here */
    uint32_t passed; /* messages accounted for, once it is_anchored */
    uint32_t missed; /* by a rate: in all */
    bool is_anchored;
};

/* It is asked for now: what was noted before is not its own. */
void stream_begin(struct stream *stream, uint32_t topic, uint32_t owner);

/* It was acknowledged: whatever is noted from now on is its own. */
void stream_acknowledge(struct stream *stream);

/* It was told where it begins: behind so many messages. */
void stream_begin_behind(struct stream *stream, uint32_t number);

/* The publisher knows that message `id` came behind its request. */
void stream_is_before(struct stream *stream, uint32_t id);

/* Message number `number` came, and a gap of `told` before it. */
void stream_take(struct stream *stream, const struct reading *reading, uint32_t number,
                 uint32_t told);

/* Nothing more comes, but a gap of at most `told`: were all messages accounted for? */
void stream_end(const struct stream *stream, const struct reading *reading, uint32_t told);

#endif
