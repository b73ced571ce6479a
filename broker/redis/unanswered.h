/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unanswered.h - the commands that Redis has not answered yet, the oldest first.
 *
 * A ring in memory of its own that doubles up to a maximum; what it needed beyond
 * UNANSWERED_KEPT is given back when it is empty and somebody looks.
 */
#ifndef REDIS_UNANSWERED_H
#define REDIS_UNANSWERED_H

#include "broker/redis/link.h"

enum { UNANSWERED_KEPT = 256 };

struct redis_question {
    redis_answer_fn *answer; /* NULL: nobody wants to know */
    void *context;
    uint64_t end;      /* of the command, in the octets of its connection */
    uint64_t since_ms; /* when it was asked, on the loop's clock */
};

struct redis_unanswered {
    struct redis_question *ring;
    uint32_t first;
    uint32_t count;
    uint32_t room; /* a power of two, or 0 */
    uint32_t max;
};

/* Allocates nothing. */
void redis_unanswered_init(struct redis_unanswered *unanswered, uint32_t max);
void redis_unanswered_deinit(struct redis_unanswered *unanswered);

/* Room for one more. FF_OK, FF_ENOMEM, FF_ELIMIT. */
FF_MUST_CHECK enum ff_err redis_unanswered_reserve(struct redis_unanswered *unanswered);

/* Room was reserved. */
void redis_unanswered_append(struct redis_unanswered *unanswered, struct redis_question question);

/* The oldest one; NULL: there is none. Valid until the next change. */
const struct redis_question *redis_unanswered_peek(const struct redis_unanswered *unanswered);

/* Takes it out. There is one. */
struct redis_question redis_unanswered_pop(struct redis_unanswered *unanswered);

/* Gives memory back. */
void redis_unanswered_trim(struct redis_unanswered *unanswered);

#endif
