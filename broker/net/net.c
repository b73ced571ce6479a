/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/net.h"

#include <errno.h>
#include <string.h>

#include "broker/net/conn.h"
#include "broker/net/logger.h"
#include "broker/net/porch.h"
#include "broker/net/turn.h"
#include "protocol/base/mem.h"

enum { POOL_KEEPS = 2 * 1024 * 1024, CLOSE_MS = 5000, OUTBOX_MAX = 256 * 1024 };

void net_serve(struct net *net, const struct conn_ops *ops, void *owner)
{
    net->ops = ops;
    net->owner = owner;
}

enum ff_err net_init(struct net *net, loop_begin_fn *begin, loop_turn_fn *turn, void *arg)
{
    enum ff_err err = loop_init(&net->loop, begin, turn, arg);

    if (err)
        return err;
    net_serve(net, NULL, NULL);
    wheel_init(&net->wheel, &net->loop.now_ms);
    pool_init(&net->pool, POOL_KEEPS);
    ff_list_init(&net->flush);
    ff_list_init(&net->late);
    ff_list_init(&net->dead);
    ff_list_init(&net->closing);
    ff_list_init(&net->guests);
    ff_list_init(&net->gone_guests);
    net->guest_count = 0;
    net->close_ms = CLOSE_MS;
    net->outbox_max = OUTBOX_MAX;
    ff_budget_init(&net->budget, UINT64_MAX);
    net->turns = 0;
    net->connections = 0;
    net->handshakes = 0;
    input_init(&net->input);
    net->sent_bytes = 0;
    net->uring = NULL;
    net->receive = ff_mem_alloc(NET_RECEIVE_SIZE);
    net->record = ff_mem_alloc(NET_TLS_RECORD);
    if (net->receive && net->record)
        return FF_OK;
    net_deinit(net);
    return FF_ENOMEM;
}

void net_deinit(struct net *net)
{
    ff_mem_free(net->receive);
    ff_mem_free(net->record);
    net->receive = net->record = NULL;
    uring_free(net->uring);
    net->uring = NULL;
    pool_deinit(&net->pool);
    loop_deinit(&net->loop);
}

void net_begin(struct net *net)
{
    ff_budget_look(&net->budget);
}

static void fall_back(struct net *net, const char *why)
{
    LOG_EVENT(LOG_WARN, "no_uring", LOG_TEXT("why", why),
              LOG_TEXT("instead", "one send for each connection"));
    uring_free(net->uring);
    net->uring = NULL;
}

const char *net_use_uring(struct net *net)
{
    net->uring = uring_new();
    return net->uring ? NULL : strerror(errno);
}

/* One by one: a call that sends for many of them is too long for who waits meanwhile. */
static void flush_late(struct net *net, uint64_t until_us)
{
    unsigned done = 0;

    while (!ff_list_is_empty(&net->late)) {
        conn_flush(FF_CONTAINER(ff_list_pop(&net->late), struct conn, link));
        if (++done % NET_LOOK_LATE == 0 && loop_clock_us() > until_us)
            return;
    }
}

static void flush_new(struct net *net, uint64_t until_us)
{
    unsigned done = 0;

    while (!ff_list_is_empty(&net->flush)) {
        if (!net->uring)
            conn_flush(FF_CONTAINER(ff_list_pop(&net->flush), struct conn, link));
        else if (!uring_flush(net->uring, &net->flush, until_us))
            fall_back(net, "the kernel takes no more requests");
        if ((net->uring || ++done % NET_LOOK_EVERY == 0) && loop_clock_us() > until_us)
            return;
    }
}

/* Where nothing is new, and nobody about to say something, the past has the whole slice. */
bool net_flush(struct net *net, uint64_t slice_us)
{
    uint64_t begin_us = loop_clock_us();
    bool has_new = !ff_list_is_empty(&net->flush);
    uint64_t now_us;

    flush_new(net, begin_us + slice_us);
    if (!ff_list_is_empty(&net->late)) {
        now_us = loop_clock_us();
        if (has_new || input_has_regulars(&net->input, now_us))
            slice_us = turn_slice_us(TURN_LATE, now_us - begin_us);
        flush_late(net, now_us + slice_us);
    }
    return net_is_flushed(net);
}

bool net_is_shut(const struct net *net)
{
    for (const struct ff_list *node = net->closing.next; node != &net->closing; node = node->next)
        if (FF_CONTAINER_CONST(node, struct conn, group)->state == CONN_CLOSING)
            return false;
    return true;
}

void net_abort_all(struct net *net)
{
    while (!ff_list_is_empty(&net->closing))
        conn_abort(FF_CONTAINER(net->closing.next, struct conn, group));
    input_clear(&net->input);
}

void net_free_dead(struct net *net)
{
    struct ff_list *node;
    struct ff_list
        queued; /* the input's queue still knows them: it is their turn to be passed over */

    porch_free_gone(net);
    ff_list_init(&queued);
    while ((node = ff_list_pop(&net->dead))) {
        struct conn *conn = FF_CONTAINER(node, struct conn, link);

        if (conn->is_ready) {
            ff_list_append(&queued, node);
            continue;
        }
        net->connections--;
        net->ops->free(conn);
    }
    while ((node = ff_list_pop(&queued)))
        ff_list_append(&net->dead, node);
}
