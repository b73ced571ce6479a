/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.c - two levels: a pin of a segment for the whole worker, and the holds of
 * connections on it, the idle longest first. What has left its log is counted
 * against the budget of the log's pins; the eviction asks connections to let go.
 */
#include "broker/topic/pin.h"

#include "protocol/base/list.h"
#include "protocol/base/mem.h"

struct pins {
    struct ff_list node;   /* in the evictor's list, while something has left the log */
    struct ff_list in_log; /* pins whose segments were in the log when it was last looked */
    struct ff_list left;   /* and those that had left it, the idle longest first but for touches */
    uint64_t left_bytes;
    bool is_left; /* the link is gone: the last pin frees this */
};

struct pin {
    struct ff_list node;
    struct pins *pins;
    struct segment *segment;
    struct ff_list holds;
    uint32_t touched_at; /* tick: when one of its connections last sent of it */
    uint32_t queued_at;  /* touched_at, when it got its place among `left` */
    bool has_left;
};

struct pin_hold {
    struct ff_list node;
    struct pin *pin;
    void *owner;
};

static void free_unused(struct pins *pins)
{
    if (pins->is_left && ff_list_is_empty(&pins->in_log) && ff_list_is_empty(&pins->left))
        ff_mem_free(pins);
}

void pins_leave(struct pins *pins)
{
    if (!pins)
        return;
    pins->is_left = true;
    free_unused(pins);
}

uint64_t pins_bytes(const struct pins *pins)
{
    return pins ? pins->left_bytes : 0;
}

/* Who is cut now reads what is in the log: of what has left it no new holds are taken. */
static struct pin *find(const struct pins *pins, const struct segment *segment)
{
    for (struct ff_list *node = pins->in_log.next; node != &pins->in_log; node = node->next) {
        struct pin *pin = FF_CONTAINER(node, struct pin, node);

        if (pin->segment == segment)
            return pin;
    }
    return NULL;
}

static struct pin *make(struct pins *pins, struct segment *segment)
{
    struct pin *pin = ff_mem_alloc(sizeof(*pin));

    if (!pin)
        return NULL;
    *pin = (struct pin){.pins = pins, .segment = segment};
    ff_list_init(&pin->holds);
    ff_list_append(&pins->in_log, &pin->node);
    atomic_fetch_add_explicit(&segment->pin_count, 1, memory_order_relaxed);
    return pin;
}

static void free_pin(struct pin *pin)
{
    struct pins *pins = pin->pins;

    if (pin->has_left)
        pins->left_bytes -= segment_size(pin->segment);
    if (pins->left_bytes == 0)
        ff_list_remove(&pins->node);
    atomic_fetch_sub_explicit(&pin->segment->pin_count, 1, memory_order_release);
    ff_list_remove(&pin->node);
    ff_mem_free(pin);
    free_unused(pins);
}

enum ff_err pin_take(struct pins **pins, struct segment *segment, void *owner, uint32_t tick,
                     struct pin_hold **hold)
{
    struct pin *pin;

    if (!*pins) {
        *pins = ff_mem_zalloc(sizeof(**pins));
        if (!*pins)
            return FF_ENOMEM;
        ff_list_init(&(*pins)->in_log);
        ff_list_init(&(*pins)->left);
    }
    *hold = ff_mem_alloc(sizeof(**hold));
    if (!*hold)
        return FF_ENOMEM;
    pin = find(*pins, segment);
    if (!pin)
        pin = make(*pins, segment);
    if (!pin) {
        ff_mem_free(*hold);
        return FF_ENOMEM;
    }
    **hold = (struct pin_hold){.pin = pin, .owner = owner};
    ff_list_append(&pin->holds, &(*hold)->node);
    pin->touched_at = tick;
    return FF_OK;
}

void pin_touch(void *hold, uint32_t tick)
{
    struct pin_hold *own = hold;

    own->pin->touched_at = tick;
}

void pin_release(void *hold)
{
    struct pin_hold *own = hold;
    struct pin *pin = own->pin;

    ff_list_remove(&own->node);
    ff_mem_free(own);
    if (ff_list_is_empty(&pin->holds))
        free_pin(pin);
}

static void queue(struct pin *pin)
{
    ff_list_remove(&pin->node);
    pin->queued_at = pin->touched_at;
    ff_list_append(&pin->pins->left, &pin->node);
}

/* Notes which pins' segments have left the log since it was last looked. */
static void sort_out(struct pins *pins, const struct segment *retained, uint64_t tail)
{
    struct ff_list *node = pins->in_log.next;

    while (node != &pins->in_log) {
        struct pin *pin = FF_CONTAINER(node, struct pin, node);

        node = node->next;
        if (pin->segment == retained || pin->segment->first_byte >= tail)
            continue;
        pin->has_left = true;
        pins->left_bytes += segment_size(pin->segment);
        queue(pin);
    }
}

/* All that hold this segment: the last of them frees the pin. */
static void evict_all(struct pin *pin, const struct pin_evictor *evictor)
{
    uint32_t count = 0;

    for (struct ff_list *node = pin->holds.next; node != &pin->holds; node = node->next)
        count++;
    while (count-- > 0)
        evictor->evict(evictor->arg, FF_CONTAINER(pin->holds.next, struct pin_hold, node)->owner);
}

/* The segment whose connections have been idle longest goes; its octets. */
static uint64_t evict_one(struct pins *pins, const struct pin_evictor *evictor)
{
    for (;;) {
        struct pin *pin = FF_CONTAINER(pins->left.next, struct pin, node);
        uint64_t bytes = segment_size(pin->segment);

        if (pin->touched_at == pin->queued_at) {
            evict_all(pin, evictor);
            return bytes;
        }
        queue(pin); /* it was not idle: behind the others */
    }
}

void pins_enforce(struct pins *pins, struct pin_evictor *evictor, const struct segment *retained,
                  uint64_t tail, uint64_t max_bytes)
{
    uint64_t excess;

    sort_out(pins, retained, tail);
    if (pins->left_bytes && !ff_list_is_in(&pins->node))
        ff_list_append(&evictor->all, &pins->node);
    excess = pins->left_bytes > max_bytes ? pins->left_bytes - max_bytes : 0;
    for (uint64_t gone = 0; gone < excess;) /* the last one may free `pins`, if its link is gone */
        gone += evict_one(pins, evictor);
}

void pins_relieve(struct pin_evictor *evictor, uint64_t bytes)
{
    for (uint64_t gone = 0; gone < bytes && !ff_list_is_empty(&evictor->all);) {
        struct pins *pins = FF_CONTAINER(evictor->all.next, struct pins, node);

        ff_list_remove(&pins->node); /* the next time it is another log's turn */
        ff_list_append(&evictor->all, &pins->node);
        gone += evict_one(pins, evictor);
    }
}
