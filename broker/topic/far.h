/* SPDX-License-Identifier: Apache-2.0 */
/*
 * far.h - a link to a log that another worker owns.
 *
 * Its memory is the worker's who has the subscriptions, from before it asks the
 * owner until the owner has answered that it is unlinked. Of the fields that
 * both touch, `needed`, `receivers` and `buffered` are atomic, the others are
 * handed over with a request or an answer.
 *
 * New messages are told by the mail `told` in the worker's box, once however
 * many there are; that something may be freed by `risen` in the owner's.
 *
 * Each subscription is given its place by the owner, so that it begins where the
 * session's own publishes before it end. A place that was given and not yet taken
 * is kept by `floor`: the worker stores `needed`, then how many it has taken.
 */
#ifndef TOPIC_FAR_H
#define TOPIC_FAR_H

#include "broker/topic/link.h"
#include "broker/worker/mailbox.h"

struct router;

enum far_state {
    FAR_NEW,     /* its owner is to be asked, or was and has not answered */
    FAR_LINKED,  /* it may be joined */
    FAR_LEAVING, /* its last subscription went: the owner is to be told */
    FAR_FREE,    /* the owner has answered; a mail of it still lies in the box */
};

struct far_link {
    /* The worker's. */
    struct link link;
    struct far_link *next; /* of its topic */
    struct router *router;
    struct ff_list leaving; /* among those whose owner is to be told */
    struct ff_list waiters; /* subscriptions that wait for the owner's answer */
    struct mailbox *owner_box;
    struct mail risen;
    uint64_t walked;      /* the head that its subscriptions know */
    uint32_t taken_count; /* places taken, `taken` when the turn ends */
    uint32_t owner;       /* number of the worker that owns the log */
    enum far_state state;

    /* Stored by the worker, loaded by the owner. */
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t needed;
    _Atomic uint64_t active_needed; /* of those whose sockets are not full */
    _Atomic uint64_t buffered;
    _Atomic uint32_t receivers;
    _Atomic uint32_t taken; /* places, see above */

    /* The owner's, while it is linked. */
    _Alignas(FF_CACHE_LINE) struct far_link *next_of_log;
    struct link *near; /* of the log; NULL: it is not linked */
    struct router *owner_router;
    struct mailbox *worker_box;
    struct mail told;
    uint32_t given; /* places */
    uint64_t floor; /* the lowest that may not be taken yet */
};

struct far_request {
    struct ff_slice name;
    enum ff_encoding encoding;
    uint32_t owner;
    struct mailbox *owner_box;
    struct mailbox *worker_box;
};

/*
 * The worker: finds the link to be joined or waited for, or makes a new one, for
 * which the owner is to be asked. FF_OK, FF_ENOMEM, FF_ELIMIT (max_filters).
 */
FF_MUST_CHECK enum ff_err far_get(struct router *router, const struct far_request *request,
                                  struct far_link **far);

/* The worker: a subscription waits for its place; `waiter` is whoever waits with it. */
void far_ask(struct far_link *far, struct subscription *s, void *waiter);

/* The worker: the owner has given a place, which is taken or not. */
void far_take(struct far_link *far, const struct cursor *place);

/* The worker: ties a subscription there. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err far_tie(struct far_link *far, struct subscription *s,
                                  const struct cursor *place);

/* The worker: nobody needs it any more, the owner is to be told. */
bool far_is_idle(const struct far_link *far);

/* The worker: it is not to be found any more, and its log not to be touched. */
void far_leave(struct far_link *far);

/* The worker: it is unlinked, or never was linked. Freed now, or when its mail is opened. */
void far_drop(struct far_link *far);

/*
 * The owner: gives a place, the log's head. Links it first, and makes topic and
 * log, if need be. FF_OK, FF_ENOMEM, FF_ELIMIT (max_topics).
 */
FF_MUST_CHECK enum ff_err far_give(struct router *owner, struct far_link *far,
                                   struct cursor *place);

/* The owner: its last touch. */
void far_detach(struct far_link *far);

/* The owner: there are new messages, or the tail moved. */
void far_tell(struct far_link *far);

/* The worker, at the end of a turn: stores what its subscriptions need. */
void far_publish_needed(struct far_link *far, const struct log_view *view);

/* The worker: a subscription came or went. */
void far_note_count(struct far_link *far);

/*
 * The lowest byte that one of these workers still needs; `*active` becomes
 * that of subscriptions whose sockets are not full, if it is lower.
 */
uint64_t far_needed(const struct far_link *first, uint64_t *active);

static inline struct far_link *link_far(struct link *link)
{
    return FF_CONTAINER(link, struct far_link, link);
}

#endif
