/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscribing.c - the four steps of subscribing.h, from the last to the first:
 * leaving, answered and released, held, asked.
 */
#include "broker/carrier/subscribing.h"

#include "broker/carrier/carrier.h"
#include "broker/topic/rate.h"
#include "protocol/base/mem.h"

void subscribing_leave_if_idle(struct carrier *carrier, struct remote_link *remote)
{
    if (!remote_is_idle(remote))
        return;
    remote_leave(remote);
    ff_list_append(&channel_to(carrier, remote->owner)->leaving, &remote->leaving);
}

/* Leaving. */

static void detach_cursor(struct carrier *carrier, struct subscription *s)
{
    struct router *router = carrier->env.router;

    switch ((enum subscription_state)s->state) {
    case SUBSCRIPTION_DETACHED:
        break;
    case SUBSCRIPTION_REQUESTED: {
        struct waiter *waiter = s->waiter;

        waiter->s = waiter->pending->s = NULL; /* it is answered all the same */
        rate_free(s);
        s->state = SUBSCRIPTION_DETACHED;
        break;
    }
    case SUBSCRIPTION_IDLE:
        router_unsubscribe(router, s);
        break;
    case SUBSCRIPTION_LINKED: {
        struct remote_link *remote = s->link->is_remote ? link_remote(s->link) : NULL;

        router_unsubscribe(router, s); /* a link of our own may be gone by that */
        if (remote)
            subscribing_leave_if_idle(carrier, remote);
        break;
    }
    }
}

/* All cursors are tied to nothing from here on. */
static void detach(struct carrier *carrier, struct subscription *s, uint32_t cursors)
{
    for (uint32_t i = 0; i < cursors; i++)
        detach_cursor(carrier, &s[i]);
}

void carrier_unsubscribe(struct carrier *carrier, struct subscription *s)
{
    detach(carrier, s, s->cursor_count);
}

/* Answered. */

/* Those that share its fate wait for nothing but their turn from here on. */
static void release_turns(struct pending_subscribe *pending, enum ff_err err)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&pending->turns)))
        FF_CONTAINER(node, struct turn, node)->err = err;
}

/* Asked for, as far as the session knows, whatever the owners have said. */
static void set_requested(struct waiter *waiter)
{
    struct subscription *s = waiter->s;

    s->state = SUBSCRIPTION_REQUESTED;
    s->zone = ZONE_TIMED;
    s->request = &waiter->pending->request;
    s->waiter = waiter;
}

/* The first error undoes what others have granted: all or nothing. */
static void refuse(struct carrier *carrier, struct pending_subscribe *pending, enum ff_err err)
{
    uint32_t cursors = carrier_cursor_count(carrier, pending->what.is_filter);

    if (pending->err)
        return;
    pending->err = err;
    for (uint32_t i = 0; pending->s && i < cursors; i++) {
        if (pending->s[i].state == SUBSCRIPTION_REQUESTED)
            continue;
        detach_cursor(carrier, &pending->s[i]);
        set_requested(&pending->waiters[i]);
    }
}

/* All owners have answered what was asked before, and this. */
static void answer(struct carrier *carrier, struct pending_subscribe *pending,
                   const struct engine_start *start)
{
    uint32_t cursors = carrier_cursor_count(carrier, pending->what.is_filter);
    struct engine_start refused = {.err = pending->err};
    struct subscription *s = pending->s;

    pending->is_answered = true;
    release_turns(pending, pending->err);
    if (pending->err && s) {
        detach(carrier, s, cursors);
        pending->s = NULL;
    }
    carrier->env.events->subscribed(carrier->env.arg, pending->ticket, s, pending->what.name,
                                    pending->err ? &refused : start);
    /* The session may have ended by that, and the subscription with it: its memory stays. */
    for (uint32_t i = 0; pending->s && i < cursors; i++)
        if (pending->s[i].state != SUBSCRIPTION_DETACHED)
            router_release(carrier->env.router, &pending->s[i]);
}

/* An owner has answered; or those have that were not asked. */
static void finish_cursor(struct carrier *carrier, struct pending_subscribe *pending,
                          const struct engine_start *start)
{
    if (start->err)
        refuse(carrier, pending, start->err);
    if (--pending->left > 0)
        return;
    answer(carrier, pending, start);
    if (!pending->is_asking)
        ff_mem_free(pending);
}

void subscribing_pass(struct carrier *carrier, struct pending_subscribe *pending)
{
    struct engine_start refused = {.err = pending->err};

    finish_cursor(carrier, pending, &refused);
}

/* Is a start of any use? */
static bool is_wanted(const struct waiter *waiter, const struct engine_start *start)
{
    return waiter->s && !start->err && !waiter->pending->err;
}

/* Held, if it was tied. */
static void hold(struct carrier *carrier, struct waiter *waiter, const struct engine_start *start)
{
    if (is_wanted(waiter, start))
        router_hold(waiter->s); /* its first message comes after the ACK */
    else if (waiter->s)
        set_requested(waiter);
    finish_cursor(carrier, waiter->pending, start);
}

void subscribing_start_own(struct carrier *carrier, struct waiter *waiter,
                           const struct engine_start *start)
{
    const struct pending_subscribe *pending = waiter->pending;
    struct engine_start tied = *start;

    if (is_wanted(waiter, start))
        tied.err = router_subscribe_at(carrier->env.router, waiter->s, pending->what.name,
                                       pending->what.kind, &start->at);
    hold(carrier, waiter, &tied);
}

void subscribing_start_remote(struct carrier *carrier, struct waiter *waiter,
                              const struct remote_start *at, const struct engine_start *start)
{
    struct remote_link *remote = waiter->remote;
    struct engine_start tied = *start;

    ff_list_remove(&waiter->node);
    if (!tied.err)
        remote_accept(remote, at);
    if (is_wanted(waiter, start))
        tied.err = remote_attach(remote, waiter->s, at);
    hold(carrier, waiter, &tied);
    if (remote->state == REMOTE_NEW && ff_list_is_empty(&remote->waiters))
        remote_drop(remote);
    else
        subscribing_leave_if_idle(carrier, remote);
}

/* Asked. */

/* FF_OK: the owner will answer. There is room for the request. */
static enum ff_err ask_remote(struct carrier *carrier, struct waiter *waiter, uint32_t owner)
{
    struct channel *channel = channel_to(carrier, owner);
    const struct pending_subscribe *pending = waiter->pending;
    struct remote_key key = {.name = pending->what.name,
                             .kind = pending->what.kind,
                             .owner = owner,
                             .owner_box = channel->owner->env.box,
                             .worker_box = carrier->env.box};
    struct request *request;
    enum ff_err err = remote_get(carrier->env.router, &key, &waiter->remote);

    if (err)
        return err;
    ff_list_append(&waiter->remote->waiters, &waiter->node);
    request = channel_reserve(channel, 0, 0);
    FF_CHECK(request);
    *request = (struct request){.kind = REQUEST_LINK, .waiter = waiter};
    channel_commit(channel, 0, 0);
    return FF_OK;
}

/* False: it was refused before it was asked. */
static bool ask_owner(struct carrier *carrier, struct waiter *waiter, uint32_t owner)
{
    enum ff_err err;

    if (owner == carrier->env.index) {
        engine_subscribe(carrier->env.engine, &waiter->pending->what,
                         (struct engine_caller){waiter, owner});
        return true;
    }
    err = ask_remote(carrier, waiter, owner);
    if (err)
        refuse(carrier, waiter->pending, err);
    return !err;
}

/* Those that are not asked are waited for: nothing overtakes what was asked of them before. */
static void pass_others(struct carrier *carrier, struct pending_subscribe *pending, uint32_t first,
                        uint32_t count)
{
    pending->left -= count - 1;
    if (!carrier_pass(carrier, pending, first, count)) /* memory is short: out of order, then */
        subscribing_pass(carrier, pending);
}

/* From `first` on, all that are needed. */
static void ask_all(struct carrier *carrier, struct pending_subscribe *pending, uint32_t first)
{
    uint32_t cursors = pending->left;
    uint32_t asked = 0;

    for (uint32_t i = 0; i < cursors; i++) {
        pending->waiters[i] = (struct waiter){.pending = pending, .s = &pending->s[i]};
        set_requested(&pending->waiters[i]);
    }
    pending->is_asking = true;
    while (asked < cursors && !pending->err &&
           ask_owner(carrier, &pending->waiters[asked], first + asked))
        asked++;
    if (asked < cursors)
        pass_others(carrier, pending, first + asked, cursors - asked);
    pending->is_asking = false;
    if (pending->is_answered)
        ff_mem_free(pending);
}

/* NULL: out of memory. */
static struct pending_subscribe *
make_pending(struct subscription *s, const struct engine_subscription *what, uint32_t cursors)
{
    size_t size = sizeof(struct pending_subscribe) + cursors * sizeof(struct waiter);
    struct pending_subscribe *pending = ff_mem_zalloc(size + what->name.len);

    if (!pending)
        return NULL;
    memcpy((char *)pending + size, what->name.at, what->name.len);
    pending->what = *what;
    pending->what.name.at = (char *)pending + size;
    pending->request = (struct subscription_request){pending->what.name, what->is_filter};
    pending->s = s;
    pending->left = cursors;
    ff_list_init(&pending->turns);
    return pending;
}

/* Makes the rings that are still to be made. */
static bool open_channels(const struct carrier *carrier, uint32_t first, uint32_t cursors)
{
    for (uint32_t owner = first; owner < first + cursors; owner++)
        if (owner != carrier->env.index && !channel_open(channel_to(carrier, owner)))
            return false;
    return true;
}

bool carrier_subscribe(struct carrier *carrier, struct subscription *s,
                       const struct engine_subscription *what, struct ticket ticket)
{
    static const struct engine_start no_memory = {.err = FF_ENOMEM};
    uint32_t first = carrier_first_owner(carrier, what->name, what->is_filter);
    uint32_t cursors = carrier_cursor_count(carrier, what->is_filter);
    struct pending_subscribe *pending = NULL;

    s->cursor_count = (uint8_t)(cursors & SUBSCRIPTION_CURSORS_MAX);
    if (!carrier_has_room(carrier, what->name, what->is_filter))
        return false;
    if (open_channels(carrier, first, cursors))
        pending = make_pending(s, what, cursors);
    if (!pending) {
        carrier->env.events->subscribed(carrier->env.arg, ticket, s, what->name, &no_memory);
        return true;
    }
    pending->ticket = ticket;
    ask_all(carrier, pending, first);
    return true;
}

void subscribing_add_turn(struct subscription *s, uint32_t cursors, struct turn *turn)
{
    for (uint32_t i = 0; s && i < cursors; i++) {
        if (s[i].state == SUBSCRIPTION_REQUESTED) {
            struct waiter *waiter = s[i].waiter;

            ff_list_append(&waiter->pending->turns, &turn->node);
            return;
        }
    }
}
