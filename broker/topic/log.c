/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - segments and what is in them. The owner appends and cuts; a sequence lock
 * lets other workers take a view whose tail, head and offset belong together.
 */
#include "broker/topic/log.h"

#include <string.h>

enum {
    LARGEST_SHIFT = 8, /* 64 KiB */
    KEPT_SEGMENTS =
        8, /* at least so many segments make a window: what it holds in excess is less */
    KEPT_SMALLEST = 1024,
};

void log_init(struct log *log, uint64_t offset)
{
    *log = (struct log){.head_byte = LOG_BEGIN, .offset = offset, .segment_most = SEGMENT_LARGEST};
}

/* From this segment on they count as history's. */
static void count_from(struct log *log, struct limbo *limbo, struct segment *segment)
{
    log->counted = segment;
    for (; segment; segment = atomic_load_explicit(&segment->next, memory_order_relaxed))
        limbo->kept_bytes += segment_size(segment);
}

/* The oldest that counted does not any more. */
static void uncount_oldest(struct log *log, struct limbo *limbo)
{
    limbo->kept_bytes -= segment_size(log->counted);
    log->counted = atomic_load_explicit(&log->counted->next, memory_order_relaxed);
}

void log_keep(struct log *log, struct limbo *limbo, uint64_t epoch, uint64_t octets)
{
    uint64_t most = octets / KEPT_SEGMENTS;

    most = most < KEPT_SMALLEST ? (uint64_t)KEPT_SMALLEST : most;
    log->segment_most = most < SEGMENT_LARGEST ? (uint32_t)most : SEGMENT_LARGEST;
    atomic_store_explicit(&log->epoch, epoch, memory_order_relaxed);
    if (!log->is_kept)
        count_from(log, limbo, atomic_load_explicit(&log->first, memory_order_relaxed));
    log->is_kept = true;
}

void log_begin_epoch(struct log *log, uint64_t epoch, uint64_t after)
{
    atomic_store_explicit(&log->epoch, epoch, memory_order_relaxed);
    atomic_store_explicit(&log->begun, after, memory_order_relaxed);
}

/*
 * A sequence lock (Boehm, MSPC 2012): who saw anything of a change that was
 * under way sees another version afterwards. Release and acquire on each word
 * stand for the fences, which ThreadSanitizer does not follow. The version wraps:
 * a look would have to last for 2^31 changes to be deceived.
 */
static void change_begin(struct log *log)
{
    uint32_t version = atomic_load_explicit(&log->version, memory_order_relaxed);

    atomic_store_explicit(&log->version, version + 1, memory_order_relaxed);
}

static void change_end(struct log *log)
{
    uint32_t version = atomic_load_explicit(&log->version, memory_order_relaxed);

    atomic_store_explicit(&log->version, version + 1, memory_order_release);
}

struct log_view log_look(const struct log *log)
{
    struct log_view view;
    uint32_t version;

    do {
        version = atomic_load_explicit(&log->version, memory_order_acquire);
        view.first = atomic_load(&log->first); /* seq_cst: see worker/qsbr.h */
        view.last = atomic_load_explicit(&log->last, memory_order_acquire);
        view.head_byte = atomic_load_explicit(&log->head_byte, memory_order_acquire);
        view.offset = atomic_load_explicit(&log->offset, memory_order_acquire);
    } while (version % 2 || atomic_load_explicit(&log->version, memory_order_relaxed) != version);
    return view;
}

/* The owner's own view of its pointers. */
static struct segment *first_of(const struct log *log)
{
    return atomic_load_explicit(&log->first, memory_order_relaxed);
}

static struct segment *last_of(const struct log *log)
{
    return atomic_load_explicit(&log->last, memory_order_relaxed);
}

static uint32_t count_of(const struct segment *segment)
{
    return atomic_load_explicit(&segment->count, memory_order_acquire);
}

/*
 * A log that has become empty begins its next burst with a segment that would
 * have held all of this one: one range and one send() for each reader. It shrinks
 * by half with each burst that used less than half.
 */
static void remember_burst(struct log *log)
{
    size_t need = sizeof(struct segment) + log->burst;
    uint8_t shift = 0;

    while (shift < LARGEST_SHIFT && (size_t)SEGMENT_SMALLEST << shift < need)
        shift++;
    if (shift < log->first_segment_shift)
        log->first_segment_shift--;
    else
        log->first_segment_shift = shift;
    log->burst = 0;
}

/* Frames that have a segment of their own say nothing about the others. */
static void count_burst(struct log *log, size_t size)
{
    if (size <= FRAME_OWN_SEGMENT && log->burst < SEGMENT_LARGEST)
        log->burst += (uint32_t)(size + sizeof(struct entry));
}

void log_cut(struct log *log, struct limbo *limbo)
{
    struct segment *segment = first_of(log);
    struct segment *next = atomic_load_explicit(&segment->next, memory_order_relaxed);

    ff_list_remove(&segment->live);
    segment->log = NULL;
    if (log->counted == segment)
        uncount_oldest(log, limbo);

    change_begin(log);
    atomic_store(&log->first, next); /* seq_cst: see worker/qsbr.h */
    if (!next)
        atomic_store_explicit(&log->last, NULL, memory_order_release);
    change_end(log);
    if (!next)
        remember_burst(log);
    limbo_retire(limbo, segment, log->is_shared);
}

void log_deinit(struct log *log, struct limbo *limbo)
{
    log_cancel(log, limbo);
    log_forget_retained(log, limbo);
    log_empty(log, limbo);
}

void log_empty(struct log *log, struct limbo *limbo)
{
    while (first_of(log))
        log_cut(log, limbo);
}

/* The first entry that ends, or has passed more messages, behind `value`; `count` at the end. */
static uint32_t search(const struct segment *segment, uint64_t value, bool by_passed)
{
    uint32_t low = 0;
    uint32_t high = count_of(segment);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct entry *entry = segment_entry(segment, middle);

        if ((by_passed ? entry->passed : entry->end) <= value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t segment_find(const struct segment *segment, uint32_t at)
{
    return search(segment, at, false);
}

uint32_t segment_find_message(const struct segment *segment, uint64_t passed)
{
    return search(segment, passed, true);
}

/* Half of what an entry's `wall` counts is 24 days: the next message comes before the other is up.
 */
static bool is_of_age(const struct segment *segment)
{
    uint32_t count = count_of(segment);

    return count && segment_entry(segment, count - 1)->wall > UINT32_MAX / 2;
}

static bool has_room(const struct segment *segment, size_t size)
{
    size_t entries = sizeof(struct entry) * (count_of(segment) + 1UL);

    return segment->used + size + entries <= segment->size;
}

/* What a segment with one frame needs. */
static size_t least_block(size_t size)
{
    return sizeof(struct segment) + size + sizeof(struct entry) + 3;
}

/* The block that a new segment takes. */
static size_t choose_block(const struct log *log, size_t size)
{
    size_t least = least_block(size);
    size_t block = (size_t)SEGMENT_SMALLEST << log->first_segment_shift;
    const struct segment *last = last_of(log);

    if (size > FRAME_OWN_SEGMENT)
        return pool_round(least & ~(size_t)3);
    /* Twice the last one, but not twice one that a large frame has to itself. */
    if (last && last->size <= SEGMENT_LARGEST && block <= segment_size(last) &&
        last->used <= FRAME_OWN_SEGMENT * count_of(last))
        block = segment_size(last) * 2;
    if (block > log->segment_most)
        block = log->segment_most;
    while (block < least)
        block *= 2;
    return block < SEGMENT_LARGEST ? pool_round(block) : SEGMENT_LARGEST;
}

/* A segment in a block of this size, where there is room for it. FF_OK, FF_ENOMEM. */
static enum ff_err make(struct limbo *limbo, size_t block, struct segment **segment)
{
    if (block - sizeof(**segment) > UINT32_MAX || !limbo_has_room(limbo, block))
        return FF_ENOMEM;
    *segment = pool_alloc(limbo->pool, block);
    if (!*segment)
        return FF_ENOMEM;
    **segment = (struct segment){.size = (uint32_t)((block - sizeof(**segment)) & ~(size_t)3)};
    return FF_OK;
}

static enum ff_err reserve(struct log *log, struct limbo *limbo, size_t size, bool is_alone)
{
    struct segment *segment = last_of(log);
    size_t block;
    enum ff_err err;

    FF_CHECK(!log->reserved);
    log->reserved_size = (uint32_t)size;
    if (segment && !is_alone && size <= FRAME_OWN_SEGMENT && has_room(segment, size) &&
        !is_of_age(segment))
        return FF_OK;
    block = choose_block(log, size);
    if (size <= FRAME_OWN_SEGMENT && !limbo_has_room(limbo, block))
        block = pool_round(least_block(size)); /* a small one may be had where memory is short */
    if (size > UINT32_MAX)
        return FF_ENOMEM;
    err = make(limbo, block, &segment);
    if (err)
        return err;
    segment->first_byte = log_head_byte(log);
    segment->offset = atomic_load_explicit(&log->offset, memory_order_relaxed);
    log->reserved = segment;
    return FF_OK;
}

enum ff_err log_reserve(struct log *log, struct limbo *limbo, size_t size)
{
    return reserve(log, limbo, size, false);
}

/* In a segment of its own, so that what a segment has passed fits into 32 bits. */
enum ff_err log_reserve_hole(struct log *log, struct limbo *limbo, size_t size)
{
    return reserve(log, limbo, size, true);
}

enum ff_err log_reserve_retained(struct log *log, struct limbo *limbo, size_t size)
{
    FF_CHECK(!log->retaining && size <= UINT32_MAX);
    return make(limbo, pool_round(least_block(size) & ~(size_t)3), &log->retaining);
}

void log_cancel(struct log *log, struct limbo *limbo)
{
    if (log->reserved)
        pool_free(limbo->pool, log->reserved, segment_size(log->reserved));
    if (log->retaining)
        pool_free(limbo->pool, log->retaining, segment_size(log->retaining));
    log->reserved = log->retaining = NULL;
}

uint8_t *log_reserved(const struct log *log)
{
    struct segment *segment = log->reserved ? log->reserved : last_of(log);

    return segment->bytes + segment->used;
}

/* Frame and entry are there before anybody is told. */
static void write_entry(struct segment *segment, size_t size, const struct log_stamp *stamp,
                        uint32_t messages)
{
    uint64_t wall = stamp->wall_ms > segment->wall_ms ? stamp->wall_ms - segment->wall_ms : 0;
    uint32_t count = count_of(segment);
    struct entry *entry;
    void *at = segment->bytes + segment->size - sizeof(*entry) * (count + 1UL);

    FF_CHECK(has_room(segment, size));
    entry = at;
    messages += segment_passed(segment, count);
    segment->used += (uint32_t)size;
    *entry = (struct entry){
        .end = segment->used,
        .passed = messages,
        .publisher = {(uint32_t)stamp->publisher, (uint32_t)(stamp->publisher >> 32)},
        .tick = stamp->tick,
        .wall = wall < UINT32_MAX ? (uint32_t)wall : UINT32_MAX};
    atomic_store_explicit(&segment->count, count + 1, memory_order_release);
}

/* What was reserved becomes the newest segment of all that its worker has. */
static void admit_reserved(struct log *log, struct limbo *limbo, uint32_t tick)
{
    log->reserved->log = log;
    log->reserved->begun_at = tick;
    ff_list_append(&limbo->live, &log->reserved->live);
    if (log->counted)
        limbo->kept_bytes += segment_size(log->reserved);
}

/* `leap`: offsets that are passed over before it, which has a segment of its own then. */
static void append(struct log *log, struct limbo *limbo, const struct log_stamp *stamp,
                   uint32_t messages, uint64_t leap)
{
    size_t size = log->reserved_size;
    struct segment *last = last_of(log);
    uint64_t offset = atomic_load_explicit(&log->offset, memory_order_relaxed);

    count_burst(log, size);
    if (log->reserved) {
        log->reserved->wall_ms = stamp->wall_ms;
        log->reserved->offset += leap;
    }
    write_entry(log->reserved ? log->reserved : last, size, stamp, messages);
    if (log->reserved)
        admit_reserved(log, limbo, stamp->tick);
    change_begin(log);
    if (log->reserved) {
        if (last)
            atomic_store_explicit(&last->next, log->reserved, memory_order_release);
        else
            atomic_store_explicit(&log->first, log->reserved, memory_order_release);
        atomic_store_explicit(&log->last, log->reserved, memory_order_release);
        log->reserved = NULL;
    }
    atomic_store_explicit(&log->head_byte, log_head_byte(log) + size, memory_order_release);
    atomic_store_explicit(&log->offset, offset + leap + messages, memory_order_release);
    change_end(log);
    if (log->is_kept && !log->counted)
        count_from(log, limbo, last_of(log));
}

void log_retain(struct log *log, struct limbo *limbo, uint64_t before, size_t size,
                const struct log_stamp *stamp)
{
    struct segment *segment = log->retaining;

    log->retaining = NULL;
    log_forget_retained(log, limbo);
    segment->offset = before;
    segment->wall_ms = stamp->wall_ms;
    segment->begun_at = stamp->tick;
    write_entry(segment, size, stamp, 1);
    limbo->retained_bytes += segment_size(segment);
    atomic_store(&log->retained, segment); /* seq_cst: see worker/qsbr.h */
}

void log_forget_retained(struct log *log, struct limbo *limbo)
{
    struct segment *segment = log_retained(log);

    if (!segment)
        return;
    limbo->retained_bytes -= segment_size(segment);
    atomic_store(&log->retained, NULL);
    limbo_retire(limbo, segment, log->is_shared);
}

void log_commit(struct log *log, struct limbo *limbo, const struct log_stamp *stamp)
{
    if (log->retaining) {
        memcpy(log->retaining->bytes, log_reserved(log), log->reserved_size);
        log_retain(log, limbo, atomic_load_explicit(&log->offset, memory_order_relaxed),
                   log->reserved_size, stamp);
    }
    append(log, limbo, stamp, 1, 0);
}

void log_commit_hole(struct log *log, struct limbo *limbo, uint64_t count,
                     const struct log_stamp *stamp)
{
    struct log_stamp of_hole = *stamp;

    FF_CHECK(log->reserved && count);
    of_hole.publisher = LOG_HOLE;
    if (count <= HOLE_MAX)
        append(log, limbo, &of_hole, (uint32_t)count, 0);
    else
        append(log, limbo, &of_hole, 1, count - 1);
}

/* Was it published before this tick? Both are younger than 497 days. */
static bool is_older(uint32_t published, uint32_t tick)
{
    return (int32_t)(published - tick) < 0;
}

/* Does the window hold the last of a segment's first `count` frames? There is one. */
static bool holds_last(const struct log_window *window, const struct segment *segment,
                       uint32_t count)
{
    const struct entry *last = segment_entry(segment, count - 1);

    return segment->first_byte + segment_frame(segment, count - 1) >= window->byte &&
           segment->offset + last->passed > window->offset && !is_older(last->tick, window->tick);
}

bool log_trim(struct log *log, struct limbo *limbo, uint64_t needed, uint64_t limit,
              const struct log_window *window)
{
    uint64_t head = log_head_byte(log);
    const struct segment *first;
    bool is_moved = false;

    while ((first = first_of(log))) {
        uint64_t segment_end = first->first_byte + first->used;
        bool is_newest = segment_end == head;

        if (window && holds_last(window, first, count_of(first)))
            break;
        if (segment_end > needed && (is_newest || segment_end > limit))
            break;
        log_cut(log, limbo);
        is_moved = true;
    }
    while (window && log->counted && !holds_last(window, log->counted, count_of(log->counted)))
        uncount_oldest(log, limbo); /* a reader needs it, history does not */
    return is_moved;
}

/* Of a segment's first `count` frames, those that the window does not hold. */
static uint32_t count_outside(const struct log_window *window, const struct segment *segment,
                              uint32_t count)
{
    uint32_t low = 0;

    while (low < count) {
        uint32_t middle = low + (count - low) / 2;

        if (holds_last(window, segment, middle + 1))
            count = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint64_t view_window_offset(const struct log_view *view, const struct log_window *window)
{
    const struct segment *segment = view->first;
    uint32_t count;
    uint32_t outside;

    while (segment) {
        count = segment == view->last ? segment_find(segment, view_end(view, segment))
                                      : count_of(segment);
        if (holds_last(window, segment, count))
            break;
        segment = segment == view->last
                      ? NULL
                      : atomic_load_explicit(&segment->next, memory_order_acquire);
    }
    if (!segment)
        return view->offset;
    outside = count_outside(window, segment, count);
    return segment->offset + segment_passed(segment, outside);
}

uint64_t view_newest(const struct log_view *view, uint64_t *offset)
{
    const struct segment *last = view->last;
    uint32_t i = segment_find(last, (uint32_t)(view->head_byte - last->first_byte) - 1);

    *offset = last->offset + segment_passed(last, i);
    return last->first_byte + segment_frame(last, i);
}
