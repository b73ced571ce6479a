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
    struct ff_list asking;  /* among those that wait for room in the ring */
    struct ff_list waiters; /* subscriptions that wait for the owner's answer */
    struct mailbox *owner_box;
    struct mail risen;
    uint64_t walked; /* the head that its subscriptions know */
    uint32_t owner;  /* number of the worker that owns the log */
    enum far_state state;

    /* Stored by the worker, loaded by the owner. */
    _Alignas(FF_CACHE_LINE) _Atomic uint64_t needed;
    _Atomic uint64_t buffered;
    _Atomic uint32_t receivers;

    /* The owner's, while it is linked. */
    _Alignas(FF_CACHE_LINE) struct far_link *next_of_log;
    struct link *near; /* of the log */
    struct router *owner_router;
    struct mailbox *worker_box;
    struct mail told;
    struct cursor start; /* where its first subscriptions begin */
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

/* The worker: the owner has answered, the link may be joined from here on. */
void far_linked(struct far_link *far);

/* The worker: ties a subscription to a link that is linked. FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err far_join(struct far_link *far, struct subscription *s);

/*
 * The same in three steps: it waits for the owner's answer; it is tied where the
 * owner began to keep what comes, and held back; it is let go.
 */
void far_ask(struct far_link *far, struct subscription *s);
FF_MUST_CHECK enum ff_err far_tie(struct far_link *far, struct subscription *s);
void far_release(struct subscription *s);

/* The worker: nobody needs it any more, the owner is to be told. */
bool far_is_idle(const struct far_link *far);

/* The worker: it is not to be found any more, and its log not to be touched. */
void far_leave(struct far_link *far);

/* The worker: it is unlinked, or never was linked. Freed now, or when its mail is opened. */
void far_drop(struct far_link *far);

/* The owner: makes topic and log if need be. FF_OK, FF_ENOMEM, FF_ELIMIT (max_topics). */
FF_MUST_CHECK enum ff_err far_attach(struct router *owner, struct far_link *far);

/* The owner: its last touch. */
void far_detach(struct far_link *far);

/* The owner: there are new messages, or the tail moved. */
void far_tell(struct far_link *far);

/* The worker, at the end of a turn: stores what its subscriptions need. */
void far_settle(struct far_link *far, const struct log_view *view);

/* The worker: a subscription came or went. */
void far_note_count(struct far_link *far);

/* The lowest position that one of these workers still needs. */
uint64_t far_needed(const struct far_link *first);

static inline struct far_link *link_far(struct link *link)
{
    return FF_CONTAINER(link, struct far_link, link);
}

#endif
