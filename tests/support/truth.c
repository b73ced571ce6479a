/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/truth.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "protocol/message/topic.h"
#include "tests/support/test.h"

const char *const truth_topics[TRUTH_TOPICS] = {"a",   "b/1", "b/2", "c/1", "c/2/x",
                                                "d/2", "b/#", "+/1", "#"};

/* What one owner appended to one topic or filter, in order: written by that owner alone. */
struct truth {
    uint32_t *ids;
    _Atomic uint32_t count;
};

/* Where each message stands in the truths of all that it matches, and who published it. */
struct message {
    uint64_t tag;
    uint32_t places[TRUTH_TOPICS];
};

static struct truth truths[TRUTH_TOPICS][TRUTH_OWNERS];
static struct message *messages;

void truth_begin(uint32_t max_messages, uint32_t owners)
{
    messages = calloc(max_messages + 1, sizeof(*messages));
    assert_non_null(messages);
    for (int t = 0; t < TRUTH_TOPICS; t++) {
        for (uint32_t owner = 0; owner < owners; owner++) {
            truths[t][owner].ids = calloc(max_messages + 1, sizeof(uint32_t));
            assert_non_null(truths[t][owner].ids);
            atomic_store(&truths[t][owner].count, 0);
        }
    }
}

void truth_end(void)
{
    for (int t = 0; t < TRUTH_TOPICS; t++) {
        for (int owner = 0; owner < TRUTH_OWNERS; owner++) {
            free(truths[t][owner].ids);
            truths[t][owner].ids = NULL;
        }
    }
    free(messages);
}

void truth_note(uint32_t owner, uint32_t id, uint64_t tag, struct ff_slice name)
{
    messages[id].tag = tag;
    for (uint32_t t = 0; t < TRUTH_TOPICS; t++) {
        struct truth *truth = &truths[t][owner];
        uint32_t count = atomic_load_explicit(&truth->count, memory_order_relaxed);

        if (!ff_topic_is_match(ff_slice_of(truth_topics[t]), name))
            continue;
        messages[id].places[t] = count;
        truth->ids[count] = id;
        atomic_store_explicit(&truth->count, count + 1, memory_order_release);
    }
}

void truth_take_back(uint32_t owner, struct ff_slice name)
{
    for (uint32_t t = 0; t < TRUTH_TOPICS; t++)
        if (ff_topic_is_match(ff_slice_of(truth_topics[t]), name))
            atomic_fetch_sub(&truths[t][owner].count, 1);
}

uint32_t truth_count(uint32_t topic, uint32_t owner)
{
    return atomic_load_explicit(&truths[topic][owner].count, memory_order_acquire);
}

uint32_t truth_number(uint32_t id, uint32_t topic)
{
    return messages[id].places[topic] + 1;
}

/* How many between these places the reader itself published and does not want to hear. */
static uint32_t count_own(const struct stream *stream, const struct reading *reading, uint32_t from,
                          uint32_t to)
{
    const struct truth *truth = &truths[stream->topic][stream->owner];
    uint32_t own = 0;

    for (uint32_t i = from; reading->is_quiet && i < to; i++)
        own += messages[truth->ids[i]].tag == reading->tag;
    return own;
}

void stream_begin(struct stream *stream, uint32_t topic, uint32_t owner)
{
    *stream = (struct stream){
        .topic = topic, .owner = owner, .least = truth_count(topic, owner), .most = UINT32_MAX};
}

void stream_acknowledge(struct stream *stream)
{
    stream->most = truth_count(stream->topic, stream->owner);
}

void stream_begin_behind(struct stream *stream, uint32_t number)
{
    assert_true(number <= truth_count(stream->topic, stream->owner));
    stream->passed = number;
    stream->is_anchored = true;
}

void stream_is_before(struct stream *stream, uint32_t id)
{
    if (messages[id].tag && messages[id].places[stream->topic] < stream->most)
        stream->most = messages[id].places[stream->topic];
}

/* The first message that came, `number`, tells where the stream began. */
static void anchor(struct stream *stream, const struct reading *reading, uint32_t number,
                   uint32_t told)
{
    uint32_t begin = number - 1 - told;
    /* What is neither seen nor told of was before its beginning, or its own. */
    uint32_t own = count_own(stream, reading, stream->least, number - 1);

    assert_true(number - 1 >= told && begin >= stream->least);
    if (begin > stream->most + own)
        fail_msg("%u messages of %s are lost at the beginning", begin - stream->most - own,
                 truth_topics[stream->topic]);
    stream->passed = begin;
}

void stream_take(struct stream *stream, const struct reading *reading, uint32_t number,
                 uint32_t told)
{
    uint32_t missing;
    uint32_t own;

    if (!stream->is_anchored && reading->is_rated)
        stream->passed = stream->least; /* at most so many were missed */
    else if (!stream->is_anchored)
        anchor(stream, reading, number, told);
    stream->is_anchored = true;
    if (number <= stream->passed)
        fail_msg("message %u of %s came after %u", number, truth_topics[stream->topic],
                 stream->passed);
    missing = number - 1 - stream->passed;
    own = count_own(stream, reading, stream->passed, number - 1);
    stream->missed += missing;
    if (reading->is_rated) /* it tells late, but never of more than was missed */
        assert_true(told <= stream->missed);
    else if (told > missing || missing - told > own)
        fail_msg("%u of %s were missed and %u told (%u own)", missing, truth_topics[stream->topic],
                 told, own);
    stream->passed = number;
}

void stream_end(const struct stream *stream, const struct reading *reading, uint32_t told)
{
    uint32_t count = truth_count(stream->topic, stream->owner);
    uint32_t from = stream->is_anchored ? stream->passed : stream->most;

    /* A gap may have only own ones behind it. */
    if (from + count_own(stream, reading, from, count) + told < count)
        fail_msg("%u messages of %s are lost at the end", count - from,
                 truth_topics[stream->topic]);
}
