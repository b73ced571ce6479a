/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/owner.h"

#include "protocol/base/mem.h"

/* Of one worker, each time its mail is opened: about 1 ms. Then the others, and the sockets. */
enum { ASKS_A_TURN = 1024 };

/* True if the answer is complete: nothing that comes behind it may be counted with it. */
static bool take_publish(struct channel *channel, const struct ask *ask, struct answer *answer)
{
    struct ff_slice topic = {ask->bytes, ask->topic_len};
    struct publication p = {
        .topic = topic,
        .payload = {(enum ff_payload_kind)ask->payload_kind,
                    {ask->is_block ? ask->block : ask->bytes + ask->topic_len, ask->payload_len}},
        .tag = ask->tag};

    answer->err = router_publish(channel->owner_router, &p, &answer->publish.receipt);
    answer->publish.count++;
    answer->publish.ticket = (struct ticket){
        .id = ask->id, .session_tag = ask->tag, .session_place = ask->place, .has_id = ask->has_id};
    if (ask->is_block) {
        ff_mem_free(ask->block);
        channel_release_block(channel, ask->payload_len);
    }
    return ask->has_id || answer->err;
}

/* As take_publish(). */
static bool take_ask(struct channel *channel, const struct ask *ask, struct answer *answer)
{
    answer->kind = (enum ask_kind)ask->kind;
    switch ((enum ask_kind)ask->kind) {
    case ASK_PUBLISH:
        return take_publish(channel, ask, answer);
    case ASK_LINK:
        answer->link.far = ask->far;
        answer->link.waiter = ask->waiter;
        answer->err = far_give(channel->owner_router, ask->far, &answer->link.place);
        return true;
    case ASK_UNLINK:
        answer->link.far = ask->far;
        far_detach(ask->far);
        return true;
    case ASK_TURN:
        answer->turn = ask->turn;
        return true;
    }
    FF_UNREACHABLE();
}

/* Is the request one more publish of the session that the incomplete answer is for? */
static bool can_join(const struct answer *answer, const struct ask *ask)
{
    return ask->kind == ASK_PUBLISH && ask->tag == answer->publish.ticket.session_tag;
}

/* Room for the answer to a request; `answer` is the incomplete one, or NULL. NULL: no room. */
static struct answer *choose_answer(struct channel *channel, struct answer *answer,
                                    const struct ask *ask)
{
    if (answer && can_join(answer, ask))
        return answer;
    if (answer)
        ring_commit(channel->answers);
    answer = ring_reserve(channel->answers, sizeof(*answer));
    if (answer)
        *answer = (struct answer){.kind = ASK_PUBLISH};
    return answer;
}

void owner_open_asked(struct mail *mail)
{
    struct channel *channel = FF_CONTAINER(mail, struct channel, asked);
    struct answer *answer = NULL; /* an incomplete one */
    const struct ask *ask;
    bool is_answered = false;
    uint32_t size;

    channel->was_asked = true;
    for (int i = 0; (ask = ring_peek(channel->asks, &size)); i++) {
        if (i == ASKS_A_TURN) {
            mailbox_post(channel->owner_box, &channel->asked);
            break;
        }
        answer = choose_answer(channel, answer, ask);
        if (!answer) { /* opened when the asker has taken some */
            atomic_store(&channel->is_starved, true);
            break;
        }
        if (take_ask(channel, ask, answer)) {
            ring_commit(channel->answers);
            answer = NULL;
        }
        ring_release(channel->asks);
        is_answered = true;
    }
    if (answer)
        ring_commit(channel->answers);
    if (atomic_exchange(&channel->is_full, false) || is_answered ||
        atomic_load(&channel->is_starved))
        mailbox_post(channel->asker_box, &channel->answered);
}
