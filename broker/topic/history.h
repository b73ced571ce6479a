/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.h - what topics keep of the messages that were read, and for how long.
 *
 * The past of a topic is its log kept longer. Of each log stays what lies within the
 * topic's window: so many messages, so many octets, so many seconds, by its rule.
 * A topic stays while it has kept messages, even if nobody ever subscribed to it;
 * when it goes, epoch and last offset are remembered (positions.h).
 *
 * Every log of a topic with history reaches back as far as its window does: one of
 * another kind than what is published is made from one that is there (past.h).
 *
 * Kept messages and positions have a budget of their own. Past it the topics that were
 * published to least recently lose their messages, those first to which nobody ever
 * subscribed, O(1) each: who publishes to ever new names takes nothing from others.
 * Positions take a quarter of it at most: past that the oldest are forgotten.
 */
#ifndef TOPIC_HISTORY_H
#define TOPIC_HISTORY_H

#include "broker/topic/kind.h"
#include "broker/topic/log.h"
#include "broker/topic/positions.h"

struct registry;
struct router;
struct topic;
struct topic_log;
struct wheel_timer;

/* The window of topics without a rule of their own, and what all of them may take. */
struct history_limits {
    uint32_t messages; /* 0: no history */
    uint32_t octets;
    uint32_t seconds; /* less than 25 days: log.c, is_of_age() */
    uint32_t position_seconds;
    uint64_t memory; /* octets of this worker's */
};

enum {
    HISTORY_DRAWN = 32,
    RETAINED_PART = 2, /* the part of `memory` that retained messages may take */
};

struct history {
    struct positions positions;
    /* Topics with kept messages, least recently published to first: */
    struct ff_list strangers;       /* those that nobody ever subscribed to, */
    struct ff_list acquaintances;   /* and the others */
    uint32_t unread;                /* topics that are there for their kept messages alone */
    uint32_t drawn;                 /* of the random numbers that are left */
    uint64_t random[HISTORY_DRAWN]; /* epochs to come */
};

void history_init(struct history *history);
void history_deinit(struct history *history);

/* A new epoch, never 0. */
uint64_t history_new_epoch(struct history *history);

/* The second by which positions are kept. */
uint32_t history_second(const struct registry *registry);

/* Does a name's rule keep messages? */
bool history_is_on(const struct registry *registry, struct ff_slice name);

/* The window of a name, as its rule and the limits have it. */
struct history_limits history_limits_for(const struct registry *registry, struct ff_slice name);

/* Octets that the window of a topic may hold. */
uint32_t history_octets(const struct topic *topic);

/* What one of its logs is to keep now. */
struct log_window history_window(const struct topic *topic, const struct log *log);

/* The offset before the oldest message that the window of one of its logs holds. */
uint64_t history_oldest(const struct topic *topic, const struct log *log);

/* A message was published to a topic with history. */
void history_note(struct topic *topic);

/* A topic was subscribed to for the first time: it is no stranger any more. */
void history_meet(struct topic *topic);

/* It goes, or its messages do: no timer and no list has it any more. */
void history_leave(struct topic *topic);

/* After its logs were trimmed: when to look again. */
void history_rearm(struct topic *topic);

/* The end of a turn: what is over the budget goes. */
void history_enforce(struct router *router);

/* Once a second: positions that are too old are forgotten. True: there are more. */
bool history_expire(struct router *router);

/* From where on a subscription or a HISTORY may have messages. */
struct history_start {
    struct ff_position at; /* the first message comes after this one, */
    uint64_t retained;     /* but for a retained one that comes first: its offset, 0: none */
    bool is_recovered;     /* nothing that came after `since` is missing */
    bool is_lost;          /* `since` is of another epoch, or ahead */
    uint64_t missing;      /* messages after `since` and right before the first that are gone */
    uint64_t head;         /* the newest message's offset */
};

/* The position before the very first message; epoch 0: the topic keeps no history. */
struct ff_position history_first(const struct history_start *start);

/*
 * Where a subscription to a name would begin, in the log of a kind, which is made if it is
 * to reach back; `since` NULL: at the head. at.epoch 0: the topic keeps no history.
 * FF_OK, FF_ENOMEM.
 */
FF_MUST_CHECK enum ff_err history_find_start(struct router *router, struct ff_slice name,
                                             enum log_kind kind, const struct ff_since *since,
                                             struct history_start *start);

#endif
