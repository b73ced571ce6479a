/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox.h - how workers wake each other.
 *
 * A mailbox holds mails: small nodes inside objects about which something is to
 * be known ("this log has a new head", "there are requests in this ring"). Any
 * thread posts, without a lock, without memory and without waiting; a mail that
 * lies in the box already is not posted twice. The owner opens all of them once
 * a turn. What a mail is about is written before it is posted and read after it
 * was opened: whoever posts a mail that is just being opened posts it again.
 *
 * (Treiber's stack, 1986, emptied as a whole, so that there is no ABA.)
 */
#ifndef WORKER_MAILBOX_H
#define WORKER_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

struct mail {
    struct mail *next;
    /* In the owner's turn; it may free the mail, or post it again. */
    void (*open)(struct mail *mail);
    _Atomic bool is_in;
};

struct mailbox {
    _Atomic(struct mail *) top;
    void (*wake)(void *arg); /* by the thread that put the first one in; NULL: nobody sleeps */
    void *arg;
};

void mailbox_init(struct mailbox *box, void (*wake)(void *arg), void *arg);

void mail_init(struct mail *mail, void (*open)(struct mail *mail));

/* Any thread. The mail stays its poster's until it was opened. */
void mailbox_post(struct mailbox *box, struct mail *mail);

/* The owner: opens all that lies in it, the oldest first. */
void mailbox_open(struct mailbox *box);

static inline bool mailbox_is_empty(struct mailbox *box)
{
    return !atomic_load_explicit(&box->top, memory_order_relaxed);
}

/* False: it is nobody's but its owner's now. For the one thread that posts it. */
static inline bool mail_is_in(struct mail *mail)
{
    return atomic_load_explicit(&mail->is_in, memory_order_acquire);
}

#endif
