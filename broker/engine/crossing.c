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
    struct ff_list node; /* of its far link */
    struct far_link *far;
    struct request *request;
    struct subscription *s; /* NULL: it was unsubscribed */
};

/* A subscription that is asked for. */
struct request {
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
static bool ask_unlinks(struct channel *channel)
{
    struct ff_list *node = channel->leaving.next;

    while (node != &channel->leaving) {
        struct far_link *far = FF_CONTAINER(node, struct far_link, leaving);
        struct ask *ask;

        node = node->next;
        if (mail_is_in(&far->risen))
            continue;
        ask = channel_reserve(channel, 0, 0);
        if (!ask)
            return false;
        *ask = (struct ask){.kind = ASK_UNLINK, .far = far};
        ff_list_remove(&far->leaving);
        channel_commit(channel, 0, 0);
    }
    return true;
}

/* Room for a new request. NULL: it must wait, for this owner. */
static struct ask *reserve_request(struct channel *channel, uint32_t owner, size_t extra,
                                   size_t block)
{
    struct ask *ask = ask_unlinks(channel) ? channel_reserve(channel, extra, block) : NULL;

    if (!ask) {
        channel->is_refusing = true;
        channel->asker->engine.full = owner;
    }
    return ask;
}

static void leave_if_idle(struct crossing *crossing, struct far_link *far)
{
    if (!far_is_idle(far))
        return;
    far_leave(far);
    ff_list_append(&channel_to(crossing, far->owner)->leaving, &far->leaving);
}

/* Publishing. */

static bool write_publish(struct ask *ask, const struct publication *p, struct ticket ticket,
                          bool is_block)
{
    size_t len = p->payload.bytes.len;
    char *to;

    *ask = (struct ask){.kind = ASK_PUBLISH,
                        .payload_kind = (uint8_t)p->payload.kind,
                        .topic_len = (uint8_t)p->topic.len,
                        .is_block = is_block,
                        .has_id = ticket.has_id,
                        .payload_len = (uint32_t)len,
                        .place = ticket.session_place,
                        .tag = p->tag,
                        .id = ticket.id};
    memcpy(ask->bytes, p->topic.at, p->topic.len);
    to = ask->bytes + p->topic.len;
    if (is_block)
        to = ask->block = ff_mem_alloc(len);
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
    size_t block = len > crossing->exchange->asks_size / INLINE_AT_MOST ? len : 0;
    size_t extra = p->topic.len + (block ? 0 : len);
    struct engine_receipt receipt = {.err = FF_ENOMEM, .count = 1};
    struct ask *ask;

    if (owner == crossing->index) {
        engine_publish_own(engine, p, ticket);
        return true;
    }
    if (channel_open(channel)) {
        ask = reserve_request(channel, owner, extra, block);
        if (!ask)
            return false;
        if (write_publish(ask, p, ticket, block > 0)) {
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

            waiter->s = waiter->request->s = NULL; /* it is answered all the same */
            rate_free(&s[i]);
            s[i].link = NULL;
        } else if (link) {
            bool is_far = !subscription_is_idle(&s[i]) && link->is_far;
            struct far_link *far = is_far ? link_far(link) : NULL;

            router_unsubscribe(crossing->engine.router, &s[i]); /* the end of a link of our own */
            if (far)
                leave_if_idle(crossing, far);
        }
    }
}

static void crossing_unsubscribe(struct engine *engine, struct subscription *s)
{
    detach(crossing_of(engine), s, engine_cursor_count(engine, subscription_is_filter(s)));
}

/* Those that share its fate wait for nothing but their turn from here on. */
static void release_turns(struct request *request, enum ff_err err)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&request->turns)))
        FF_CONTAINER(node, struct turn, node)->err = err;
}

static void answer_request(struct crossing *crossing, struct request *request,
                           struct subscription *s, enum ff_err err)
{
    struct engine *engine = &crossing->engine;

    request->is_answered = true;
    release_turns(request, err);
    engine->events->subscribed(engine->arg, request->ticket, s,
                               (struct ff_slice){request->name, request->name_len}, err);
}

/* An owner has answered, or did not need to be asked. */
static void finish_cursor(struct crossing *crossing, struct request *request, enum ff_err err)
{
    struct engine *engine = &crossing->engine;
    uint32_t cursors = engine_cursor_count(engine, request->ticket.is_filter);
    struct subscription *s = request->s;

    request->left--;
    if (err && !request->is_answered) { /* the first error is the answer: all or nothing */
        if (s)
            detach(crossing, s, cursors);
        request->s = NULL;
        answer_request(crossing, request, s, err);
    }
    if (request->left)
        return;
    if (!request->is_answered)
        answer_request(crossing, request, s, FF_OK);
    /* The session may have ended by that, and the subscription with it: its memory stays. */
    for (uint32_t i = 0; request->s && i < cursors; i++)
        if (s[i].link)
            router_release(engine->router, &s[i]);
    ff_mem_free(request);
}

/* One cursor. FF_OK: tied, or, if it is asked, its waiter waits. There is room for the request. */
static enum ff_err subscribe_cursor(struct crossing *crossing, struct waiter *waiter,
                                    const struct far_request *far_request)
{
    struct channel *channel = channel_to(crossing, far_request->owner);
    struct router *router = crossing->engine.router;
    struct ask *ask;
    enum ff_err err;

    if (far_request->owner == crossing->index)
        return router_subscribe(router, waiter->s, far_request->name, far_request->encoding);
    err = far_get(router, far_request, &waiter->far);
    if (err)
        return err;
    far_ask(waiter->far, waiter->s, waiter);
    ff_list_append(&waiter->far->waiters, &waiter->node);
    ask = channel_reserve(channel, 0, 0);
    FF_CHECK(ask);
    *ask = (struct ask){.kind = ASK_LINK, .far = waiter->far, .waiter = waiter};
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

        if (owner == crossing->index || !channel->asks || reserve_request(channel, owner, 0, 0))
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

static void subscribe_all(struct crossing *crossing, struct request *request, uint32_t first,
                          const struct far_request *what)
{
    uint32_t cursors = request->left;
    enum ff_err err = FF_OK;

    for (uint32_t i = 0; i < cursors && !err; i++) {
        struct far_request far_request = *what;
        struct subscription *s = &request->s[i];

        far_request.owner = first + i;
        far_request.owner_box = channel_to(crossing, first + i)->owner_box;
        request->waiters[i] = (struct waiter){.request = request, .s = s};
        err = subscribe_cursor(crossing, &request->waiters[i], &far_request);
        if (!err && subscription_is_asked(s))
            continue;
        if (err)
            request->left -= cursors - 1 - i; /* those behind it are not asked */
        else
            router_hold(s); /* its first message comes after the ACK */
        finish_cursor(crossing, request, err);
    }
}

/* NULL: out of memory. */
static struct request *make_request(const struct crossing *crossing, struct subscription *s,
                                    struct ff_slice name, struct ticket ticket)
{
    uint32_t cursors = engine_cursor_count(&crossing->engine, ticket.is_filter);
    size_t size = sizeof(struct request) + cursors * sizeof(struct waiter);
    struct request *request = ff_mem_zalloc(size + name.len);

    if (!request)
        return NULL;
    request->ticket = ticket;
    request->s = s;
    request->left = cursors;
    request->name = (char *)request + size;
    request->name_len = (uint8_t)name.len;
    memcpy(request->name, name.at, name.len);
    ff_list_init(&request->turns);
    return request;
}

static bool crossing_subscribe(struct engine *engine, struct subscription *s, struct ff_slice name,
                               enum ff_encoding encoding, struct ticket ticket)
{
    struct crossing *crossing = crossing_of(engine);
    struct far_request what = {.name = name, .encoding = encoding, .worker_box = crossing->box};
    uint32_t first = first_owner(engine, name, ticket.is_filter);
    struct request *request = NULL;

    if (!crossing_has_room(engine, name, ticket.is_filter))
        return false;
    if (open_channels(crossing, first, engine_cursor_count(engine, ticket.is_filter)))
        request = make_request(crossing, s, name, ticket);
    if (request)
        subscribe_all(crossing, request, first, &what);
    else
        engine->events->subscribed(engine->arg, ticket, s, name, FF_ENOMEM);
    return true;
}

/* The owner has given a place, or refused it. */
static void take_place(struct crossing *crossing, const struct answer *answer)
{
    struct far_link *far = answer->link.far;
    struct waiter *waiter = answer->link.waiter;
    struct subscription *s = waiter->s;
    enum ff_err err = answer->err;

    ff_list_remove(&waiter->node);
    if (!err)
        far_take(far, &answer->link.place);
    if (s && !err)
        err = far_tie(far, s, &answer->link.place);
    if (s && !err) {
        router_hold(s);
    } else if (s) { /* not asked any more, and not tied */
        rate_free(s);
        s->link = NULL;
    }
    finish_cursor(crossing, waiter->request, err);
    if (far->state == FAR_NEW && ff_list_is_empty(&far->waiters))
        far_drop(far);
    else
        leave_if_idle(crossing, far);
}

/* Answers that wait for their turn. */

/* Of a subscription that is still asked for; NULL: it is tied to all its logs. */
static struct request *find_request(struct subscription *s, uint32_t cursors)
{
    for (uint32_t i = 0; i < cursors; i++) {
        if (subscription_is_asked(&s[i])) {
            struct waiter *waiter = s[i].waiter;

            return waiter->request;
        }
    }
    return NULL;
}

/* NULL: out of memory. */
static struct turn *make_turn(const struct engine_turn *what, struct ticket ticket,
                              uint32_t cursors)
{
    struct subscription *s = what->subscription;
    struct request *request = s ? find_request(s, cursors) : NULL;
    struct turn *turn = ff_mem_alloc(sizeof(*turn) + what->frame.len);

    if (!turn)
        return NULL;
    *turn = (struct turn){.ticket = ticket, .len = (uint32_t)what->frame.len};
    memcpy(turn->frame, what->frame.at, what->frame.len);
    if (request)
        ff_list_append(&request->turns, &turn->node);
    return turn;
}

/* Is there another worker to wait for? */
static bool is_far(const struct crossing *crossing, uint32_t first, uint32_t cursors)
{
    for (uint32_t owner = first; owner < first + cursors; owner++)
        if (owner != crossing->index && channel_to(crossing, owner)->asks)
            return true;
    return false;
}

static void crossing_await_turn(struct engine *engine, const struct engine_turn *what,
                                struct ticket ticket)
{
    struct crossing *crossing = crossing_of(engine);
    uint32_t first = first_owner(engine, what->name, what->is_filter);
    uint32_t cursors = engine_cursor_count(engine, what->is_filter);
    struct turn *turn = is_far(crossing, first, cursors) ? make_turn(what, ticket, cursors) : NULL;

    if (!turn) { /* where memory is short, out of order is better than not at all */
        engine->events->turn_came(engine->arg, ticket, what->frame, FF_OK);
        return;
    }
    for (uint32_t owner = first; owner < first + cursors; owner++) {
        struct channel *channel = channel_to(crossing, owner);
        struct ask *ask;

        if (owner == crossing->index || !channel->asks)
            continue;
        ask = channel_reserve(channel, 0, 0);
        FF_CHECK(ask); /* engine_has_room() */
        *ask = (struct ask){.kind = ASK_TURN, .turn = turn};
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
    case ASK_PUBLISH:
        receipt =
            (struct engine_receipt){answer->err, answer->publish.receipt, answer->publish.count};
        engine->events->published(engine->arg, answer->publish.ticket, &receipt);
        break;
    case ASK_LINK:
        take_place(crossing, answer);
        break;
    case ASK_UNLINK:
        far_drop(answer->link.far);
        break;
    case ASK_TURN:
        pass_owner(crossing, answer->turn);
        break;
    }
}

/* In the asker's turn. */
static void open_answered(struct mail *mail)
{
    struct channel *channel = FF_CONTAINER(mail, struct channel, answered);
    struct crossing *crossing = channel->asker;
    const struct answer *answer;
    uint32_t size;

    while ((answer = ring_peek(channel->answers, &size))) {
        struct answer copy = *answer;

        ring_release(channel->answers);
        take_answer(crossing, &copy);
    }
    if (atomic_exchange(&channel->is_starved, false))
        channel_tell(channel);
    if (channel->is_refusing) {
        const struct engine *engine = &crossing->engine;

        channel->is_refusing = false;
        engine->events->room(engine->arg, (uint32_t)(channel - channel_to(crossing, 0)));
        engine->events->room(engine->arg, engine->owners);
    }
}

/* Life. */

static void crossing_tell(struct engine *engine)
{
    struct crossing *crossing = crossing_of(engine);

    for (uint32_t i = 0; i < engine->owners; i++) {
        (void)ask_unlinks(channel_to(crossing, i));
        if (channel_to(crossing, i)->untold)
            channel_tell(channel_to(crossing, i));
    }
}

/* Each ring by the worker that writes into it. */
static void crossing_release_idle(struct engine *engine)
{
    struct crossing *crossing = crossing_of(engine);

    for (uint32_t i = 0; i < engine->owners; i++) {
        struct channel *from = exchange_channel(crossing->exchange, i, crossing->index);

        if (channel_to(crossing, i)->asks)
            ring_release_idle(channel_to(crossing, i)->asks);
        if (from->was_asked)
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
        .tell = crossing_tell,
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

        to->asker = crossing;
        from->owner_router = router;
        to->asker_box = from->owner_box = box;
        mail_init(&to->answered, open_answered);
        mail_init(&from->asked, owner_open_asked);
    }
    return &crossing->engine;
}
