/* SPDX-License-Identifier: Apache-2.0 */
/*
 * position.h - where a message stands in its topic, as the wire says it.
 *
 * A position is an epoch and an offset (docs/protocol.md, "Positions"). To peers
 * an epoch is an opaque text, only compared; the broker's own are 64 random bits,
 * 0 meaning none, written as 11 characters of [A-Za-z0-9_-], six bits each.
 */
#ifndef MESSAGE_POSITION_H
#define MESSAGE_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/bytes.h"

enum {
    FF_EPOCH_TEXT = 11, /* octets of an epoch of ours */
    FF_EPOCH_MAX = 40,  /* and of anybody's */
};

struct ff_position {
    uint64_t epoch; /* 0: none of ours */
    uint64_t offset;
};

/* From where on a subscription or a HISTORY is asked for. */
struct ff_since {
    bool is_position;            /* everything after it; else the newest `count` */
    struct ff_position position; /* epoch 0: another broker's, which is another epoch */
    uint64_t count;
};

/* Exactly FF_EPOCH_TEXT octets. */
void ff_epoch_write(char *out, uint64_t epoch);

/* Is it a text that an epoch may be? */
bool ff_epoch_is_valid(struct ff_slice text);

/* 0: it is none of ours, whatever it is. */
uint64_t ff_epoch_read(struct ff_slice text);

#endif
