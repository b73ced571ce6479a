/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/worker/worker.h"

#include "broker/net/turn.h"

/* What others have shared may be read until the turn is over. */
static void enter(struct worker *worker)
{
    if (worker->qsbr)
        qsbr_online(worker->qsbr, worker->index);
}

/*
 * Events came. Mail is opened before them: a subscription that another worker
 * asked for before it answered its client comes before the publishes of whoever
 * heard of that answer.
 */
static void begin_turn(void *arg)
{
    struct worker *worker = arg;

    enter(worker);
    net_begin(&worker->net);
    mailbox_open(&worker->mailbox);
}

static void wake(void *arg)
{
    struct worker *worker = arg;

    loop_wake(&worker->net.loop);
}

enum ff_err worker_init(struct worker *worker, uint32_t index, struct qsbr *qsbr)
{
    worker->index = index;
    worker->qsbr = qsbr;
    worker->ops = NULL;
    atomic_init(&worker->load, 0);
    mailbox_init(&worker->mailbox, wake, worker);
    return net_init(&worker->net, begin_turn, worker_turn, worker);
}

void worker_set_ops(struct worker *worker, const struct worker_ops *ops, void *arg)
{
    worker->ops = ops;
    worker->arg = arg;
}

void worker_deinit(struct worker *worker)
{
    net_deinit(&worker->net);
}

uint64_t worker_turn(void *arg)
{
    struct worker *worker = arg;
    struct net *net = &worker->net;
    bool is_more;

    enter(worker); /* the very first turn has had no events */
    input_run(net);
    /* After the sockets were read: clocks judge what has come, not what is about to. */
    wheel_advance(&net->wheel);
    mailbox_open(&worker->mailbox);
    worker->ops->route(worker->arg);
    is_more = !net_flush(net, turn_slice_us(TURN_OUTPUT, net->input.spent_us));
    is_more |= worker->ops->end_turn(worker->arg);
    is_more |= !net_is_flushed(net); /* closed by that */
    net_free_dead(net);
    net->turns++;
    is_more |= !input_is_empty(&net->input);
    if (worker->qsbr)
        qsbr_offline(worker->qsbr, worker->index);
    return is_more ? 0 : wheel_wait_ms(&net->wheel, loop_present_ms(&net->loop), WORKER_SLEEP_MS);
}
