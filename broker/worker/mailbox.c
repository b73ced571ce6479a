/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/worker/mailbox.h"

#include <stddef.h>

void mailbox_init(struct mailbox *box, void (*wake)(void *arg), void *arg)
{
    atomic_init(&box->top, NULL);
    box->wake = wake;
    box->arg = arg;
}

void mail_init(struct mail *mail, void (*open)(struct mail *mail))
{
    mail->next = NULL;
    mail->open = open;
    atomic_init(&mail->is_in, false);
}

void mailbox_post(struct mailbox *box, struct mail *mail)
{
    struct mail *top;

    /* Read and written in one: who opens it either saw what we wrote before, or is told again. */
    if (atomic_exchange(&mail->is_in, true))
        return;
    top = atomic_load_explicit(&box->top, memory_order_relaxed);
    do
        mail->next = top;
    while (!atomic_compare_exchange_weak_explicit(&box->top, &top, mail, memory_order_release,
                                                  memory_order_relaxed));
    if (!top && box->wake)
        box->wake(box->arg);
}

void mailbox_open(struct mailbox *box)
{
    struct mail *newest;
    struct mail *oldest = NULL;

    if (mailbox_is_empty(box))
        return;
    newest = atomic_exchange_explicit(&box->top, NULL, memory_order_acquire);
    while (newest) { /* the other way round */
        struct mail *mail = newest;

        newest = mail->next;
        mail->next = oldest;
        oldest = mail;
    }
    while (oldest) {
        struct mail *mail = oldest;

        oldest = mail->next;
        (void)atomic_exchange(&mail->is_in, false);
        mail->open(mail);
    }
}
