/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/carrier/owner.h"

#include "broker/carrier/subscribing.h"
#include "broker/net/turn.h"
#include "protocol/base/mem.h"

/* Nothing more is counted with the last answer. */
static void close_answer(struct channel *channel)
{
    if (channel->open)
        ring_commit(channel->answers);
    channel->open = NULL;
}

/* The next answer. There is room: the requester has asked no more than fits. */
static struct answer *open_answer(struct channel *channel, enum request_kind kind)
{
    struct answer *answer;

    close_answer(channel);
    answer = ring_reserve(channel->answers, sizeof(*answer));
    FF_CHECK(answer);
    *answer = (struct answer){.kind = kind, .count = 1};
    channel->open = answer;
    return answer;
}

/* Is the last answer one for this session that more may be counted with? */
static bool can_join(const struct answer *answer, struct ticket ticket)
{
    return answer && answer->kind == REQUEST_PUBLISH && !answer->publish.is_complete &&
           answer->publish.ticket.session_tag == ticket.session_tag;
}

void owner_published(struct channel *channel, struct ticket ticket,
                     const struct engine_receipt *receipt)
{
    struct answer *answer = channel->open;

    if (can_join(answer, ticket))
        answer->count++;
    else
        answer = open_answer(channel, REQUEST_PUBLISH);
    answer->publish.ticket = ticket;
    answer->publish.receipt = *receipt;
    answer->publish.is_complete = ticket.has_id || receipt->err;
}

/* What comes with an answer is the engine's only until the event returns. False: out of memory. */
static bool copy_content(struct ff_slice *content, char **block)
{
    if (content->len == 0)
        return true;
    *block = ff_mem_dup(content->at, content->len);
    *content = (struct ff_slice){*block, *block ? content->len : 0};
    return *block;
}

void owner_started(struct channel *channel, struct waiter *waiter, const struct engine_start *start)
{
    struct answer *answer = open_answer(channel, REQUEST_LINK);
    struct engine_start *copy = &answer->link.start;

    answer->link.waiter = waiter;
    *copy = *start;
    if (!copy_content(&copy->content, &answer->link.content))
        copy->err = FF_ENOMEM;
    if (!copy->err)
        copy->err =
            remote_grant(channel->owner->env.router, waiter->remote, &copy->from, &answer->link.at);
    if (copy->err && !start->err && waiter->what->joins)
        engine_leave(channel->owner->env.engine, waiter->what->name, waiter->what->member.serial);
}

void owner_listed(struct channel *channel, struct question *question,
                  const struct engine_roll *roll)
{
    struct answer *answer = open_answer(channel, REQUEST_LIST);

    answer->list.question = question;
    answer->list.roll = *roll;
    if (!copy_content(&answer->list.roll.items, &answer->list.items))
        answer->list.roll.err = FF_ENOMEM;
}

void owner_passed(struct channel *channel, struct turn *turn)
{
    open_answer(channel, REQUEST_TURN)->turn = turn;
}

static void take_publish(struct channel *channel, const struct request *request)
{
    const char *at = request->bytes + request->topic_len;
    struct publication p = {.topic = {request->bytes, request->topic_len},
                            .publisher = request->tag,
                            .key = {request->key_len ? at : NULL, request->key_len},
                            .retain = request->retain};
    struct ticket ticket = {.id = request->id,
                            .session_tag = request->tag,
                            .session_place = request->place,
                            .worker = (uint8_t)channel->requester->env.index,
                            .has_id = request->has_id};

    at = request->is_block ? request->block : at + request->key_len;
    p.payload = (struct ff_payload){(enum ff_payload_kind)request->payload_kind,
                                    {at, request->payload_len}};
    engine_publish(channel->owner->env.engine, &p, ticket);
    if (request->is_block) {
        ff_mem_free(request->block);
        channel_release_block(channel, request->payload_len);
    }
}

static void take_list(struct channel *channel, struct question *question)
{
    struct engine_caller caller = {question, channel->requester->env.index};

    engine_list(channel->owner->env.engine, (struct ff_slice){question->name, question->name_len},
                question->listing, caller);
}

static void take_request(struct channel *channel, const struct request *request)
{
    struct engine *engine = channel->owner->env.engine;
    struct engine_caller caller = {.worker = channel->requester->env.index};

    switch ((enum request_kind)request->kind) {
    case REQUEST_PUBLISH:
        take_publish(channel, request);
        break;
    case REQUEST_LINK:
        caller.context = request->waiter;
        engine_subscribe(engine, request->waiter->what, caller);
        break;
    case REQUEST_UNLINK:
        remote_detach(request->remote);
        open_answer(channel, REQUEST_UNLINK)->remote = request->remote;
        break;
    case REQUEST_LEAVE:
        engine_leave(engine, (struct ff_slice){request->bytes, request->topic_len},
                     request->serial);
        (void)open_answer(channel, REQUEST_LEAVE);
        break;
    case REQUEST_LIST:
        take_list(channel, request->question);
        break;
    case REQUEST_TURN:
        caller.context = request->turn;
        engine_pass(engine, (struct ff_slice){request->bytes, request->topic_len}, caller);
        break;
    }
}

void owner_notify(struct channel *channel)
{
    if (!channel->open)
        return;
    close_answer(channel);
    mailbox_post(channel->requester->env.box, &channel->answered);
}

/* How many requests this one counted for, by what it made the owner write again. */
static uint32_t cost_of(const struct request *request, uint64_t octets)
{
    if (request->kind == REQUEST_LIST)
        return TURN_LIST;
    return octets < TURN_LIST_OCTETS * 4ULL ? 1 + (uint32_t)(octets * TURN_LIST / TURN_LIST_OCTETS)
                                            : TURN_REQUESTS;
}

void owner_open_requests(struct mail *mail)
{
    struct channel *channel = FF_CONTAINER(mail, struct channel, requested);
    const struct router *router = channel->owner->env.router;
    const struct request *request;
    uint64_t before;
    uint32_t spent = 0;
    uint32_t size;

    channel->was_used = true;
    while ((request = ring_peek(channel->requests, &size))) {
        if (spent >= TURN_REQUESTS) {
            mailbox_post(channel->owner->env.box, &channel->requested);
            break;
        }
        before = router->rewritten;
        take_request(channel, request);
        spent += cost_of(request, router->rewritten - before);
        ring_release(channel->requests);
    }
    owner_notify(channel);
    if (atomic_exchange(&channel->requester_waits, false))
        mailbox_post(channel->requester->env.box, &channel->answered);
}
