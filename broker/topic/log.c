/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/log.h"

#include "protocol/base/mem.h"

/* Pinned bytes of a log; it lives as long as the log or one of its pins. */
struct pins {
    struct pool *pool;
    uint64_t bytes;
    uint64_t max_bytes;
    uint32_t refs;
};

static void pins_unref(struct pins *pins)
{
    if (pins && --pins->refs == 0)
        ff_mem_free(pins);
}

void log_init(struct log *log, struct pool *pool, uint64_t number, uint32_t max_buffered,
              uint64_t max_pinned)
{
    *log = (struct log){
        .pool = pool, .number = number, .max_buffered = max_buffered, .max_pinned = max_pinned};
}

static size_t block_size(const struct segment *segment)
{
    return sizeof(*segment) + segment->size;
}

static void free_first(struct log *log)
{
    struct segment *segment = log->first;

    log->first = segment->next;
    if (!log->first) {
        /* A busy log begins its next burst with a large segment: one range, not eight. */
        uint8_t busy = 0;

        while (busy < 8 && (size_t)SEGMENT_SMALLEST << busy < block_size(segment))
            busy++;
        log->warm = segment->used > segment->size / 2 || busy > log->warm + 1 ? busy
                    : log->warm                                               ? log->warm - 1
                                                                              : 0;
        log->last = NULL;
    }
    segment->is_trimmed = true;
    if (segment->pin_count == 0)
        pool_free(log->pool, segment, block_size(segment));
}

void log_deinit(struct log *log)
{
    while (log->first)
        free_first(log);
    pins_unref(log->pins);
    log->pins = NULL;
}

uint32_t segment_find(const struct segment *segment, uint32_t offset)
{
    uint32_t low = 0;
    uint32_t high = segment->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (segment_entry(segment, middle)->end <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_room(const struct segment *segment, size_t size)
{
    size_t entries = sizeof(struct entry) * (segment->count + 1UL);

    return segment->used + size + entries <= segment->size;
}

/* The block that a new segment takes. */
static size_t choose_block(const struct log *log, size_t size)
{
    size_t least = sizeof(struct segment) + size + sizeof(struct entry) + 3;
    size_t block = (size_t)SEGMENT_SMALLEST << log->warm;

    if (size > FRAME_OWN_SEGMENT)
        return pool_round(least & ~(size_t)3);
    /* Twice the last one, but not twice one that a large frame has to itself. */
    if (log->last && log->last->size <= SEGMENT_LARGEST && block <= block_size(log->last) &&
        log->last->used <= FRAME_OWN_SEGMENT * log->last->count)
        block = block_size(log->last) * 2;
    while (block < least)
        block *= 2;
    return block < SEGMENT_LARGEST ? pool_round(block) : SEGMENT_LARGEST;
}

enum ff_err log_reserve(struct log *log, size_t size)
{
    struct segment *segment = log->last;
    size_t block;

    if (segment && size <= FRAME_OWN_SEGMENT && has_room(segment, size))
        return FF_OK;
    block = choose_block(log, size);
    if (block - sizeof(*segment) > UINT32_MAX)
        return FF_ENOMEM;
    segment = pool_alloc(log->pool, block);
    if (!segment)
        return FF_ENOMEM;
    *segment = (struct segment){.base = log->head,
                                .number = log->number,
                                .size = (uint32_t)((block - sizeof(*segment)) & ~(size_t)3)};
    if (log->last)
        log->last->next = segment;
    else
        log->first = segment;
    log->last = segment;
    return FF_OK;
}

void log_cancel(struct log *log)
{
    struct segment *last = log->last;
    struct segment **at = &log->first;

    if (!last || last->count > 0)
        return;
    log->last = NULL;
    while (*at != last) {
        log->last = *at;
        at = &(*at)->next;
    }
    *at = NULL;
    pool_free(log->pool, last, block_size(last));
}

uint8_t *log_reserved(const struct log *log)
{
    return log->last->bytes + log->last->used;
}

void log_commit(struct log *log, size_t size, uint32_t tag, uint32_t age)
{
    struct segment *segment = log->last;
    struct entry *entry;
    void *at = segment->bytes + segment->size - sizeof(*entry) * (segment->count + 1UL);

    FF_CHECK(has_room(segment, size));
    entry = at;
    segment->used += (uint32_t)size;
    *entry = (struct entry){.end = segment->used, .tag = tag, .age = age};
    segment->count++;
    log->head += size;
    log->number++;
}

bool log_trim(struct log *log, uint64_t needed, uint64_t keep)
{
    uint64_t limit = log->head > keep ? log->head - keep : 0;
    bool is_moved = false;

    while (log->first) {
        uint64_t segment_end = log->first->base + log->first->used;
        bool is_newest = segment_end == log->head;

        if (segment_end > needed && (is_newest || segment_end > limit))
            break;
        free_first(log);
        is_moved = true;
    }
    return is_moved;
}

uint64_t log_newest(const struct log *log, uint64_t *number)
{
    const struct segment *segment = log->last;

    *number = segment->number + segment->count - 1;
    return segment->base + segment_frame(segment, segment->count - 1);
}

enum ff_err segment_pin(struct log *log, struct segment *segment)
{
    if (!log->pins) {
        log->pins = ff_mem_zalloc(sizeof(*log->pins));
        if (!log->pins)
            return FF_ENOMEM;
        log->pins->pool = log->pool;
        log->pins->max_bytes = log->max_pinned;
        log->pins->refs = 1;
    }
    if (segment->pin_count == 0) {
        if (log->pins->bytes + segment->size > log->pins->max_bytes)
            return FF_ELIMIT;
        log->pins->bytes += segment->size;
        log->pins->refs++;
        segment->pins = log->pins;
    }
    segment->pin_count++;
    return FF_OK;
}

void segment_unpin(void *arg)
{
    struct segment *segment = arg;
    struct pins *pins = segment->pins;

    FF_CHECK(segment->pin_count > 0);
    if (--segment->pin_count > 0)
        return;
    pins->bytes -= segment->size; /* not `used`: a pinned segment may still take small frames */
    segment->pins = NULL;
    if (segment->is_trimmed)
        pool_free(pins->pool, segment, block_size(segment));
    pins_unref(pins);
}
