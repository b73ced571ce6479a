/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/carrier/owner.h"

#include "protocol/base/mem.h"

/* Of one worker, each time its mail is opened: about 1 ms. Then the others, and the sockets. */
enum { REQUESTS_A_TURN = 1024 };

/* True if the answer is complete: nothing that comes behind it may be counted with it. */
static bool take_publish(struct channel *channel, const struct request *request,
                         struct answer *answer)
{
    struct ff_slice topic = {request->bytes, request->topic_len};
    struct publication p = {
        .topic = topic,
        .payload = {(enum ff_payload_kind)request->payload_kind,
                    {request->is_block ? request->block : request->bytes + request->topic_len,
                     request->payload_len}},
        .publisher = request->tag};

    answer->err = router_publish(channel->owner_router, &p, &answer->publish.receipt);
    answer->publish.count++;
    answer->publish.ticket = (struct ticket){.id = request->id,
                                             .session_tag = request->tag,
                                             .session_place = request->place,
                                             .has_id = request->has_id};
    if (request->is_block) {
        ff_mem_free(request->block);
        channel_release_block(channel, request->payload_len);
    }
    return request->has_id || answer->err;
}

/* As take_publish(). */
static bool take_request(struct channel *channel, const struct request *request,
                         struct answer *answer)
{
    answer->kind = (enum request_kind)request->kind;
    switch ((enum request_kind)request->kind) {
    case REQUEST_PUBLISH:
        return take_publish(channel, request, answer);
    case REQUEST_LINK:
        answer->link.remote = request->remote;
        answer->link.waiter = request->waiter;
        answer->err = remote_grant(channel->owner_router, request->remote, &answer->link.start);
        return true;
    case REQUEST_UNLINK:
        answer->link.remote = request->remote;
        remote_detach(request->remote);
        return true;
    case REQUEST_TURN:
        answer->turn = request->turn;
        return true;
    }
    FF_UNREACHABLE();
}

/* Is the request one more publish of the session that the incomplete answer is for? */
static bool can_join(const struct answer *answer, const struct request *request)
{
    return request->kind == REQUEST_PUBLISH && request->tag == answer->publish.ticket.session_tag;
}

/* Room for the answer to a request; `answer` is the incomplete one, or NULL. NULL: no room. */
static struct answer *choose_answer(struct channel *channel, struct answer *answer,
                                    const struct request *request)
{
    if (answer && can_join(answer, request))
        return answer;
    if (answer)
        ring_commit(channel->answers);
    answer = ring_reserve(channel->answers, sizeof(*answer));
    if (answer)
        *answer = (struct answer){.kind = REQUEST_PUBLISH};
    return answer;
}

void owner_open_requests(struct mail *mail)
{
    struct channel *channel = FF_CONTAINER(mail, struct channel, requested);
    struct answer *answer = NULL; /* an incomplete one */
    const struct request *request;
    bool is_answered = false;
    uint32_t size;

    channel->was_used = true;
    for (int i = 0; (request = ring_peek(channel->requests, &size)); i++) {
        if (i == REQUESTS_A_TURN) {
            mailbox_post(channel->owner_box, &channel->requested);
            break;
        }
        answer = choose_answer(channel, answer, request);
        if (!answer) { /* opened when the requester has taken some */
            atomic_store(&channel->owner_waits, true);
            break;
        }
        if (take_request(channel, request, answer)) {
            ring_commit(channel->answers);
            answer = NULL;
        }
        ring_release(channel->requests);
        is_answered = true;
    }
    if (answer)
        ring_commit(channel->answers);
    if (atomic_exchange(&channel->requester_waits, false) || is_answered ||
        atomic_load(&channel->owner_waits))
        mailbox_post(channel->requester_box, &channel->answered);
}
