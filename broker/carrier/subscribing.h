/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscribing.h - a subscription from the request to its first message, the same
 * way for own topics and for those of other workers:
 *
 *   1. asked: each owner of the name or filter is asked where it begins, the own
 *      engine by a call, the others through their channels;
 *   2. held: a cursor that has its start is tied to its log there, and waits;
 *   3. answered: when all owners have answered, so that it overtakes nothing that
 *      was asked before. The first error undoes the others, all or nothing, and
 *      who is not asked for it any more is only waited for;
 *   4. released: behind the answer messages flow.
 *
 * The session may leave at any time: what is still asked for is then answered to
 * nobody.
 */
#ifndef CARRIER_SUBSCRIBING_H
#define CARRIER_SUBSCRIBING_H

#include "broker/carrier/channel.h"

/* One cursor of a subscription that waits for its owner's answer. */
struct waiter {
    struct ff_list node;        /* of its remote link */
    struct remote_link *remote; /* NULL: this worker is the owner */
    struct pending_subscribe *pending;
    struct subscription *s; /* NULL: it was unsubscribed */
    const struct engine_subscription *what;
};

/* By which a session is a member of a topic. It leaves by it, whatever else there is no room for.
 */
struct seat {
    struct ff_list leaving; /* among those whose owner is to be told */
    uint64_t serial;
    uint8_t name_len;
    char name[]; /* of the topic */
};

/* A subscription that is asked for. Owners read the waiters' `what` and `remote`, and nothing else.
 */
struct pending_subscribe {
    struct engine_subscription what;
    struct engine_subscription news;     /* of the bulletin, with `what.hears` */
    struct engine_start start;           /* to the topic, then: what is answered, but for members */
    struct seat *seat;                   /* with `what.joins` */
    struct subscription_request request; /* the same for the subscription itself */
    struct ticket ticket;
    struct subscription *s; /* the first of its cursors; NULL: unsubscribed, or refused */
    struct ff_list turns;   /* answers that share its fate */
    enum ff_err err;        /* the first one */
    uint32_t cursors;
    uint32_t left;  /* owners that have not answered, those who are still to be asked too */
    bool is_asking; /* not all owners are asked: it stays, whatever those say that are */
    bool is_answered;
    bool has_joined;
    bool is_deaf;            /* it hears no more, as soon as it does */
    struct waiter waiters[]; /* one for each cursor; names are behind them */
};

/* Who is asked for the members of a name. */
struct question {
    struct ticket ticket;
    struct engine_listing listing;
    uint8_t name_len;
    char name[];
};

/* An answer that waits until the owners have answered all that was asked before. */
struct turn {
    struct ff_list node; /* of the subscription whose fate it shares, until that is answered */
    struct ticket ticket;
    struct pending_subscribe *refused; /* this waits, and no answer of the session's; or NULL */
    enum ff_err err;
    uint32_t left; /* owners that it waits for, and who still asks them */
    uint32_t len;
    char frame[];
};

/* This worker's engine has said where a cursor begins. */
void subscribing_start_own(struct carrier *carrier, struct waiter *waiter,
                           const struct engine_start *start);

/* Another worker has, and granted the place `at` in its log. */
void subscribing_start_remote(struct carrier *carrier, struct waiter *waiter,
                              const struct remote_start *at, const struct engine_start *start);

/* It was refused, and the owners that were not asked have answered all that was asked before. */
void subscribing_pass(struct carrier *carrier, struct pending_subscribe *pending);

/*
 * The carrier's: subscribing_pass() follows, perhaps at once, when `count` owners from
 * `first` on have answered all that was asked before. There is room. False: out of memory.
 */
FF_MUST_CHECK bool carrier_pass(struct carrier *carrier, struct pending_subscribe *pending,
                                uint32_t first, uint32_t count);

/* The carrier's: is there room for two requests of this owner, whose rings may be still to be made?
 */
FF_MUST_CHECK bool carrier_has_room_for_two(struct carrier *carrier, uint32_t owner);

/* The turn shares the fate of a subscription, NULL: of none, if that is still asked for. */
void subscribing_add_turn(struct subscription *s, uint32_t cursors, struct turn *turn);

/* A member leaves; its seat is gone when its owner is told. */
void subscribing_leave(struct carrier *carrier, struct seat *seat);

/* A remote link that nobody needs any more is given up: its owner is to be told. */
void subscribing_leave_if_idle(struct carrier *carrier, struct remote_link *remote);

#endif
