/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.h - the owner's side of a channel: requests are taken and answered.
 *
 * A request is taken only when there is room for its answer. Publishes without
 * an id that succeed have no answer of their own, but their sessions count what
 * is unanswered: one answer stands for as many of them as come in a row.
 */
#ifndef CARRIER_OWNER_H
#define CARRIER_OWNER_H

#include "broker/carrier/channel.h"

/* The mail `requested` of a channel, in the owner's turn: there are requests. */
void owner_open_requests(struct mail *mail);

#endif
