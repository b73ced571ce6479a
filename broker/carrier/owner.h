/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.h - the owner's side of a channel: requests are taken to its engine, and
 * what that says is answered, whenever it does.
 *
 * Publishes without an id that succeed have no answer of their own, but their
 * sessions count what is unanswered: one answer stands for as many of them as
 * come in a row.
 */
#ifndef CARRIER_OWNER_H
#define CARRIER_OWNER_H

#include "broker/carrier/channel.h"

/* The mail `requested` of a channel, in the owner's turn: there are requests. */
void owner_open_requests(struct mail *mail);

/* The engine's answers to what came by a channel. */
void owner_published(struct channel *channel, struct ticket ticket,
                     const struct engine_receipt *receipt);
void owner_started(struct channel *channel, struct waiter *waiter,
                   const struct engine_start *start);
void owner_listed(struct channel *channel, struct question *question,
                  const struct engine_roll *roll);
void owner_passed(struct channel *channel, struct turn *turn);

/* The requester is told of what was answered; at the latest when the turn ends. */
void owner_notify(struct channel *channel);

#endif
