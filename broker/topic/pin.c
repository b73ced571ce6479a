/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/pin.h"

#include "protocol/base/list.h"
#include "protocol/base/mem.h"

struct pins {
    struct ff_list list;
    uint64_t bytes;
    bool is_left; /* the link is gone: the last pin frees this */
};

struct pin {
    struct ff_list node;
    struct pins *pins;
    struct segment *segment;
    uint32_t count; /* connections */
};

static void free_unused(struct pins *pins)
{
    if (pins->is_left && ff_list_is_empty(&pins->list))
        ff_mem_free(pins);
}

void pins_leave(struct pins *pins)
{
    if (!pins)
        return;
    pins->is_left = true;
    free_unused(pins);
}

static struct pin *find(const struct pins *pins, const struct segment *segment)
{
    for (struct ff_list *node = pins->list.next; node != &pins->list; node = node->next) {
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
    ff_list_append(&pins->list, &pin->node);
    pins->bytes += segment->size;
    atomic_fetch_add_explicit(&segment->pin_count, 1, memory_order_relaxed);
    return pin;
}

enum ff_err pin_take(struct pins **pins, struct segment *segment, uint64_t max_bytes,
                     struct pin **pin)
{
    if (!*pins) {
        *pins = ff_mem_zalloc(sizeof(**pins));
        if (!*pins)
            return FF_ENOMEM;
        ff_list_init(&(*pins)->list);
    }
    *pin = find(*pins, segment);
    if (!*pin && (*pins)->bytes + segment->size > max_bytes)
        return FF_ELIMIT;
    if (!*pin)
        *pin = make(*pins, segment);
    if (!*pin)
        return FF_ENOMEM;
    (*pin)->count++;
    return FF_OK;
}

void pin_release(void *arg)
{
    struct pin *pin = arg;
    struct pins *pins = pin->pins;

    if (--pin->count > 0)
        return;
    pins->bytes -= pin->segment->size; /* not `used`: a pinned segment may still take frames */
    atomic_fetch_sub_explicit(&pin->segment->pin_count, 1, memory_order_release);
    ff_list_remove(&pin->node);
    ff_mem_free(pin);
    free_unused(pins);
}
