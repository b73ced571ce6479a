/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate.h - a subscription that wants at most so many messages a second.
 *
 * r > 0: at most one message each 1/r s; one that comes after a pause of 1/r s
 * goes at once, else at the end of the interval the newest goes. 0 pauses. What
 * was passed over is told by a GAP "rate", at most once a second.
 *
 * A timed subscription enters the wheel only when its topic got a message and
 * its interval is not over, so quiet topics cost nothing.
 */
#ifndef TOPIC_RATE_H
#define TOPIC_RATE_H

#include "broker/net/wheel.h"
#include "broker/topic/subscription.h"

enum { RATE_TELL_MS = 1000 };

struct router;

struct rate {
    struct wheel_timer timer;
    struct router *router;
    struct subscription *subscription;
    double per_second; /* 0: paused */
    double due_ms;     /* the next message may go from here on */
    double sent_ms;    /* when the last one went, 0: none did */
    uint64_t skipped;  /* passed over and not yet told: */
    uint64_t from;     /* after this offset */
    uint64_t to;       /* and up to this; delivered ones may lie between */
    uint64_t told_ms;  /* when the last GAP went, 0: never */
};

/*
 * Sets the rate, -1 for every message. Before a change takes effect the caller
 * tells what rate_take_skipped() answers. FF_OK, FF_ENOMEM.
 */
FF_MUST_CHECK enum ff_err rate_set(struct router *router, struct subscription *s,
                                   double per_second);
void rate_free(struct subscription *s);

/* Does it want nothing for now? */
static inline bool rate_is_paused(const struct subscription *s)
{
    return s->rate && s->rate->per_second <= 0;
}

/* There is a message: may it go now? If not the subscription is timed from here on. */
bool rate_admit(struct subscription *s);

/* A message was sent: the next one is due an interval later. */
void rate_sent(struct subscription *s);

/* Passes over `count` messages between two offsets. */
void rate_pass(struct rate *rate, uint64_t from, uint64_t to, uint64_t count);

/*
 * So many messages, those that were told last or passed over last, are not told of yet, and
 * nothing follows them: that is made up for within RATE_TELL_MS.
 */
void rate_note_gone(struct rate *rate, uint64_t count);

/* May what was passed over be told now? */
bool rate_can_tell(const struct rate *rate);

/* Counts what was passed over as told; from where to where stays to be read. */
void rate_told(struct rate *rate);

/* Moves a cursor that the tail has passed up to it; returns the messages that are gone. */
uint64_t rate_catch_up(struct cursor *cursor, const struct log_view *view);

/*
 * All that was passed over so far, up to the newest message (`keep_newest`: not
 * counting that one, the cursor is then before it). The cursor moves, but not that of one
 * that still reads what it asked for: nothing of that was passed over.
 */
uint64_t rate_take_skipped(struct subscription *s, uint64_t session_tag, bool keep_newest);

#endif
