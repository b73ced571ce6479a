/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/outbox.h"

#include <string.h>

/* Sent octets in front are forgotten: what follows lies `by` lower. */
static void copy(struct outbox *to, const struct outbox *from)
{
    to->len = from->len;
    to->last_pong = from->last_pong;
    to->pong_count = from->pong_count;
    memcpy(to->bytes, from->bytes + from->start, from->len);
    for (uint16_t i = 0; i < from->pong_count; i++)
        to->pong_ends[i] = from->pong_ends[i] - from->start;
}

enum ff_err outbox_reserve(struct outbox **outbox, struct pool *pool, size_t more)
{
    struct outbox *old = *outbox;
    size_t need = sizeof(*old) + (old ? old->len : 0) + more;
    struct outbox *new;
    size_t cap;

    if (old && sizeof(*old) + old->start + old->len + more <= old->cap)
        return FF_OK;
    if (need > UINT32_MAX / 2)
        return FF_ENOMEM;
    cap = pool_round(old && need < 2UL * old->cap ? need + need / 2 : need);
    new = pool_alloc(pool, cap);
    if (!new)
        return FF_ENOMEM;
    *new = (struct outbox){.cap = (uint32_t)cap};
    if (old)
        copy(new, old);
    outbox_free(outbox, pool);
    *outbox = new;
    return FF_OK;
}

void outbox_append(struct outbox *outbox, const void *bytes, size_t len)
{
    if (len)
        memcpy(outbox->bytes + outbox->start + outbox->len, bytes, len);
    outbox->len += (uint32_t)len;
}

/* Takes the newest waiting pong out; what was appended behind it moves up. */
static void remove_newest_pong(struct outbox *outbox)
{
    uint32_t pong_end = outbox->pong_ends[--outbox->pong_count];
    uint32_t end = outbox->start + outbox->len;

    memmove(outbox->bytes + pong_end - outbox->last_pong, outbox->bytes + pong_end, end - pong_end);
    outbox->len -= outbox->last_pong;
}

void outbox_append_pong(struct outbox *outbox, const void *bytes, size_t len)
{
    if (outbox->pong_count == OUTBOX_PONGS)
        remove_newest_pong(outbox);
    outbox_append(outbox, bytes, len);
    outbox->last_pong = (uint16_t)len;
    outbox->pong_ends[outbox->pong_count++] = outbox->start + outbox->len;
}

void outbox_take(struct outbox **outbox, struct pool *pool, size_t len)
{
    struct outbox *own = *outbox;
    uint16_t gone = 0;

    own->start += (uint32_t)len;
    own->len -= (uint32_t)len;
    if (own->len == 0) {
        outbox_free(outbox, pool);
        return;
    }
    while (gone < own->pong_count && own->pong_ends[gone] <= own->start)
        gone++;
    own->pong_count = (uint16_t)(own->pong_count - gone);
    memmove(own->pong_ends, own->pong_ends + gone, own->pong_count * sizeof(own->pong_ends[0]));
}

void outbox_free(struct outbox **outbox, struct pool *pool)
{
    if (*outbox)
        pool_free(pool, *outbox, (*outbox)->cap);
    *outbox = NULL;
}
