/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/redis/unanswered.h"

#include "protocol/base/mem.h"

enum { FIRST_ROOM = 16 };

void redis_unanswered_init(struct redis_unanswered *unanswered, uint32_t max)
{
    *unanswered = (struct redis_unanswered){.max = max};
}

void redis_unanswered_deinit(struct redis_unanswered *unanswered)
{
    ff_mem_free(unanswered->ring);
    redis_unanswered_init(unanswered, unanswered->max);
}

static struct redis_question *slot(const struct redis_unanswered *unanswered, uint32_t i)
{
    return &unanswered->ring[(unanswered->first + i) & (unanswered->room - 1)];
}

enum ff_err redis_unanswered_reserve(struct redis_unanswered *unanswered)
{
    uint32_t room = unanswered->room ? unanswered->room * 2 : FIRST_ROOM;
    struct redis_question *ring;

    if (unanswered->count >= unanswered->max)
        return FF_ELIMIT;
    if (unanswered->count < unanswered->room)
        return FF_OK;
    ring = ff_mem_alloc(room * sizeof(*ring));
    if (!ring)
        return FF_ENOMEM;
    for (uint32_t i = 0; i < unanswered->count; i++)
        ring[i] = *slot(unanswered, i);
    ff_mem_free(unanswered->ring);
    unanswered->ring = ring;
    unanswered->first = 0;
    unanswered->room = room;
    return FF_OK;
}

void redis_unanswered_append(struct redis_unanswered *unanswered, struct redis_question question)
{
    FF_CHECK(unanswered->count < unanswered->room);
    *slot(unanswered, unanswered->count++) = question;
}

const struct redis_question *redis_unanswered_peek(const struct redis_unanswered *unanswered)
{
    return unanswered->count ? slot(unanswered, 0) : NULL;
}

struct redis_question redis_unanswered_pop(struct redis_unanswered *unanswered)
{
    struct redis_question question;

    FF_CHECK(unanswered->count > 0);
    question = *slot(unanswered, 0);
    unanswered->first = (unanswered->first + 1) & (unanswered->room - 1);
    unanswered->count--;
    return question;
}

void redis_unanswered_trim(struct redis_unanswered *unanswered)
{
    if (unanswered->count == 0 && unanswered->room > UNANSWERED_KEPT)
        redis_unanswered_deinit(unanswered);
}
