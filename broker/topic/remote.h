/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.h - a link to a log that another worker owns.
 *
 * Its memory is the worker's who has the subscriptions, from before it asks the
 * owner until the owner has answered that it is unlinked. Of the fields that
 * both touch, `needed`, `receivers` and `buffered` are atomic, the others are
 * handed over with a request or an answer.
 *
 * The owner posts `log_changed` in the worker's box, once however many messages
 * came; the worker posts `need_lowered` in the owner's when something may be freed.
 *
 * Each subscription is granted its start by the owner, so that it begins where the
 * session's own publishes before it end: at the owner remote_grant, then
 * remote_accept and remote_attach. A start that was granted and
 * not yet accepted is kept by `lowest_unaccepted`: the worker stores `needed`, then
 * how many it has accepted.
 */
#ifndef TOPIC_REMOTE_H
#define TOPIC_REMOTE_H

#include "broker/topic/link.h"
#include "broker/worker/mailbox.h"

struct history_start;
struct router;

enum remote_state {
    REMOTE_NEW,     /* its owner is to be asked, or was and has not answered */
    REMOTE_LINKED,  /* it may be joined */
    REMOTE_LEAVING, /* its last subscription went: the owner is to be told */
    REMOTE_FREE,    /* the owner has answered; a mail of it still lies in the box */
};

struct remote_link {
    /* The worker's. */
    struct link link;
    struct remote_link *next; /* of its topic */
    struct router *router;
    struct ff_list leaving; /* among those whose owner is to be told */
    struct ff_list waiters; /* subscriptions that wait for the owner's answer */
    struct mailbox *owner_box;
    struct mail need_lowered;
    uint64_t offered_head;   /* the head that its subscriptions know */
    uint32_t accepted_count; /* starts accepted, `accepted` when the turn ends */
    uint32_t owner;          /* number of the worker that owns the log */
    enum remote_state state;

    /* Stored by the worker, loaded by the owner. */
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t needed;
    _Atomic uint64_t active_needed; /* of those whose sockets are not full */
    _Atomic uint64_t buffered;
    _Atomic uint32_t receivers;
    _Atomic uint32_t accepted; /* starts, see above */

    /* The owner's, while it is linked. */
    _Alignas(FF_CACHE_LINE) struct remote_link *next_of_log;
    struct link *owner_link; /* of the log; NULL: it is not linked */
    struct router *owner_router;
    struct mailbox *worker_box;
    struct mail log_changed;
    uint32_t granted;           /* starts */
    uint64_t lowest_unaccepted; /* of starts that may not be accepted yet */
};

/* Where a subscription may begin. */
struct remote_start {
    struct cursor cursor;
    uint64_t asked_byte; /* the log's head: what comes before was asked for */
};

struct remote_key {
    struct ff_slice name;
    enum log_kind kind;
    uint32_t owner;
    struct mailbox *owner_box;
    struct mailbox *worker_box;
};

/*
 * The worker: finds the link to be joined or waited for, or makes a new one, for
 * which the owner is to be asked. FF_OK, FF_ENOMEM, FF_ELIMIT (max_filters).
 */
FF_MUST_CHECK enum ff_err remote_get(struct router *router, const struct remote_key *request,
                                     struct remote_link **remote);

/* The worker: the owner has granted a start, which is used or not. */
void remote_accept(struct remote_link *remote, const struct remote_start *start);

/* The worker: ties a subscription there. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err remote_attach(struct remote_link *remote, struct subscription *s,
                                        const struct remote_start *start);

/* The worker: nobody needs it any more, the owner is to be told. */
bool remote_is_idle(const struct remote_link *remote);

/* The worker: it is not to be found any more, and its log not to be touched. */
void remote_leave(struct remote_link *remote);

/* The worker: it is unlinked, or never was linked. Freed now, or when its mail is opened. */
void remote_drop(struct remote_link *remote);

/*
 * The owner: grants a start where history says, NULL: at the log's head. Links it first, and
 * makes topic and log, if need be. FF_OK, FF_ENOMEM, FF_ELIMIT (max_topics).
 */
FF_MUST_CHECK enum ff_err remote_grant(struct router *owner, struct remote_link *remote,
                                       const struct history_start *from,
                                       struct remote_start *start);

/* The owner: its last touch. */
void remote_detach(struct remote_link *remote);

/* The owner: there are new messages, or the tail moved. */
void remote_notify(struct remote_link *remote);

/* The worker, at the end of a turn: stores what its subscriptions need. */
void remote_publish_needed(struct remote_link *remote, const struct log_view *view);

/* The worker: a subscription came or went. */
void remote_note_count(struct remote_link *remote);

/*
 * The lowest byte that one of these workers still needs; `*active` becomes
 * that of subscriptions whose sockets are not full, if it is lower.
 */
uint64_t remote_needed(const struct remote_link *first, uint64_t *active);

static inline struct remote_link *link_remote(struct link *link)
{
    return FF_CONTAINER(link, struct remote_link, link);
}

#endif
