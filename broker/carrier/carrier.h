/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier.h - takes a session's request to the worker that owns its topic, and the answer back.
 *
 * A name is owned by one worker, found by its hash; a filter by all of them: each
 * has a log for what matches of the names it owns. For its own names a carrier
 * asks its worker's engine (engine/engine.h) in the same step, for all others it
 * asks their owners through channels (channel.h). With one worker nothing crosses.
 *
 * Answers come later, by `events`: a session may be gone by then, so every request
 * carries a ticket, and the session is looked up again by its tag. Answers to
 * requests of one session about one name or filter come in the order of the
 * requests. A session that can answer by itself (an UNSUBSCRIBE) has its answer
 * wait for its turn there: carrier_await_turn().
 *
 * Never more is asked of an owner than there is room for answers, so an owner can
 * always answer, and no two workers wait for each other. Who asks and finds no
 * room waits (session/deferred.h).
 *
 * A subscription to a name is one `struct subscription`, one to a filter is an
 * array of them: a cursor for each owner (carrier_cursor_count()). How it is asked
 * for, held, answered and released stands in subscribing.h.
 */
#ifndef CARRIER_CARRIER_H
#define CARRIER_CARRIER_H

#include "broker/engine/engine.h"
#include "broker/topic/router.h"
#include "broker/worker/qsbr.h"

struct carrier_events {
    /*
     * `count` publishes of this session are answered: the ticket's, and before it
     * others that were taken and have no id. Each is answered once.
     */
    void (*published)(void *arg, struct ticket ticket, const struct engine_receipt *receipt,
                      uint32_t count);
    /*
     * start->err is FF_OK: `s` is tied to its topic; NULL: it was unsubscribed
     * meanwhile. Not FF_OK: `s` is tied to nothing and its owner's to free, if it
     * is not NULL. `name`: what was asked for, borrowed.
     */
    void (*subscribed)(void *arg, struct ticket ticket, struct subscription *s,
                       struct ff_slice name, const struct engine_start *start);
    /* Who the members of `name` are, borrowed: carrier_list(). */
    void (*listed)(void *arg, struct ticket ticket, struct ff_slice name,
                   const struct engine_roll *roll);
    /*
     * The answer `frame`, borrowed, has waited for its turn. Not FF_OK: what it
     * is about, a subscription that was asked for, was refused with this.
     */
    void (*turn_came)(void *arg, struct ticket ticket, struct ff_slice frame, enum ff_err err);
    /* What was not taken because this queue had no room may be tried again: carrier->full. */
    void (*room)(void *arg, uint32_t queue);
};

/* Queues of those that wait for room: one for each owner, and behind them one for all owners. */
enum { CARRIER_QUEUES = WORKERS_MAX + 1 };

/* An answer that the session has ready. */
struct carrier_turn {
    struct ff_slice name;
    bool is_filter;
    /* The subscription that it is about, if it is still asked for: NULL, or they share its fate. */
    struct subscription *subscription;
    struct ff_slice frame;
};

/*
 * A subscription to a name whose rule has presence: its session is a member as long as it holds,
 * and hears of the others by a second one, to the bulletin, if it wants to.
 */
struct membership {
    struct subscription s;    /* with `is_member` */
    struct subscription news; /* detached: it is not told */
    struct seat *seat;        /* the carrier's; NULL: it is not taken yet */
};

static inline struct membership *membership_of(struct subscription *s)
{
    return FF_CONTAINER(s, struct membership, s);
}

struct exchange;
struct mailbox;

struct carrier_env {
    struct engine *engine; /* of this worker: the carrier's to free, and the receiver of events */
    struct router *router;
    struct exchange *exchange; /* of all workers, NULL: there is one */
    struct mailbox *box;       /* by which this worker is told of what came */
    uint32_t index;            /* of this worker */
    const struct carrier_events *events;
    void *arg;
};

struct carrier {
    struct carrier_env env;
    uint32_t owners;  /* workers that own topics */
    uint32_t full;    /* the queue in which to wait, when a request was not taken just now */
    uint64_t members; /* so far */
};

/*
 * Those of all workers are made before the first is used. NULL: out of memory,
 * and the engine is still the caller's.
 */
FF_MUST_CHECK struct carrier *carrier_new(const struct carrier_env *env);

/*
 * The worker ends: from here on its engine answers at once, with an error what it
 * would have to wait for. So all that waits is over when the mails are opened.
 */
void carrier_stop(struct carrier *carrier);

/* NULL is allowed. */
void carrier_free(struct carrier *carrier);

/* Which worker owns a name. */
uint32_t carrier_owner(const struct carrier *carrier, struct ff_slice name);

/* The owners of a name or filter: from here on, carrier_cursor_count() of them. */
static inline uint32_t carrier_first_owner(const struct carrier *carrier, struct ff_slice name,
                                           bool is_filter)
{
    return is_filter ? 0 : carrier_owner(carrier, name);
}

/* How many subscriptions in a row one to a filter, or to a name, is made of. */
static inline uint32_t carrier_cursor_count(const struct carrier *carrier, bool is_filter)
{
    return is_filter ? carrier->owners : 1;
}

/*
 * False: there is no room for it now. Nothing was done; `events->room` tells
 * when to try again, with the queue that `carrier->full` names.
 */
FF_MUST_CHECK bool carrier_publish(struct carrier *carrier, const struct publication *p,
                                   struct ticket ticket);

/*
 * `s`: carrier_cursor_count() of them, detached, with owner, rules and rate set. From
 * here on they are not detached, also while the answer is awaited. False: as for
 * a publish. `what->name` is copied.
 *
 * Where `what->joins`, its session becomes a member by it, and `s` is that of a
 * struct membership. With `what->hears` both of its subscriptions are asked for, and answered
 * at once: to the topic, and to its bulletin. The serial of the member is the carrier's to give.
 */
FF_MUST_CHECK bool carrier_subscribe(struct carrier *carrier, struct subscription *s,
                                     const struct engine_subscription *what, struct ticket ticket);

/* At once; of one whose answer is not there yet, too. All of its cursors, and its membership. */
void carrier_unsubscribe(struct carrier *carrier, struct subscription *s);

/* By which its engine knows a member; 0: it is none yet. */
uint64_t carrier_serial(const struct membership *member);

/* At once, as above: the member hears of the others no more. */
void carrier_stop_hearing(struct carrier *carrier, struct membership *member);

/* It hears, or is to, and was perhaps to stop before it was answered: it goes on. */
void carrier_keep_hearing(struct membership *member);

/* False: as for a publish. Answered by `listed`. */
FF_MUST_CHECK bool carrier_list(struct carrier *carrier, struct ff_slice name,
                                struct engine_listing listing, struct ticket ticket);

/*
 * Is there room for one more request about a name or filter? False: as for a
 * publish. True: carrier_await_turn() may follow, if nothing else was asked.
 */
FF_MUST_CHECK bool carrier_has_room(struct carrier *carrier, struct ff_slice name, bool is_filter);

/*
 * Has the session's own answer wait until all requests about the name that were
 * made before are answered; `turn_came` hands it back, perhaps at once. There
 * must be room: carrier_has_room().
 */
void carrier_await_turn(struct carrier *carrier, const struct carrier_turn *what,
                        struct ticket ticket);

/* The end of a turn's input: other workers are told of what they were asked, and answered. */
void carrier_notify(struct carrier *carrier);

/* Once a second: memory that is not needed goes back. */
void carrier_release_idle(struct carrier *carrier);

#endif
