/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/past.h"

#include "broker/topic/publication.h"
#include "broker/topic/router.h"

/* Frames of a log that are written again: the next one. */
struct walk {
    struct log_view view;
    const struct segment *segment; /* NULL: the end */
    uint32_t i;
};

static uint32_t frames_of(const struct segment *segment)
{
    return atomic_load_explicit(&segment->count, memory_order_relaxed);
}

const struct topic_log *past_source(const struct topic *topic, enum log_kind *kind)
{
    static const enum log_kind encodings[] = {KIND_JSON, KIND_MSGPACK};
    const struct topic_log *best = NULL;
    uint64_t best_offset = UINT64_MAX;

    for (size_t i = 0; i < FF_COUNT(encodings); i++) {
        const struct topic_log *log = topic->logs[encodings[i]];
        struct log_view view;

        if (!log)
            continue;
        view = log_look(&log->log);
        if (!view.first || view.first->offset >= best_offset)
            continue;
        best = log;
        best_offset = view.first->offset;
        *kind = encodings[i];
    }
    return best;
}

bool past_payload(const struct topic *topic, enum log_kind kind, const struct segment *segment,
                  uint32_t i, struct ff_payload *payload)
{
    const struct entry *entry = segment_entry(segment, i);
    uint32_t from = segment_frame(segment, i);
    struct ff_slice frame = {(const char *)segment->bytes + from, entry->end - from};

    if (entry_publisher(entry) == LOG_HOLE)
        return false;
    *payload = ff_delivery_payload(log_kinds[kind].encoding, frame, topic_name(topic),
                                   segment->offset + entry->passed);
    return true;
}

/* At the first frame that the window holds, and that is among the newest PAST_MOST octets. */
static struct walk begin(const struct topic *topic, const struct topic_log *source)
{
    struct log_window window = history_window(topic, &source->log);
    struct walk walk = {.view = log_look(&source->log)};
    uint64_t least = log_before(walk.view.head_byte, PAST_MOST);
    struct cursor cursor;

    if (window.byte < least)
        window.byte = least;
    (void)cursor_to_offset(&cursor, &walk.view, view_window_offset(&walk.view, &window));
    if (cursor.byte == walk.view.head_byte)
        return walk;
    walk.segment = cursor.segment;
    walk.i = segment_find(cursor.segment, (uint32_t)(cursor.byte - cursor.segment->first_byte));
    return walk;
}

static void step(struct walk *walk)
{
    if (++walk->i < frames_of(walk->segment))
        return;
    walk->segment = walk->segment == walk->view.last
                        ? NULL
                        : atomic_load_explicit(&walk->segment->next, memory_order_relaxed);
    walk->i = 0;
}

/* Behind the last hole: what came before one cannot be written again without it. */
static void skip_holes(struct walk *walk)
{
    struct walk at = *walk;

    while (at.segment) {
        bool is_hole = entry_publisher(segment_entry(at.segment, at.i)) == LOG_HOLE;

        step(&at);
        if (is_hole)
            *walk = at;
    }
}

/* All of it, or, where memory is short, as much as there is room for: false. */
static bool write_again(struct router *router, struct topic *topic, enum log_kind from,
                        struct walk walk, struct log *log, enum log_kind kind)
{
    for (; walk.segment; step(&walk)) {
        const struct entry *entry = segment_entry(walk.segment, walk.i);
        struct log_stamp stamp = {.publisher = entry_publisher(entry),
                                  .wall_ms = entry_wall_ms(walk.segment, walk.i),
                                  .tick = entry->tick};
        struct ff_delivery delivery = {.topic = topic_name(topic),
                                       .offset = walk.segment->offset + entry->passed};
        size_t size;

        (void)past_payload(topic, from, walk.segment, walk.i, &delivery.payload);
        if (publication_render(router, &delivery.payload, kind))
            return false;
        size = log_kinds[kind].measure(&delivery);
        router->rewritten += size;
        if (log_reserve(log, &router->registry.limbo, size))
            return false;
        log_kinds[kind].write(log_reserved(log), &delivery);
        log_commit(log, &router->registry.limbo, &stamp);
    }
    return true;
}

/* An empty log becomes what it would be, had it been there. */
static void fill(struct router *router, struct topic *topic, struct topic_log *log,
                 enum log_kind kind, const struct topic_log *source, enum log_kind from)
{
    struct walk walk = begin(topic, source);

    skip_holes(&walk);
    if (!walk.segment)
        return;
    log_init(&log->log, walk.segment->offset + segment_passed(walk.segment, walk.i));
    log_keep(&log->log, &router->registry.limbo, topic->epoch, history_octets(topic));
    if (!write_again(router, topic, from, walk, &log->log, kind)) { /* it begins where it would */
        log_deinit(&log->log, &router->registry.limbo);
        log_init(&log->log, topic->offset);
        log_keep(&log->log, &router->registry.limbo, topic->epoch, history_octets(topic));
    }
    log->link.active_needed = log_head_byte(&log->log);
}

struct topic_log *past_get_log(struct router *router, struct topic *topic, enum log_kind kind)
{
    struct topic_log *log = topic->logs[kind];
    const struct topic_log *source;
    enum log_kind from = KIND_JSON;

    if (log)
        return log;
    source = topic->epoch ? past_source(topic, &from) : NULL;
    log = registry_get_log(topic, kind);
    if (log && source)
        fill(router, topic, log, kind, source, from);
    return log;
}
