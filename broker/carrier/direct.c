/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/carrier/carrier.h"
#include "protocol/base/mem.h"

void carrier_publish_own(struct carrier *carrier, const struct publication *p, struct ticket ticket)
{
    struct carrier_receipt receipt = {.count = 1};

    receipt.err = router_publish(carrier->router, p, &receipt.receipt);
    carrier->events->published(carrier->arg, ticket, &receipt);
}

static bool direct_publish(struct carrier *carrier, const struct publication *p,
                           struct ticket ticket)
{
    carrier_publish_own(carrier, p, ticket);
    return true;
}

static bool direct_subscribe(struct carrier *carrier, struct subscription *s, struct ff_slice name,
                             enum ff_encoding encoding, struct ticket ticket)
{
    enum ff_err err = router_subscribe(carrier->router, s, name, encoding);

    carrier->events->subscribed(carrier->arg, ticket, s, name, err);
    return true;
}

static void direct_unsubscribe(struct carrier *carrier, struct subscription *s)
{
    router_unsubscribe(carrier->router, s);
}

static bool direct_has_room(struct carrier *carrier, struct ff_slice name, bool is_filter)
{
    (void)carrier;
    (void)name;
    (void)is_filter;
    return true;
}

/* Whatever was asked before is answered. */
static void direct_await_turn(struct carrier *carrier, const struct carrier_turn *turn,
                              struct ticket ticket)
{
    carrier->events->turn_came(carrier->arg, ticket, turn->frame, FF_OK);
}

static void direct_notify(struct carrier *carrier)
{
    (void)carrier;
}

static void direct_release_idle(struct carrier *carrier)
{
    (void)carrier;
}

static void direct_free(struct carrier *carrier)
{
    ff_mem_free(carrier);
}

struct carrier *direct_new(struct router *router, const struct carrier_events *events, void *arg)
{
    static const struct carrier_ops ops = {
        .publish = direct_publish,
        .subscribe = direct_subscribe,
        .unsubscribe = direct_unsubscribe,
        .has_room = direct_has_room,
        .await_turn = direct_await_turn,
        .notify = direct_notify,
        .release_idle = direct_release_idle,
        .free = direct_free,
    };
    struct carrier *carrier = ff_mem_alloc(sizeof(*carrier));

    if (carrier)
        *carrier = (struct carrier){
            .ops = &ops, .events = events, .arg = arg, .router = router, .owners = 1};
    return carrier;
}
