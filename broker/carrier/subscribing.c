/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscribing.c - the four steps of subscribing.h, from the last to the first:
 * leaving, answered and released, held, asked.
 */
#include "broker/carrier/subscribing.h"

#include "broker/carrier/carrier.h"
#include "broker/topic/bulletin.h"
#include "broker/topic/rate.h"
#include "protocol/base/mem.h"

_Static_assert(offsetof(struct membership, news) == sizeof(struct subscription),
               "both are an array of two");

void subscribing_leave_if_idle(struct carrier *carrier, struct remote_link *remote)
{
    if (!remote_is_idle(remote))
        return;
    remote_leave(remote);
    ff_list_append(&channel_to(carrier, remote->owner)->leaving, &remote->leaving);
}

/* Leaving. */

void subscribing_leave(struct carrier *carrier, struct seat *seat)
{
    struct ff_slice name = {seat->name, seat->name_len};
    uint32_t owner = carrier_owner(carrier, name);

    if (owner != carrier->env.index) {
        ff_list_append(&channel_to(carrier, owner)->seats, &seat->leaving);
        return;
    }
    engine_leave(carrier->env.engine, name, seat->serial);
    ff_mem_free(seat);
}

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
    struct membership *member;

    detach(carrier, s, s->cursor_count);
    if (!s->is_member)
        return;
    member = membership_of(s);
    detach_cursor(carrier, &member->news);
    if (member->seat)
        subscribing_leave(carrier, member->seat);
    member->seat = NULL;
}

uint64_t carrier_serial(const struct membership *member)
{
    return member->seat ? member->seat->serial : 0;
}

/* That asks for both subscriptions of a member, and has not been answered; NULL: none does. */
static struct pending_subscribe *pending_of_both(const struct membership *member)
{
    const struct waiter *waiter = member->news.waiter;

    return member->news.state == SUBSCRIPTION_REQUESTED && waiter->pending->what.hears
               ? waiter->pending
               : NULL;
}

void carrier_stop_hearing(struct carrier *carrier, struct membership *member)
{
    struct pending_subscribe *pending = pending_of_both(member);

    if (pending)
        pending->is_deaf = true; /* both have one fate until then */
    else
        detach_cursor(carrier, &member->news);
}

void carrier_keep_hearing(struct membership *member)
{
    struct pending_subscribe *pending = pending_of_both(member);

    if (pending)
        pending->is_deaf = false;
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
    if (pending->err)
        return;
    pending->err = err;
    for (uint32_t i = 0; pending->s && i < pending->cursors; i++) {
        if (pending->s[i].state == SUBSCRIPTION_REQUESTED)
            continue;
        detach_cursor(carrier, &pending->s[i]);
        set_requested(&pending->waiters[i]);
    }
}

/* Whose seat it is, when all is answered. */
static void assign_seat(struct carrier *carrier, struct pending_subscribe *pending)
{
    if (!pending->has_joined)
        ff_mem_free(pending->seat);
    else if (pending->s)
        membership_of(pending->s)->seat = pending->seat;
    else
        subscribing_leave(carrier, pending->seat);
    pending->seat = NULL;
}

/* All owners have answered what was asked before, and this. */
static void answer(struct carrier *carrier, struct pending_subscribe *pending,
                   const struct engine_start *start)
{
    struct engine_start refused = {.err = pending->err};
    struct subscription *s = pending->s;

    pending->is_answered = true;
    release_turns(pending, pending->err);
    if (pending->err && s) {
        detach(carrier, s, pending->cursors);
        pending->s = NULL;
    }
    assign_seat(carrier, pending);
    if (pending->s && pending->is_deaf)
        detach_cursor(carrier, &pending->s[1]);
    carrier->env.events->subscribed(carrier->env.arg, pending->ticket, s, pending->what.name,
                                    pending->err ? &refused : start);
    /* The session may have ended by that, and the subscription with it: its memory stays. */
    for (uint32_t i = 0; pending->s && i < pending->cursors; i++)
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

/* What is answered to the topic's subscription, together with that to its bulletin. */
static struct engine_start join_starts(struct pending_subscribe *pending,
                                       const struct waiter *waiter,
                                       const struct engine_start *start)
{
    struct engine_start joined = *start;

    if (!pending->what.hears)
        return joined;
    if (waiter->what == &pending->what) {
        pending->start = *start; /* the bulletin's is asked for behind it, and answered so */
        return joined;
    }
    joined = pending->start;
    joined.err = start->err;
    joined.content = start->content;
    joined.count = start->count;
    return joined;
}

/* Held, if it was tied. */
static void hold(struct carrier *carrier, struct waiter *waiter, const struct engine_start *start)
{
    struct engine_start joined = join_starts(waiter->pending, waiter, start);

    if (is_wanted(waiter, start))
        router_hold(waiter->s); /* its first message comes after the ACK */
    else if (waiter->s)
        set_requested(waiter);
    finish_cursor(carrier, waiter->pending, &joined);
}

/* The engine has said yes: who was to be a member is one, whatever comes of the rest. */
static void note_joined(const struct waiter *waiter, const struct engine_start *start)
{
    if (waiter->what->joins && !start->err)
        waiter->pending->has_joined = true;
}

void subscribing_start_own(struct carrier *carrier, struct waiter *waiter,
                           const struct engine_start *start)
{
    const struct engine_subscription *what = waiter->what;
    struct engine_start tied = *start;

    note_joined(waiter, start);
    if (is_wanted(waiter, start))
        tied.err = router_subscribe_at(carrier->env.router, waiter->s, what->name, what->kind,
                                       &start->from);
    hold(carrier, waiter, &tied);
}

void subscribing_start_remote(struct carrier *carrier, struct waiter *waiter,
                              const struct remote_start *at, const struct engine_start *start)
{
    struct remote_link *remote = waiter->remote;
    struct engine_start tied = *start;

    ff_list_remove(&waiter->node);
    note_joined(waiter, start);
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
    struct remote_key key = {.name = waiter->what->name,
                             .kind = waiter->what->kind,
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
        engine_subscribe(carrier->env.engine, waiter->what, (struct engine_caller){waiter, owner});
        return true;
    }
    err = ask_remote(carrier, waiter, owner);
    if (err)
        refuse(carrier, waiter->pending, err);
    return !err;
}

/* A filter has a cursor for each owner; both of a member are of the same one. */
static uint32_t owner_of(const struct pending_subscribe *pending, uint32_t first, uint32_t cursor)
{
    return pending->what.is_filter ? first + cursor : first;
}

/* Those that are not asked are waited for: nothing overtakes what was asked of them before. */
static void pass_others(struct carrier *carrier, struct pending_subscribe *pending, uint32_t first,
                        uint32_t asked)
{
    uint32_t count = pending->cursors - asked;

    pending->left -= count - 1;
    if (!carrier_pass(carrier, pending, owner_of(pending, first, asked),
                      pending->what.is_filter ? count : 1))
        subscribing_pass(carrier, pending); /* memory is short: out of order, then */
}

/* From `first` on, all that are needed. */
static void ask_all(struct carrier *carrier, struct pending_subscribe *pending, uint32_t first)
{
    uint32_t asked = 0;

    for (uint32_t i = 0; i < pending->cursors; i++) {
        bool is_news = pending->what.hears && i == 1;

        pending->waiters[i] = (struct waiter){.pending = pending,
                                              .s = &pending->s[i],
                                              .what = is_news ? &pending->news : &pending->what};
        set_requested(&pending->waiters[i]);
    }
    pending->is_asking = true;
    while (asked < pending->cursors && !pending->err &&
           ask_owner(carrier, &pending->waiters[asked], owner_of(pending, first, asked)))
        asked++;
    if (asked < pending->cursors)
        pass_others(carrier, pending, first, asked);
    pending->is_asking = false;
    if (pending->is_answered)
        ff_mem_free(pending);
}

/* NULL: out of memory. */
static struct seat *make_seat(struct carrier *carrier, struct ff_slice name)
{
    struct seat *seat = ff_mem_alloc(sizeof(*seat) + name.len);

    if (!seat)
        return NULL;
    *seat = (struct seat){.serial = ++carrier->members * WORKERS_MAX + carrier->env.index,
                          .name_len = (uint8_t)name.len};
    memcpy(seat->name, name.at, name.len);
    return seat;
}

/* What the request points to, behind the waiters: the bulletin's name, which has the topic's in it.
 */
static void keep_texts(struct pending_subscribe *pending, char *room)
{
    struct ff_slice *name = &pending->what.name;
    struct ff_slice *user = &pending->what.member.user;

    memcpy(room, BULLETIN_PREFIX, BULLETIN_PREFIX_LEN);
    memcpy(room + BULLETIN_PREFIX_LEN, name->at, name->len);
    if (user->len)
        memcpy(room + BULLETIN_PREFIX_LEN + name->len, user->at, user->len);
    *name = (struct ff_slice){room + BULLETIN_PREFIX_LEN, name->len};
    *user = (struct ff_slice){name->at + name->len, user->len};
}

/* NULL: out of memory. */
static struct pending_subscribe *make_pending(struct carrier *carrier, struct subscription *s,
                                              const struct engine_subscription *what,
                                              uint32_t cursors)
{
    size_t size = sizeof(struct pending_subscribe) + cursors * sizeof(struct waiter);
    struct pending_subscribe *pending =
        ff_mem_zalloc(size + BULLETIN_PREFIX_LEN + what->name.len + what->member.user.len);

    if (!pending)
        return NULL;
    pending->what = *what;
    keep_texts(pending, (char *)pending + size);
    if (what->joins) {
        pending->seat = make_seat(carrier, what->name);
        if (!pending->seat) {
            ff_mem_free(pending);
            return NULL;
        }
        pending->what.member.serial = pending->seat->serial;
    }
    pending->news = pending->what;
    pending->news.name =
        (struct ff_slice){(char *)pending + size, BULLETIN_PREFIX_LEN + what->name.len};
    pending->news.kind = kind_of(what->listing.encoding);
    pending->news.joins = false;
    pending->request = (struct subscription_request){pending->what.name, what->is_filter};
    pending->s = s;
    pending->left = pending->cursors = cursors;
    ff_list_init(&pending->turns);
    return pending;
}

/* Makes the rings that are still to be made. */
static bool open_channels(const struct carrier *carrier, uint32_t first, uint32_t owners)
{
    for (uint32_t owner = first; owner < first + owners; owner++)
        if (owner != carrier->env.index && !channel_open(channel_to(carrier, owner)))
            return false;
    return true;
}

bool carrier_subscribe(struct carrier *carrier, struct subscription *s,
                       const struct engine_subscription *what, struct ticket ticket)
{
    static const struct engine_start no_memory = {.err = FF_ENOMEM};
    uint32_t first = carrier_first_owner(carrier, what->name, what->is_filter);
    uint32_t owners = carrier_cursor_count(carrier, what->is_filter);
    struct pending_subscribe *pending = NULL;

    s->cursor_count = (uint8_t)(owners & SUBSCRIPTION_CURSORS_MAX);
    if (!carrier_has_room(carrier, what->name, what->is_filter) ||
        (what->hears && !carrier_has_room_for_two(carrier, first)))
        return false;
    if (open_channels(carrier, first, owners))
        pending = make_pending(carrier, s, what, what->hears ? 2 : owners);
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
