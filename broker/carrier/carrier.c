/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier.c - requests on their way to the owner, and answers on their way back.
 *
 * Publishes and turns stand here, subscriptions in subscribing.c, what the owner
 * does with all of them in owner.c. `on_...` are the answers of this worker's own
 * engine: to its own sessions, or to other workers through their channels.
 */
#include "broker/carrier/carrier.h"

#include "broker/carrier/owner.h"
#include "broker/carrier/subscribing.h"
#include "broker/topic/bulletin.h"
#include "protocol/base/mem.h"

enum { INLINE_AT_MOST = 16 /* a payload over a 16th of the ring crosses as a block */ };

static struct channel *channel_from(const struct carrier *carrier, uint32_t worker)
{
    return exchange_channel(carrier->env.exchange, worker, carrier->env.index);
}

uint32_t carrier_owner(const struct carrier *carrier, struct ff_slice name)
{
    if (carrier->owners == 1)
        return 0;
    if (bulletin_is(name))
        name = bulletin_topic(name);
    return registry_owner(&carrier->env.router->registry, name, carrier->owners);
}

/* Members who left. False: there is no room. */
static bool request_leaves(struct channel *channel)
{
    while (!ff_list_is_empty(&channel->seats)) {
        struct seat *seat = FF_CONTAINER(channel->seats.next, struct seat, leaving);
        struct request *request = channel_reserve(channel, seat->name_len, 0);

        if (!request)
            return false;
        *request = (struct request){
            .kind = REQUEST_LEAVE, .topic_len = seat->name_len, .serial = seat->serial};
        memcpy(request->bytes, seat->name, seat->name_len);
        channel_commit(channel, seat->name_len, 0);
        ff_list_remove(&seat->leaving);
        ff_mem_free(seat);
    }
    return true;
}

/*
 * Members who left, and links that nobody needs any more, but those with a mail under
 * way. They come before new requests: else who comes and goes could fill the memory with
 * them. False: there is no room.
 */
static bool request_farewells(struct channel *channel)
{
    struct ff_list *node = channel->leaving.next;

    if (!request_leaves(channel))
        return false;

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
static struct request *reserve_request(struct channel *channel, size_t extra, size_t block)
{
    struct request *request =
        request_farewells(channel) ? channel_reserve(channel, extra, block) : NULL;

    if (!request) {
        channel->is_refusing = true;
        channel->requester->full = channel->owner->env.index;
    }
    return request;
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
                                .retain = p->retain,
                                .key_len = (uint16_t)p->key.len,
                                .payload_len = (uint32_t)len,
                                .place = ticket.session_place,
                                .tag = p->publisher,
                                .id = ticket.id};
    memcpy(request->bytes, p->topic.at, p->topic.len);
    to = request->bytes + p->topic.len;
    if (p->key.len)
        memcpy(to, p->key.at, p->key.len);
    to += p->key.len;
    if (is_block)
        to = request->block = ff_mem_alloc(len);
    if (to && len)
        memcpy(to, p->payload.bytes.at, len);
    return to;
}

static bool publish_remote(struct carrier *carrier, uint32_t owner, const struct publication *p,
                           struct ticket ticket)
{
    static const struct engine_receipt no_memory = {.err = FF_ENOMEM};
    struct channel *channel = channel_to(carrier, owner);
    size_t len = p->payload.bytes.len;
    size_t block = len > carrier->env.exchange->requests_size / INLINE_AT_MOST ? len : 0;
    size_t extra = p->topic.len + p->key.len + (block ? 0 : len);
    struct request *request;

    if (channel_open(channel)) {
        request = reserve_request(channel, extra, block);
        if (!request)
            return false;
        if (write_publish(request, p, ticket, block > 0)) {
            channel_commit(channel, extra, block);
            return true;
        }
    }
    carrier->env.events->published(carrier->env.arg, ticket, &no_memory, 1);
    return true;
}

bool carrier_publish(struct carrier *carrier, const struct publication *p, struct ticket ticket)
{
    uint32_t owner = carrier_owner(carrier, p->topic);

    if (owner != carrier->env.index)
        return publish_remote(carrier, owner, p, ticket);
    ticket.worker = (uint8_t)owner;
    engine_publish(carrier->env.engine, p, ticket);
    return true;
}

static void on_published(void *arg, struct ticket ticket, const struct engine_receipt *receipt)
{
    struct carrier *carrier = arg;

    if (ticket.worker == carrier->env.index)
        carrier->env.events->published(carrier->env.arg, ticket, receipt, 1);
    else
        owner_published(channel_from(carrier, ticket.worker), ticket, receipt);
}

static void on_started(void *arg, struct engine_caller caller, const struct engine_start *start)
{
    struct carrier *carrier = arg;

    if (caller.worker == carrier->env.index)
        subscribing_start_own(carrier, caller.context, start);
    else
        owner_started(channel_from(carrier, caller.worker), caller.context, start);
}

/* Lists of members and of messages. */

/* NULL: out of memory. */
static struct question *make_question(struct ff_slice name, struct engine_listing listing,
                                      struct ticket ticket)
{
    struct question *question = ff_mem_alloc(sizeof(*question) + name.len);

    if (!question)
        return NULL;
    *question =
        (struct question){.ticket = ticket, .listing = listing, .name_len = (uint8_t)name.len};
    memcpy(question->name, name.at, name.len);
    return question;
}

static void hear(struct carrier *carrier, struct question *question, const struct engine_roll *roll)
{
    carrier->env.events->listed(carrier->env.arg, question->ticket,
                                (struct ff_slice){question->name, question->name_len}, roll);
    ff_mem_free(question);
}

static void on_listed(void *arg, struct engine_caller caller, const struct engine_roll *roll)
{
    struct carrier *carrier = arg;

    if (caller.worker == carrier->env.index)
        hear(carrier, caller.context, roll);
    else
        owner_listed(channel_from(carrier, caller.worker), caller.context, roll);
}

bool carrier_list(struct carrier *carrier, struct ff_slice name, struct engine_listing listing,
                  struct ticket ticket)
{
    static const struct engine_roll no_memory = {.err = FF_ENOMEM};
    uint32_t owner = carrier_owner(carrier, name);
    bool is_own = owner == carrier->env.index;
    struct question *question;
    struct request *request;

    if (!carrier_has_room(carrier, name, false))
        return false;
    question = is_own || channel_open(channel_to(carrier, owner))
                   ? make_question(name, listing, ticket)
                   : NULL;
    if (!question) {
        carrier->env.events->listed(carrier->env.arg, ticket, name, &no_memory);
    } else if (is_own) {
        engine_list(carrier->env.engine, (struct ff_slice){question->name, question->name_len},
                    listing, (struct engine_caller){question, owner});
    } else {
        request = channel_reserve(channel_to(carrier, owner), 0, 0);
        FF_CHECK(request); /* carrier_has_room() */
        *request = (struct request){.kind = REQUEST_LIST, .question = question};
        channel_commit(channel_to(carrier, owner), 0, 0);
    }
    return true;
}

/* Answers that wait for their turn. */

bool carrier_has_room(struct carrier *carrier, struct ff_slice name, bool is_filter)
{
    uint32_t first = carrier_first_owner(carrier, name, is_filter);

    for (uint32_t owner = first; owner < first + carrier_cursor_count(carrier, is_filter);
         owner++) {
        struct channel *channel;

        if (owner == carrier->env.index)
            continue;
        channel = channel_to(carrier, owner);
        if (!channel->requests || reserve_request(channel, name.len, 0))
            continue;  /* the rings are still to be made, or have room */
        if (is_filter) /* who needs all owners waits with those who do */
            carrier->full = carrier->owners;
        return false;
    }
    return true;
}

bool carrier_has_room_for_two(struct carrier *carrier, uint32_t owner)
{
    struct channel *channel;

    if (owner == carrier->env.index)
        return true;
    channel = channel_to(carrier, owner);
    if (!channel->requests || (request_farewells(channel) && channel_has_room_for_two(channel)))
        return true;
    channel->is_refusing = true;
    carrier->full = owner;
    return false;
}

/* NULL: out of memory. */
static struct turn *make_turn(const struct carrier_turn *what, struct ticket ticket)
{
    struct turn *turn = ff_mem_alloc(sizeof(*turn) + what->frame.len);

    if (!turn)
        return NULL;
    *turn = (struct turn){.ticket = ticket, .left = 1, .len = (uint32_t)what->frame.len};
    memcpy(turn->frame, what->frame.at, what->frame.len);
    return turn;
}

/* An owner has answered all that was asked before, or all owners are asked. */
static void pass(struct carrier *carrier, struct turn *turn)
{
    if (--turn->left > 0)
        return;
    FF_CHECK(!ff_list_is_in(&turn->node));
    if (turn->refused)
        subscribing_pass(carrier, turn->refused);
    else
        carrier->env.events->turn_came(carrier->env.arg, turn->ticket,
                                       (struct ff_slice){turn->frame, turn->len}, turn->err);
    ff_mem_free(turn);
}

static void on_passed(void *arg, struct engine_caller caller)
{
    struct carrier *carrier = arg;

    if (caller.worker == carrier->env.index)
        pass(carrier, caller.context);
    else
        owner_passed(channel_from(carrier, caller.worker), caller.context);
}

/* An owner that was never asked anything has nothing to answer before. */
static void ask_turn(struct carrier *carrier, struct turn *turn, struct ff_slice name,
                     uint32_t owner)
{
    struct channel *channel;
    struct request *request;

    if (owner == carrier->env.index) {
        turn->left++;
        engine_pass(carrier->env.engine, name, (struct engine_caller){turn, owner});
        return;
    }
    channel = channel_to(carrier, owner);
    if (!channel->requests)
        return;
    request = channel_reserve(channel, name.len, 0);
    FF_CHECK(request); /* carrier_has_room() */
    *request = (struct request){.kind = REQUEST_TURN, .topic_len = (uint8_t)name.len, .turn = turn};
    memcpy(request->bytes, name.at, name.len);
    channel_commit(channel, name.len, 0);
    turn->left++;
}

/* All of them; the turn may come at once, and is freed then. */
static void ask_turns(struct carrier *carrier, struct turn *turn, struct ff_slice name,
                      uint32_t first, uint32_t count)
{
    for (uint32_t owner = first; owner < first + count; owner++)
        ask_turn(carrier, turn, name, owner);
    pass(carrier, turn);
}

void carrier_await_turn(struct carrier *carrier, const struct carrier_turn *what,
                        struct ticket ticket)
{
    uint32_t first = carrier_first_owner(carrier, what->name, what->is_filter);
    uint32_t cursors = carrier_cursor_count(carrier, what->is_filter);
    struct turn *turn = make_turn(what, ticket);

    if (!turn) { /* where memory is short, out of order is better than not at all */
        carrier->env.events->turn_came(carrier->env.arg, ticket, what->frame, FF_OK);
        return;
    }
    subscribing_add_turn(what->subscription, cursors, turn);
    ask_turns(carrier, turn, what->name, first, cursors);
}

bool carrier_pass(struct carrier *carrier, struct pending_subscribe *pending, uint32_t first,
                  uint32_t count)
{
    struct turn *turn = ff_mem_alloc(sizeof(*turn));

    if (!turn)
        return false;
    *turn = (struct turn){.refused = pending, .left = 1};
    ask_turns(carrier, turn, pending->what.name, first, count);
    return true;
}

/* Answers of other workers. */

static void take_answer(struct carrier *carrier, const struct answer *answer)
{
    switch (answer->kind) {
    case REQUEST_PUBLISH:
        carrier->env.events->published(carrier->env.arg, answer->publish.ticket,
                                       &answer->publish.receipt, answer->count);
        break;
    case REQUEST_LINK:
        subscribing_start_remote(carrier, answer->link.waiter, &answer->link.at,
                                 &answer->link.start);
        ff_mem_free(answer->link.content);
        break;
    case REQUEST_UNLINK:
        remote_drop(answer->remote);
        break;
    case REQUEST_LEAVE:
        break;
    case REQUEST_LIST:
        hear(carrier, answer->list.question, &answer->list.roll);
        ff_mem_free(answer->list.items);
        break;
    case REQUEST_TURN:
        pass(carrier, answer->turn);
        break;
    }
}

/* In the requester's turn. */
static void open_answered(struct mail *mail)
{
    struct channel *channel = FF_CONTAINER(mail, struct channel, answered);
    struct carrier *carrier = channel->requester;
    const struct answer *answer;
    uint32_t size;

    while ((answer = ring_peek(channel->answers, &size))) {
        struct answer copy = *answer;

        ring_release(channel->answers);
        FF_CHECK(copy.count <= channel->unanswered);
        channel->unanswered -= copy.count;
        take_answer(carrier, &copy);
    }
    if (channel->is_refusing) {
        channel->is_refusing = false;
        carrier->env.events->room(carrier->env.arg, channel->owner->env.index);
        carrier->env.events->room(carrier->env.arg, carrier->owners);
    }
}

/* Life. */

void carrier_notify(struct carrier *carrier)
{
    for (uint32_t i = 0; carrier->env.exchange && i < carrier->owners; i++) {
        if (i == carrier->env.index)
            continue;
        (void)request_farewells(channel_to(carrier, i));
        if (channel_to(carrier, i)->unnotified_bytes)
            channel_notify(channel_to(carrier, i));
        owner_notify(channel_from(carrier, i));
    }
    engine_flush(carrier->env.engine);
}

/* Each ring by the worker that writes into it. An answer that is being written is in none yet. */
void carrier_release_idle(struct carrier *carrier)
{
    for (uint32_t i = 0; carrier->env.exchange && i < carrier->owners; i++) {
        struct channel *from = channel_from(carrier, i);

        if (channel_to(carrier, i)->requests)
            ring_release_idle(channel_to(carrier, i)->requests);
        if (from->was_used && !from->open)
            ring_release_idle(from->answers);
    }
}

void carrier_stop(struct carrier *carrier)
{
    engine_stop(carrier->env.engine);
}

void carrier_free(struct carrier *carrier)
{
    struct ff_list *node;

    if (!carrier)
        return;
    for (uint32_t i = 0; carrier->env.exchange && i < carrier->owners; i++) {
        FF_CHECK(ff_list_is_empty(&channel_to(carrier, i)->leaving));
        while ((node = ff_list_pop(&channel_to(carrier, i)->seats))) /* all workers end */
            ff_mem_free(FF_CONTAINER(node, struct seat, leaving));
    }
    engine_free(carrier->env.engine);
    ff_mem_free(carrier);
}

struct carrier *carrier_new(const struct carrier_env *env)
{
    static const struct engine_events events = {
        .published = on_published, .started = on_started, .listed = on_listed, .passed = on_passed};
    struct carrier *carrier = ff_mem_zalloc(sizeof(*carrier));

    if (!carrier)
        return NULL;
    carrier->env = *env;
    carrier->owners = env->exchange ? env->exchange->count : 1;
    env->engine->events = &events;
    env->engine->arg = carrier;
    for (uint32_t i = 0; env->exchange && i < carrier->owners; i++) {
        struct channel *to = channel_to(carrier, i);
        struct channel *from = channel_from(carrier, i);

        to->requester = from->owner = carrier;
        mail_init(&to->answered, open_answered);
        mail_init(&from->requested, owner_open_requests);
    }
    return carrier;
}
