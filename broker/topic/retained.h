/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retained.h - which topics have a retained message, and how many there may be.
 *
 * The message itself stands beside a log (log.h): in that of the kind in which it was
 * published, and in those of other kinds once somebody asked for it there (past.h). How a
 * reader is sent it: subscription.c. See docs/decisions/0020-retained.md.
 */
#ifndef TOPIC_RETAINED_H
#define TOPIC_RETAINED_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/topic/kind.h"

struct registry;
struct topic;

/* May a topic's retained message be of so many octets, instead of what it has now? */
bool retained_has_room(const struct topic *topic, size_t octets);

/* May there be so many octets more, in another kind, for who reads that? */
bool retained_may_copy(const struct registry *registry, size_t octets);

/* The log of this kind has a new one: those of other kinds have what was there before no more. */
void retained_note(struct topic *topic, enum log_kind kind);

/* The topic has none any more. */
void retained_forget(struct topic *topic);

#endif
