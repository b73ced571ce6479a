/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/crossing.h"

#include "broker/engine/owner.h"
#include "broker/topic/rate.h"
#include "protocol/base/mem.h"

enum { INLINE_AT_MOST = 16 /* a payload over a 16th of the ring crosses as a block */ };

struct crossing {
    struct engine engine;
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

static struct crossing *crossing_of(struct engine *engine)
{
    return FF_CONTAINER(engine, struct crossing, engine);
}

static struct channel *channel_to(const struct crossing *crossing, uint32_t owner)
{
    return exchange_channel(crossing->exchange, crossing->index, owner);
}

uint32_t crossing_owner(const struct engine *engine, struct ff_slice name)
{
    uint64_t hash = ff_hash(&engine->router->registry.key, name.at, name.len);

    /* By the upper bits: the map takes the lower ones. */
    return (uint32_t)(hash * engine->owners >> 32);
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
        channel->requester->engine.full = owner;
    }
    return request;
}

static void leave_if_idle(struct crossing *crossing, struct remote_link *remote)
{
    if (!remote_is_idle(remote))
        return;
    remote_leave(remote);
    ff_list_append(&channel_to(crossing, remote->owner)->leaving, &remote->leaving);
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
                                .tag = p->tag,
                                .id = ticket.id};
    memcpy(request->bytes, p->topic.at, p->topic.len);
    to = request->bytes + p->topic.len;
    if (is_block)
        to = request->block = ff_mem_alloc(len);
    if (to && len)
        memcpy(to, p->payload.bytes.at, len);
    return to;
}

static bool crossing_publish(struct engine *engine, const struct publication *p,
                             struct ticket ticket)
{
    struct crossing *crossing = crossing_of(engine);
    uint32_t owner = crossing_owner(engine, p->topic);
    struct channel *channel = channel_to(crossing, owner);
    size_t len = p->payload.bytes.len;
    size_t block = len > crossing->exchange->requests_size / INLINE_AT_MOST ? len : 0;
    size_t extra = p->topic.len + (block ? 0 : len);
    struct engine_receipt receipt = {.err = FF_ENOMEM, .count = 1};
    struct request *request;

    if (owner == crossing->index) {
        engine_publish_own(engine, p, ticket);
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
    engine->events->published(engine->arg, ticket, &receipt);
    return true;
}

/* Subscribing. */

/* All cursors are tied to nothing from here on. */
static void detach(struct crossing *crossing, struct subscription *s, uint32_t cursors)
{
    for (uint32_t i = 0; i < cursors; i++) {
        struct link *link = s[i].link;

        if (link && subscription_is_asked(&s[i])) {
            struct waiter *waiter = s[i].waiter;

            waiter->s = waiter->pending->s = NULL; /* it is answered all the same */
            rate_free(&s[i]);
            s[i].link = NULL;
        } else if (link) {
            bool is_remote = !subscription_is_idle(&s[i]) && link->is_remote;
            struct remote_link *remote = is_remote ? link_remote(link) : NULL;

            router_unsubscribe(crossing->engine.router, &s[i]); /* the end of a link of our own */
            if (remote)
                leave_if_idle(crossing, remote);
        }
    }
}

static void crossing_unsubscribe(struct engine *engine, struct subscription *s)
{
    detach(crossing_of(engine), s, engine_cursor_count(engine, subscription_is_filter(s)));
}

/* Those that share its fate wait for nothing but their turn from here on. */
static void release_turns(struct pending_subscribe *pending, enum ff_err err)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&pending->turns)))
        FF_CONTAINER(node, struct turn, node)->err = err;
}

static void answer_pending(struct crossing *crossing, struct pending_subscribe *pending,
                           struct subscription *s, enum ff_err err)
{
    struct engine *engine = &crossing->engine;

    pending->is_answered = true;
    release_turns(pending, err);
    engine->events->subscribed(engine->arg, pending->ticket, s,
                               (struct ff_slice){pending->name, pending->name_len}, err);
}

/* An owner has answered, or did not need to be asked. */
static void finish_cursor(struct crossing *crossing, struct pending_subscribe *pending,
                          enum ff_err err)
{
    struct engine *engine = &crossing->engine;
    uint32_t cursors = engine_cursor_count(engine, pending->ticket.is_filter);
    struct subscription *s = pending->s;

    pending->left--;
    if (err && !pending->is_answered) { /* the first error is the answer: all or nothing */
        if (s)
            detach(crossing, s, cursors);
        pending->s = NULL;
        answer_pending(crossing, pending, s, err);
    }
    if (pending->left)
        return;
    if (!pending->is_answered)
        answer_pending(crossing, pending, s, FF_OK);
    /* The session may have ended by that, and the subscription with it: its memory stays. */
    for (uint32_t i = 0; pending->s && i < cursors; i++)
        if (s[i].link)
            router_release(engine->router, &s[i]);
    ff_mem_free(pending);
}

/* One cursor. FF_OK: tied, or, if it is asked, its waiter waits. There is room for the request. */
static enum ff_err subscribe_cursor(struct crossing *crossing, struct waiter *waiter,
                                    const struct remote_key *remote_key)
{
    struct channel *channel = channel_to(crossing, remote_key->owner);
    struct router *router = crossing->engine.router;
    struct request *request;
    enum ff_err err;

    if (remote_key->owner == crossing->index)
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

/* The owners of a name or filter: from `first`, engine_cursor_count() of them. */
static uint32_t first_owner(const struct engine *engine, struct ff_slice name, bool is_filter)
{
    return is_filter ? 0 : crossing_owner(engine, name);
}

/*
 * Is there room for one more request to each owner of a name or filter? Not of
 * this worker's own, and not where the rings are still to be made.
 */
static bool crossing_has_room(struct engine *engine, struct ff_slice name, bool is_filter)
{
    struct crossing *crossing = crossing_of(engine);
    uint32_t first = first_owner(engine, name, is_filter);

    for (uint32_t owner = first; owner < first + engine_cursor_count(engine, is_filter); owner++) {
        struct channel *channel = channel_to(crossing, owner);

        if (owner == crossing->index || !channel->requests || reserve_request(channel, owner, 0, 0))
            continue;
        if (is_filter) /* who needs all owners waits with those who do */
            engine->full = engine->owners;
        return false;
    }
    return true;
}

/* Makes the rings that are still to be made. */
static bool open_channels(const struct crossing *crossing, uint32_t first, uint32_t cursors)
{
    for (uint32_t owner = first; owner < first + cursors; owner++)
        if (owner != crossing->index && !channel_open(channel_to(crossing, owner)))
            return false;
    return true;
}

static void subscribe_all(struct crossing *crossing, struct pending_subscribe *pending,
                          uint32_t first, const struct remote_key *what)
{
    uint32_t cursors = pending->left;
    enum ff_err err = FF_OK;

    for (uint32_t i = 0; i < cursors && !err; i++) {
        struct remote_key remote_key = *what;
        struct subscription *s = &pending->s[i];

        remote_key.owner = first + i;
        remote_key.owner_box = channel_to(crossing, first + i)->owner_box;
        pending->waiters[i] = (struct waiter){.pending = pending, .s = s};
        err = subscribe_cursor(crossing, &pending->waiters[i], &remote_key);
        if (!err && subscription_is_asked(s))
            continue;
        if (err)
            pending->left -= cursors - 1 - i; /* those behind it are not asked */
        else
            router_hold(s); /* its first message comes after the ACK */
        finish_cursor(crossing, pending, err);
    }
}

/* NULL: out of memory. */
static struct pending_subscribe *make_pending(const struct crossing *crossing,
                                              struct subscription *s, struct ff_slice name,
                                              struct ticket ticket)
{
    uint32_t cursors = engine_cursor_count(&crossing->engine, ticket.is_filter);
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

static bool crossing_subscribe(struct engine *engine, struct subscription *s, struct ff_slice name,
                               enum ff_encoding encoding, struct ticket ticket)
{
    struct crossing *crossing = crossing_of(engine);
    struct remote_key what = {.name = name, .encoding = encoding, .worker_box = crossing->box};
    uint32_t first = first_owner(engine, name, ticket.is_filter);
    struct pending_subscribe *pending = NULL;

    if (!crossing_has_room(engine, name, ticket.is_filter))
        return false;
    if (open_channels(crossing, first, engine_cursor_count(engine, ticket.is_filter)))
        pending = make_pending(crossing, s, name, ticket);
    if (pending)
        subscribe_all(crossing, pending, first, &what);
    else
        engine->events->subscribed(engine->arg, ticket, s, name, FF_ENOMEM);
    return true;
}

/* The owner has given a place, or refused it. */
static void take_place(struct crossing *crossing, const struct answer *answer)
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
        s->link = NULL;
    }
    finish_cursor(crossing, waiter->pending, err);
    if (remote->state == REMOTE_NEW && ff_list_is_empty(&remote->waiters))
        remote_drop(remote);
    else
        leave_if_idle(crossing, remote);
}

/* Answers that wait for their turn. */

/* Of a subscription that is still asked for; NULL: it is tied to all its logs. */
static struct pending_subscribe *find_pending(struct subscription *s, uint32_t cursors)
{
    for (uint32_t i = 0; i < cursors; i++) {
        if (subscription_is_asked(&s[i])) {
            struct waiter *waiter = s[i].waiter;

            return waiter->pending;
        }
    }
    return NULL;
}

/* NULL: out of memory. */
static struct turn *make_turn(const struct engine_turn *what, struct ticket ticket,
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
static bool is_remote(const struct crossing *crossing, uint32_t first, uint32_t cursors)
{
    for (uint32_t owner = first; owner < first + cursors; owner++)
        if (owner != crossing->index && channel_to(crossing, owner)->requests)
            return true;
    return false;
}

static void crossing_await_turn(struct engine *engine, const struct engine_turn *what,
                                struct ticket ticket)
{
    struct crossing *crossing = crossing_of(engine);
    uint32_t first = first_owner(engine, what->name, what->is_filter);
    uint32_t cursors = engine_cursor_count(engine, what->is_filter);
    struct turn *turn =
        is_remote(crossing, first, cursors) ? make_turn(what, ticket, cursors) : NULL;

    if (!turn) { /* where memory is short, out of order is better than not at all */
        engine->events->turn_came(engine->arg, ticket, what->frame, FF_OK);
        return;
    }
    for (uint32_t owner = first; owner < first + cursors; owner++) {
        struct channel *channel = channel_to(crossing, owner);
        struct request *request;

        if (owner == crossing->index || !channel->requests)
            continue;
        request = channel_reserve(channel, 0, 0);
        FF_CHECK(request); /* engine_has_room() */
        *request = (struct request){.kind = REQUEST_TURN, .turn = turn};
        channel_commit(channel, 0, 0);
        turn->left++;
    }
}

/* An owner has answered all that was asked before. */
static void pass_owner(struct crossing *crossing, struct turn *turn)
{
    struct engine *engine = &crossing->engine;

    if (--turn->left > 0)
        return;
    FF_CHECK(!ff_list_is_in(&turn->node));
    engine->events->turn_came(engine->arg, turn->ticket, (struct ff_slice){turn->frame, turn->len},
                              turn->err);
    ff_mem_free(turn);
}

static void take_answer(struct crossing *crossing, const struct answer *answer)
{
    struct engine *engine = &crossing->engine;
    struct engine_receipt receipt;

    switch (answer->kind) {
    case REQUEST_PUBLISH:
        receipt =
            (struct engine_receipt){answer->err, answer->publish.receipt, answer->publish.count};
        engine->events->published(engine->arg, answer->publish.ticket, &receipt);
        break;
    case REQUEST_LINK:
        take_place(crossing, answer);
        break;
    case REQUEST_UNLINK:
        remote_drop(answer->link.remote);
        break;
    case REQUEST_TURN:
        pass_owner(crossing, answer->turn);
        break;
    }
}

/* In the requester's turn. */
static void open_answered(struct mail *mail)
{
    struct channel *channel = FF_CONTAINER(mail, struct channel, answered);
    struct crossing *crossing = channel->requester;
    const struct answer *answer;
    uint32_t size;

    while ((answer = ring_peek(channel->answers, &size))) {
        struct answer copy = *answer;

        ring_release(channel->answers);
        take_answer(crossing, &copy);
    }
    if (atomic_exchange(&channel->owner_waits, false))
        channel_notify(channel);
    if (channel->is_refusing) {
        const struct engine *engine = &crossing->engine;

        channel->is_refusing = false;
        engine->events->room(engine->arg, (uint32_t)(channel - channel_to(crossing, 0)));
        engine->events->room(engine->arg, engine->owners);
    }
}

/* Life. */

static void crossing_notify(struct engine *engine)
{
    struct crossing *crossing = crossing_of(engine);

    for (uint32_t i = 0; i < engine->owners; i++) {
        (void)request_unlinks(channel_to(crossing, i));
        if (channel_to(crossing, i)->unnotified_bytes)
            channel_notify(channel_to(crossing, i));
    }
}

/* Each ring by the worker that writes into it. */
static void crossing_release_idle(struct engine *engine)
{
    struct crossing *crossing = crossing_of(engine);

    for (uint32_t i = 0; i < engine->owners; i++) {
        struct channel *from = exchange_channel(crossing->exchange, i, crossing->index);

        if (channel_to(crossing, i)->requests)
            ring_release_idle(channel_to(crossing, i)->requests);
        if (from->was_used)
            ring_release_idle(from->answers);
    }
}

static void crossing_free(struct engine *engine)
{
    struct crossing *crossing = crossing_of(engine);

    for (uint32_t i = 0; i < engine->owners; i++)
        FF_CHECK(ff_list_is_empty(&channel_to(crossing, i)->leaving));
    ff_mem_free(crossing);
}

struct engine *crossing_new(struct exchange *exchange, uint32_t index, struct mailbox *box,
                            struct router *router, const struct engine_events *events, void *arg)
{
    static const struct engine_ops ops = {
        .publish = crossing_publish,
        .subscribe = crossing_subscribe,
        .unsubscribe = crossing_unsubscribe,
        .has_room = crossing_has_room,
        .await_turn = crossing_await_turn,
        .notify = crossing_notify,
        .release_idle = crossing_release_idle,
        .free = crossing_free,
    };
    struct crossing *crossing = ff_mem_zalloc(sizeof(*crossing));

    if (!crossing)
        return NULL;
    crossing->engine = (struct engine){
        .ops = &ops, .events = events, .arg = arg, .router = router, .owners = exchange->count};
    crossing->exchange = exchange;
    crossing->box = box;
    crossing->index = index;
    for (uint32_t i = 0; i < exchange->count; i++) {
        struct channel *to = exchange_channel(exchange, index, i);
        struct channel *from = exchange_channel(exchange, i, index);

        to->requester = crossing;
        from->owner_router = router;
        to->requester_box = from->owner_box = box;
        mail_init(&to->answered, open_answered);
        mail_init(&from->requested, owner_open_requests);
    }
    return &crossing->engine;
}
