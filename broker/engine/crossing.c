/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/crossing.h"

#include "broker/topic/rate.h"
#include "protocol/base/mem.h"

enum {
    ASKS_A_TURN = 4096,  /* of one worker: then the others, and the sockets */
    INLINE_AT_MOST = 16, /* a payload over a 16th of the ring crosses as a block */
};

struct crossing {
    struct engine engine;
    struct exchange *exchange;
    struct mailbox *box;
    uint32_t index;
    bool is_refusing; /* something was not taken */
};

/* A part of a subscription that waits for its owner's answer. */
struct waiter {
    struct ff_list node; /* of its far link */
    struct far_link *far;
    struct request *request;
    struct subscription *s; /* NULL: it was unsubscribed */
};

struct request {
    struct ticket ticket;
    struct subscription *s; /* the first of its parts; NULL: unsubscribed, or answered */
    uint32_t left;          /* answers awaited */
    bool is_answered;
    struct waiter waiters[];
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

/* Room for a new request. NULL: it must wait. */
static struct ask *reserve_request(struct channel *channel, size_t extra, size_t block)
{
    struct ask *ask = ask_unlinks(channel) ? channel_reserve(channel, extra, block) : NULL;

    if (!ask)
        channel->asker->is_refusing = true;
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
    struct engine_receipt receipt = {.err = FF_ENOMEM};
    struct ask *ask;

    if (owner == crossing->index) {
        engine_publish_own(engine, p, ticket);
        return true;
    }
    if (channel_open(channel)) {
        ask = reserve_request(channel, extra, block);
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

/* The owner's part. True if there is an answer. */
static bool take_publish(struct channel *channel, const struct ask *ask, struct answer *answer)
{
    struct ff_slice topic = {ask->bytes, ask->topic_len};
    struct publication p = {
        .topic = topic,
        .payload = {(enum ff_payload_kind)ask->payload_kind,
                    {ask->is_block ? ask->block : ask->bytes + ask->topic_len, ask->payload_len}},
        .tag = ask->tag};

    answer->err = router_publish(channel->owner->engine.router, &p, &answer->publish.receipt);
    answer->publish.ticket = (struct ticket){
        .id = ask->id, .session_tag = ask->tag, .session_place = ask->place, .has_id = ask->has_id};
    if (ask->is_block) {
        ff_mem_free(ask->block);
        channel_release_block(channel, ask->payload_len);
    }
    return ask->has_id || answer->err;
}

static bool take_ask(struct channel *channel, const struct ask *ask, struct answer *answer)
{
    answer->kind = (enum ask_kind)ask->kind;
    switch ((enum ask_kind)ask->kind) {
    case ASK_PUBLISH:
        return take_publish(channel, ask, answer);
    case ASK_LINK:
        answer->link.far = ask->far;
        answer->link.waiter = ask->waiter;
        answer->err = far_give(channel->owner->engine.router, ask->far, &answer->link.place);
        return true;
    case ASK_UNLINK:
        answer->link.far = ask->far;
        far_detach(ask->far);
        return true;
    }
    FF_UNREACHABLE();
}

/* In the owner's turn. */
static void open_asked(struct mail *mail)
{
    struct channel *channel = FF_CONTAINER(mail, struct channel, asked);
    const struct ask *ask;
    bool is_answered = false;
    uint32_t size;

    channel->was_asked = true;
    for (int i = 0; (ask = ring_peek(channel->asks, &size)); i++) {
        struct answer *answer = ring_reserve(channel->answers, sizeof(*answer));

        if (!answer) { /* opened when the asker has taken some */
            atomic_store(&channel->is_starved, true);
            is_answered = true;
            break;
        }
        if (i == ASKS_A_TURN) {
            mailbox_post(channel->owner_box, &channel->asked);
            break;
        }
        if (take_ask(channel, ask, answer)) {
            ring_commit(channel->answers);
            is_answered = true;
        }
        ring_release(channel->asks);
    }
    if (atomic_exchange(&channel->is_full, false) || is_answered)
        mailbox_post(channel->asker_box, &channel->answered);
}

/* Subscribing. */

/* All parts are tied to nothing from here on. */
static void detach(struct crossing *crossing, struct subscription *s, uint32_t parts)
{
    for (uint32_t i = 0; i < parts; i++) {
        struct link *link = s[i].link;

        if (link && subscription_is_asked(&s[i])) {
            struct waiter *waiter = s[i].waiter;

            waiter->s = waiter->request->s = NULL;
            rate_free(&s[i]);
            s[i].link = NULL;
        } else if (link) {
            bool is_far = !subscription_is_asleep(&s[i]) && link->is_far;
            struct far_link *far = is_far ? link_far(link) : NULL;

            router_unsubscribe(crossing->engine.router, &s[i]); /* the end of a link of our own */
            if (far)
                leave_if_idle(crossing, far);
        }
    }
}

static void crossing_unsubscribe(struct engine *engine, struct subscription *s)
{
    detach(crossing_of(engine), s, engine_parts(engine, subscription_is_filter(s)));
}

/* An owner has answered, or did not need to be asked. */
static void finish_part(struct crossing *crossing, struct request *request, enum ff_err err)
{
    struct engine *engine = &crossing->engine;
    uint32_t parts = engine_parts(engine, request->ticket.is_filter);
    struct subscription *s = request->s;

    request->left--;
    if (err && s) { /* the first error is the answer: all or nothing */
        detach(crossing, s, parts);
        request->s = NULL;
        request->is_answered = true;
        engine->events->subscribed(engine->arg, request->ticket, s, err);
    }
    if (request->left)
        return;
    if (!request->is_answered)
        engine->events->subscribed(engine->arg, request->ticket, request->s, FF_OK);
    /* The session may have ended by that, and the subscription with it: its memory stays. */
    for (uint32_t i = 0; request->s && i < parts; i++)
        if (s[i].link)
            router_release(engine->router, &s[i]);
    ff_mem_free(request);
}

/* One part. FF_OK: tied, or, if it is asked, its waiter waits. There is room for the request. */
static enum ff_err subscribe_part(struct crossing *crossing, struct waiter *waiter,
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

/* Can all owners be asked, from `first` to `end`? FF_OK, FF_ENOMEM, FF_ELIMIT (a ring is full). */
static enum ff_err find_room(struct crossing *crossing, uint32_t first, uint32_t end)
{
    for (uint32_t owner = first; owner < end; owner++) {
        struct channel *channel = channel_to(crossing, owner);

        if (owner == crossing->index)
            continue;
        if (!channel_open(channel))
            return FF_ENOMEM;
        if (!reserve_request(channel, 0, 0))
            return FF_ELIMIT;
    }
    return FF_OK;
}

static void subscribe_all(struct crossing *crossing, struct request *request, uint32_t first,
                          const struct far_request *what)
{
    uint32_t parts = request->left;
    enum ff_err err = FF_OK;

    for (uint32_t i = 0; i < parts && !err; i++) {
        struct far_request far_request = *what;
        struct subscription *s = &request->s[i];

        far_request.owner = first + i;
        far_request.owner_box = channel_to(crossing, first + i)->owner_box;
        request->waiters[i] = (struct waiter){.request = request, .s = s};
        err = subscribe_part(crossing, &request->waiters[i], &far_request);
        if (!err && subscription_is_asked(s))
            continue;
        if (err)
            request->left -= parts - 1 - i; /* those behind it are not asked */
        else
            router_hold(s); /* its first message comes after the ACK */
        finish_part(crossing, request, err);
    }
}

static bool crossing_subscribe(struct engine *engine, struct subscription *s, struct ff_slice name,
                               enum ff_encoding encoding, struct ticket ticket)
{
    struct crossing *crossing = crossing_of(engine);
    struct far_request what = {.name = name, .encoding = encoding, .worker_box = crossing->box};
    uint32_t parts = engine_parts(engine, ticket.is_filter);
    uint32_t first = ticket.is_filter ? 0 : crossing_owner(engine, name);
    enum ff_err err = find_room(crossing, first, first + parts);
    struct request *request;

    if (err == FF_ELIMIT)
        return false;
    request = err ? NULL : ff_mem_zalloc(sizeof(*request) + parts * sizeof(struct waiter));
    if (!request) {
        engine->events->subscribed(engine->arg, ticket, s, FF_ENOMEM);
        return true;
    }
    request->ticket = ticket;
    request->s = s;
    request->left = parts;
    subscribe_all(crossing, request, first, &what);
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
    finish_part(crossing, waiter->request, s ? err : FF_OK);
    if (far->state == FAR_NEW && ff_list_is_empty(&far->waiters))
        far_drop(far);
    else
        leave_if_idle(crossing, far);
}

static void take_answer(struct crossing *crossing, const struct answer *answer)
{
    struct engine *engine = &crossing->engine;
    struct engine_receipt receipt;

    switch (answer->kind) {
    case ASK_PUBLISH:
        receipt = (struct engine_receipt){answer->err, answer->publish.receipt};
        engine->events->published(engine->arg, answer->publish.ticket, &receipt);
        break;
    case ASK_LINK:
        take_place(crossing, answer);
        break;
    case ASK_UNLINK:
        far_drop(answer->link.far);
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
    if (crossing->is_refusing) {
        crossing->is_refusing = false;
        crossing->engine.events->room(crossing->engine.arg);
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
static void crossing_rest(struct engine *engine)
{
    struct crossing *crossing = crossing_of(engine);

    for (uint32_t i = 0; i < engine->owners; i++) {
        struct channel *from = exchange_channel(crossing->exchange, i, crossing->index);

        if (channel_to(crossing, i)->asks)
            ring_rest(channel_to(crossing, i)->asks);
        if (from->was_asked)
            ring_rest(from->answers);
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
        .tell = crossing_tell,
        .rest = crossing_rest,
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

        to->asker = from->owner = crossing;
        to->asker_box = from->owner_box = box;
        mail_init(&to->answered, open_answered);
        mail_init(&from->asked, open_asked);
    }
    return &crossing->engine;
}
