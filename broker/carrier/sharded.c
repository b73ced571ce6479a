/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/carrier/sharded.h"

#include "broker/carrier/owner.h"
#include "broker/topic/rate.h"
#include "protocol/base/mem.h"

enum { INLINE_AT_MOST = 16 /* a payload over a 16th of the ring crosses as a block */ };

struct sharded {
    struct carrier carrier;
    struct exchange *exchange;
    struct mailbox *box;
    uint32_t index;
};

/* A cursor of a subscription that waits for its owner's answer. */
struct waiter {
    struct ff_list node; /* of its remote link */
    struct remote_link *remote;
    struct pending_subscribe *pending;
    struct subscription *s; /* NULL: it was unsubscribed */
};

/* A subscription that is asked for. */
struct pending_subscribe {
    struct ticket ticket;
    struct subscription *s; /* the first of its cursors; NULL: unsubscribed, or answered */
    struct ff_list turns;   /* answers that share its fate */
    uint32_t left;          /* answers awaited */
    bool is_answered;
    uint8_t name_len;
    char *name; /* behind the waiters */
    struct waiter waiters[];
};

/* An answer that waits until the owners have answered all that was asked before. */
struct turn {
    struct ff_list node; /* of the request whose fate it shares, until that is answered */
    struct ticket ticket;
    enum ff_err err;
    uint32_t left; /* owners that it waits for */
    uint32_t len;
    char frame[];
};

static struct sharded *sharded_of(struct carrier *carrier)
{
    return FF_CONTAINER(carrier, struct sharded, carrier);
}

static struct channel *channel_to(const struct sharded *sharded, uint32_t owner)
{
    return exchange_channel(sharded->exchange, sharded->index, owner);
}

uint32_t sharded_owner(const struct carrier *carrier, struct ff_slice name)
{
    uint64_t hash = ff_hash(&carrier->router->registry.key, name.at, name.len);

    /* By the upper bits: the map takes the lower ones. */
    return (uint32_t)(hash * carrier->owners >> 32);
}

/*
 * Links that nobody needs any more, but those with a mail under way. They come
 * before new requests: else who comes and goes could fill the memory with them.
 * False: there is no room.
 */
static bool request_unlinks(struct channel *channel)
{
    struct ff_list *node = channel->leaving.next;

    while (node != &channel->leaving) {
        struct remote_link *remote = FF_CONTAINER(node, struct remote_link, leaving);
        struct request *request;

        node = node->next;
        if (mail_is_in(&remote->need_lowered))
            continue;
        request = channel_reserve(channel, 0, 0);
        if (!request)
            return false;
        *request = (struct request){.kind = REQUEST_UNLINK, .remote = remote};
        ff_list_remove(&remote->leaving);
        channel_commit(channel, 0, 0);
    }
    return true;
}

/* Room for a new request. NULL: it must wait, for this owner. */
static struct request *reserve_request(struct channel *channel, uint32_t owner, size_t extra,
                                       size_t block)
{
    struct request *request =
        request_unlinks(channel) ? channel_reserve(channel, extra, block) : NULL;

    if (!request) {
        channel->is_refusing = true;
        channel->requester->carrier.full = owner;
    }
    return request;
}

static void leave_if_idle(struct sharded *sharded, struct remote_link *remote)
{
    if (!remote_is_idle(remote))
        return;
    remote_leave(remote);
    ff_list_append(&channel_to(sharded, remote->owner)->leaving, &remote->leaving);
}

/* Publishing. */

static bool write_publish(struct request *request, const struct publication *p,
                          struct ticket ticket, bool is_block)
{
    size_t len = p->payload.bytes.len;
    char *to;

    *request = (struct request){.kind = REQUEST_PUBLISH,
                                .payload_kind = (uint8_t)p->payload.kind,
                                .topic_len = (uint8_t)p->topic.len,
                                .is_block = is_block,
                                .has_id = ticket.has_id,
                                .payload_len = (uint32_t)len,
                                .place = ticket.session_place,
                                .tag = p->publisher,
                                .id = ticket.id};
    memcpy(request->bytes, p->topic.at, p->topic.len);
    to = request->bytes + p->topic.len;
    if (is_block)
        to = request->block = ff_mem_alloc(len);
    if (to && len)
        memcpy(to, p->payload.bytes.at, len);
    return to;
}

static bool sharded_publish(struct carrier *carrier, const struct publication *p,
                            struct ticket ticket)
{
    struct sharded *sharded = sharded_of(carrier);
    uint32_t owner = sharded_owner(carrier, p->topic);
    struct channel *channel = channel_to(sharded, owner);
    size_t len = p->payload.bytes.len;
    size_t block = len > sharded->exchange->requests_size / INLINE_AT_MOST ? len : 0;
    size_t extra = p->topic.len + (block ? 0 : len);
    struct carrier_receipt receipt = {.err = FF_ENOMEM, .count = 1};
    struct request *request;

    if (owner == sharded->index) {
        carrier_publish_own(carrier, p, ticket);
        return true;
    }
    if (channel_open(channel)) {
        request = reserve_request(channel, owner, extra, block);
        if (!request)
            return false;
        if (write_publish(request, p, ticket, block > 0)) {
            channel_commit(channel, extra, block);
            return true;
        }
    }
    carrier->events->published(carrier->arg, ticket, &receipt);
    return true;
}

/* Subscribing. */

static void detach_cursor(struct sharded *sharded, struct subscription *s)
{
    struct router *router = sharded->carrier.router;

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
            leave_if_idle(sharded, remote);
        break;
    }
    }
}

/* All cursors are tied to nothing from here on. */
static void detach(struct sharded *sharded, struct subscription *s, uint32_t cursors)
{
    for (uint32_t i = 0; i < cursors; i++)
        detach_cursor(sharded, &s[i]);
}

static void sharded_unsubscribe(struct carrier *carrier, struct subscription *s)
{
    detach(sharded_of(carrier), s, carrier_cursor_count(carrier, subscription_is_filter(s)));
}

/* Those that share its fate wait for nothing but their turn from here on. */
static void release_turns(struct pending_subscribe *pending, enum ff_err err)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&pending->turns)))
        FF_CONTAINER(node, struct turn, node)->err = err;
}

static void answer_pending(struct sharded *sharded, struct pending_subscribe *pending,
                           struct subscription *s, enum ff_err err)
{
    struct carrier *carrier = &sharded->carrier;

    pending->is_answered = true;
    release_turns(pending, err);
    carrier->events->subscribed(carrier->arg, pending->ticket, s,
                                (struct ff_slice){pending->name, pending->name_len}, err);
}

/* An owner has answered, or did not need to be asked. */
static void finish_cursor(struct sharded *sharded, struct pending_subscribe *pending,
                          enum ff_err err)
{
    struct carrier *carrier = &sharded->carrier;
    uint32_t cursors = carrier_cursor_count(carrier, pending->ticket.is_filter);
    struct subscription *s = pending->s;

    pending->left--;
    if (err && !pending->is_answered) { /* the first error is the answer: all or nothing */
        if (s)
            detach(sharded, s, cursors);
        pending->s = NULL;
        answer_pending(sharded, pending, s, err);
    }
    if (pending->left)
        return;
    if (!pending->is_answered)
        answer_pending(sharded, pending, s, FF_OK);
    /* The session may have ended by that, and the subscription with it: its memory stays. */
    for (uint32_t i = 0; pending->s && i < cursors; i++)
        if (s[i].state != SUBSCRIPTION_DETACHED)
            router_release(carrier->router, &s[i]);
    ff_mem_free(pending);
}

/* One cursor. FF_OK: tied, or, if it is asked, its waiter waits. There is room for the request. */
static enum ff_err subscribe_cursor(struct sharded *sharded, struct waiter *waiter,
                                    const struct remote_key *remote_key)
{
    struct channel *channel = channel_to(sharded, remote_key->owner);
    struct router *router = sharded->carrier.router;
    struct request *request;
    enum ff_err err;

    if (remote_key->owner == sharded->index)
        return router_subscribe(router, waiter->s, remote_key->name, remote_key->encoding);
    err = remote_get(router, remote_key, &waiter->remote);
    if (err)
        return err;
    remote_request(waiter->remote, waiter->s, waiter);
    ff_list_append(&waiter->remote->waiters, &waiter->node);
    request = channel_reserve(channel, 0, 0);
    FF_CHECK(request);
    *request = (struct request){.kind = REQUEST_LINK, .remote = waiter->remote, .waiter = waiter};
    channel_commit(channel, 0, 0);
    return FF_OK;
}

/* The owners of a name or filter: from `first`, carrier_cursor_count() of them. */
static uint32_t first_owner(const struct carrier *carrier, struct ff_slice name, bool is_filter)
{
    return is_filter ? 0 : sharded_owner(carrier, name);
}

/*
 * Is there room for one more request to each owner of a name or filter? Not of
 * this worker's own, and not where the rings are still to be made.
 */
static bool sharded_has_room(struct carrier *carrier, struct ff_slice name, bool is_filter)
{
    struct sharded *sharded = sharded_of(carrier);
    uint32_t first = first_owner(carrier, name, is_filter);

    for (uint32_t owner = first; owner < first + carrier_cursor_count(carrier, is_filter);
         owner++) {
        struct channel *channel = channel_to(sharded, owner);

        if (owner == sharded->index || !channel->requests || reserve_request(channel, owner, 0, 0))
            continue;
        if (is_filter) /* who needs all owners waits with those who do */
            carrier->full = carrier->owners;
        return false;
    }
    return true;
}

/* Makes the rings that are still to be made. */
static bool open_channels(const struct sharded *sharded, uint32_t first, uint32_t cursors)
{
    for (uint32_t owner = first; owner < first + cursors; owner++)
        if (owner != sharded->index && !channel_open(channel_to(sharded, owner)))
            return false;
    return true;
}

static void subscribe_all(struct sharded *sharded, struct pending_subscribe *pending,
                          uint32_t first, const struct remote_key *what)
{
    uint32_t cursors = pending->left;
    enum ff_err err = FF_OK;

    for (uint32_t i = 0; i < cursors && !err; i++) {
        struct remote_key remote_key = *what;
        struct subscription *s = &pending->s[i];

        remote_key.owner = first + i;
        remote_key.owner_box = channel_to(sharded, first + i)->owner_box;
        pending->waiters[i] = (struct waiter){.pending = pending, .s = s};
        err = subscribe_cursor(sharded, &pending->waiters[i], &remote_key);
        if (!err && s->state == SUBSCRIPTION_REQUESTED)
            continue;
        if (err)
            pending->left -= cursors - 1 - i; /* those behind it are not asked */
        else
            router_hold(s); /* its first message comes after the ACK */
        finish_cursor(sharded, pending, err);
    }
}

/* NULL: out of memory. */
static struct pending_subscribe *make_pending(const struct sharded *sharded, struct subscription *s,
                                              struct ff_slice name, struct ticket ticket)
{
    uint32_t cursors = carrier_cursor_count(&sharded->carrier, ticket.is_filter);
    size_t size = sizeof(struct pending_subscribe) + cursors * sizeof(struct waiter);
    struct pending_subscribe *pending = ff_mem_zalloc(size + name.len);

    if (!pending)
        return NULL;
    pending->ticket = ticket;
    pending->s = s;
    pending->left = cursors;
    pending->name = (char *)pending + size;
    pending->name_len = (uint8_t)name.len;
    memcpy(pending->name, name.at, name.len);
    ff_list_init(&pending->turns);
    return pending;
}

static bool sharded_subscribe(struct carrier *carrier, struct subscription *s, struct ff_slice name,
                              enum ff_encoding encoding, struct ticket ticket)
{
    struct sharded *sharded = sharded_of(carrier);
    struct remote_key what = {.name = name, .encoding = encoding, .worker_box = sharded->box};
    uint32_t first = first_owner(carrier, name, ticket.is_filter);
    struct pending_subscribe *pending = NULL;

    if (!sharded_has_room(carrier, name, ticket.is_filter))
        return false;
    if (open_channels(sharded, first, carrier_cursor_count(carrier, ticket.is_filter)))
        pending = make_pending(sharded, s, name, ticket);
    if (pending)
        subscribe_all(sharded, pending, first, &what);
    else
        carrier->events->subscribed(carrier->arg, ticket, s, name, FF_ENOMEM);
    return true;
}

/* The owner has given a place, or refused it. */
static void take_place(struct sharded *sharded, const struct answer *answer)
{
    struct remote_link *remote = answer->link.remote;
    struct waiter *waiter = answer->link.waiter;
    struct subscription *s = waiter->s;
    enum ff_err err = answer->err;

    ff_list_remove(&waiter->node);
    if (!err)
        remote_accept(remote, &answer->link.start);
    if (s && !err)
        err = remote_attach(remote, s, &answer->link.start);
    if (s && !err) {
        router_hold(s);
    } else if (s) { /* not asked any more, and not tied */
        rate_free(s);
        s->state = SUBSCRIPTION_DETACHED;
    }
    finish_cursor(sharded, waiter->pending, err);
    if (remote->state == REMOTE_NEW && ff_list_is_empty(&remote->waiters))
        remote_drop(remote);
    else
        leave_if_idle(sharded, remote);
}

/* Answers that wait for their turn. */

/* Of a subscription that is still asked for; NULL: it is tied to all its logs. */
static struct pending_subscribe *find_pending(struct subscription *s, uint32_t cursors)
{
    for (uint32_t i = 0; i < cursors; i++) {
        if (s[i].state == SUBSCRIPTION_REQUESTED) {
            struct waiter *waiter = s[i].waiter;

            return waiter->pending;
        }
    }
    return NULL;
}

/* NULL: out of memory. */
static struct turn *make_turn(const struct carrier_turn *what, struct ticket ticket,
                              uint32_t cursors)
{
    struct subscription *s = what->subscription;
    struct pending_subscribe *pending = s ? find_pending(s, cursors) : NULL;
    struct turn *turn = ff_mem_alloc(sizeof(*turn) + what->frame.len);

    if (!turn)
        return NULL;
    *turn = (struct turn){.ticket = ticket, .len = (uint32_t)what->frame.len};
    memcpy(turn->frame, what->frame.at, what->frame.len);
    if (pending)
        ff_list_append(&pending->turns, &turn->node);
    return turn;
}

/* Is there another worker to wait for? */
static bool is_remote(const struct sharded *sharded, uint32_t first, uint32_t cursors)
{
    for (uint32_t owner = first; owner < first + cursors; owner++)
        if (owner != sharded->index && channel_to(sharded, owner)->requests)
            return true;
    return false;
}

static void sharded_await_turn(struct carrier *carrier, const struct carrier_turn *what,
                               struct ticket ticket)
{
    struct sharded *sharded = sharded_of(carrier);
    uint32_t first = first_owner(carrier, what->name, what->is_filter);
    uint32_t cursors = carrier_cursor_count(carrier, what->is_filter);
    struct turn *turn =
        is_remote(sharded, first, cursors) ? make_turn(what, ticket, cursors) : NULL;

    if (!turn) { /* where memory is short, out of order is better than not at all */
        carrier->events->turn_came(carrier->arg, ticket, what->frame, FF_OK);
        return;
    }
    for (uint32_t owner = first; owner < first + cursors; owner++) {
        struct channel *channel = channel_to(sharded, owner);
        struct request *request;

        if (owner == sharded->index || !channel->requests)
            continue;
        request = channel_reserve(channel, 0, 0);
        FF_CHECK(request); /* carrier_has_room() */
        *request = (struct request){.kind = REQUEST_TURN, .turn = turn};
        channel_commit(channel, 0, 0);
        turn->left++;
    }
}

/* An owner has answered all that was asked before. */
static void pass_owner(struct sharded *sharded, struct turn *turn)
{
    struct carrier *carrier = &sharded->carrier;

    if (--turn->left > 0)
        return;
    FF_CHECK(!ff_list_is_in(&turn->node));
    carrier->events->turn_came(carrier->arg, turn->ticket,
                               (struct ff_slice){turn->frame, turn->len}, turn->err);
    ff_mem_free(turn);
}

static void take_answer(struct sharded *sharded, const struct answer *answer)
{
    struct carrier *carrier = &sharded->carrier;
    struct carrier_receipt receipt;

    switch (answer->kind) {
    case REQUEST_PUBLISH:
        receipt =
            (struct carrier_receipt){answer->err, answer->publish.receipt, answer->publish.count};
        carrier->events->published(carrier->arg, answer->publish.ticket, &receipt);
        break;
    case REQUEST_LINK:
        take_place(sharded, answer);
        break;
    case REQUEST_UNLINK:
        remote_drop(answer->link.remote);
        break;
    case REQUEST_TURN:
        pass_owner(sharded, answer->turn);
        break;
    }
}

/* In the requester's turn. */
static void open_answered(struct mail *mail)
{
    struct channel *channel = FF_CONTAINER(mail, struct channel, answered);
    struct sharded *sharded = channel->requester;
    const struct answer *answer;
    uint32_t size;

    while ((answer = ring_peek(channel->answers, &size))) {
        struct answer copy = *answer;

        ring_release(channel->answers);
        take_answer(sharded, &copy);
    }
    if (atomic_exchange(&channel->owner_waits, false))
        channel_notify(channel);
    if (channel->is_refusing) {
        const struct carrier *carrier = &sharded->carrier;

        channel->is_refusing = false;
        carrier->events->room(carrier->arg, (uint32_t)(channel - channel_to(sharded, 0)));
        carrier->events->room(carrier->arg, carrier->owners);
    }
}

/* Life. */

static void sharded_notify(struct carrier *carrier)
{
    struct sharded *sharded = sharded_of(carrier);

    for (uint32_t i = 0; i < carrier->owners; i++) {
        (void)request_unlinks(channel_to(sharded, i));
        if (channel_to(sharded, i)->unnotified_bytes)
            channel_notify(channel_to(sharded, i));
    }
}

/* Each ring by the worker that writes into it. */
static void sharded_release_idle(struct carrier *carrier)
{
    struct sharded *sharded = sharded_of(carrier);

    for (uint32_t i = 0; i < carrier->owners; i++) {
        struct channel *from = exchange_channel(sharded->exchange, i, sharded->index);

        if (channel_to(sharded, i)->requests)
            ring_release_idle(channel_to(sharded, i)->requests);
        if (from->was_used)
            ring_release_idle(from->answers);
    }
}

static void sharded_free(struct carrier *carrier)
{
    struct sharded *sharded = sharded_of(carrier);

    for (uint32_t i = 0; i < carrier->owners; i++)
        FF_CHECK(ff_list_is_empty(&channel_to(sharded, i)->leaving));
    ff_mem_free(sharded);
}

struct carrier *sharded_new(struct exchange *exchange, uint32_t index, struct mailbox *box,
                            struct router *router, const struct carrier_events *events, void *arg)
{
    static const struct carrier_ops ops = {
        .publish = sharded_publish,
        .subscribe = sharded_subscribe,
        .unsubscribe = sharded_unsubscribe,
        .has_room = sharded_has_room,
        .await_turn = sharded_await_turn,
        .notify = sharded_notify,
        .release_idle = sharded_release_idle,
        .free = sharded_free,
    };
    struct sharded *sharded = ff_mem_zalloc(sizeof(*sharded));

    if (!sharded)
        return NULL;
    sharded->carrier = (struct carrier){
        .ops = &ops, .events = events, .arg = arg, .router = router, .owners = exchange->count};
    sharded->exchange = exchange;
    sharded->box = box;
    sharded->index = index;
    for (uint32_t i = 0; i < exchange->count; i++) {
        struct channel *to = exchange_channel(exchange, index, i);
        struct channel *from = exchange_channel(exchange, i, index);

        to->requester = sharded;
        from->owner_router = router;
        to->requester_box = from->owner_box = box;
        mail_init(&to->answered, open_answered);
        mail_init(&from->requested, owner_open_requests);
    }
    return &sharded->carrier;
}
