/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/past.h"

#include "broker/topic/publication.h"
#include "broker/topic/retained.h"
#include "broker/topic/router.h"

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

bool past_payload(const struct topic *topic, enum log_kind kind, const struct place *place,
                  struct ff_payload *payload)
{
    uint32_t from = segment_frame(place->segment, place->i);
    struct ff_slice frame = {(const char *)place->segment->bytes + from,
                             place_entry(place)->end - from};

    if (place_is_hole(place))
        return false;
    *payload = ff_delivery_payload(log_kinds[kind].encoding, frame, topic_name(topic),
                                   topic->epoch ? place_offset(place) : 0);
    return true;
}

/* The first frame that the window holds, and that is among the newest PAST_MOST octets. */
static struct place find_first(const struct topic *topic, const struct log *source,
                               const struct log_view *view)
{
    struct log_window window = history_window(topic, source);
    uint64_t least = log_before(view->head_byte, PAST_MOST);

    if (window.byte < least)
        window.byte = least;
    return place_after(view, view_window_offset(view, &window));
}

/* Behind the last hole: what came before one cannot be written again without it. */
static void skip_holes(struct place *place, const struct log_view *view)
{
    struct place at = *place;

    while (at.segment) {
        bool is_hole = place_is_hole(&at);

        place_next(&at, view);
        if (is_hole)
            *place = at;
    }
}

/* A message as it is written again. */
struct again {
    struct ff_delivery delivery;
    struct log_stamp stamp;
    size_t size;
};

/* False: there is no memory for it. */
static bool render_again(struct router *router, struct topic *topic, enum log_kind from,
                         const struct place *place, enum log_kind kind, struct again *again)
{
    const struct entry *entry = place_entry(place);
    uint64_t offset = topic->epoch ? place_offset(place) : 0;

    again->delivery = (struct ff_delivery){.topic = topic_name(topic), .offset = offset};
    again->stamp = (struct log_stamp){.publisher = entry_publisher(entry),
                                      .wall_ms = entry_wall_ms(place->segment, place->i),
                                      .tick = entry->tick};
    (void)past_payload(topic, from, place, &again->delivery.payload);
    if (publication_render(router, &again->delivery.payload, kind))
        return false;
    again->size = log_kinds[kind].measure(&again->delivery);
    router->rewritten += again->size;
    return true;
}

/* One message. False: there is no room for it. */
static bool write_again(struct router *router, struct topic *topic, enum log_kind from,
                        const struct place *place, struct log *log, enum log_kind kind)
{
    struct again again;

    if (!render_again(router, topic, from, place, kind, &again) ||
        log_reserve(log, &router->registry.limbo, again.size))
        return false;
    log_kinds[kind].write(log_reserved(log), &again.delivery, again.size);
    log_commit(log, &router->registry.limbo, &again.stamp);
    return true;
}

/* An empty log becomes what it would be, had it been there. */
static void fill(struct router *router, struct topic *topic, struct topic_log *log,
                 enum log_kind kind, const struct topic_log *source, enum log_kind from)
{
    struct log_view view = log_look(&source->log);
    struct place place = find_first(topic, &source->log, &view);

    skip_holes(&place, &view);
    if (!place.segment)
        return;
    log_init(&log->log, place.segment->offset + segment_passed(place.segment, place.i));
    log_keep(&log->log, &router->registry.limbo, topic->epoch, history_octets(topic));
    while (place.segment && write_again(router, topic, from, &place, &log->log, kind))
        place_next(&place, &view);
    if (place.segment) { /* where memory was short it begins where it would without a past */
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

bool past_get_retained(struct router *router, struct topic *topic, enum log_kind kind)
{
    struct place place = {topic_retained(topic), 0};
    struct limbo *limbo = &router->registry.limbo;
    struct topic_log *log = past_get_log(router, topic, kind);
    struct again again;

    if (!log || log_retained(&log->log))
        return log;
    if (!retained_may_copy(&router->registry, segment_size(place.segment)) ||
        !render_again(router, topic, (enum log_kind)topic->retained_kind, &place, kind, &again) ||
        log_reserve_retained(&log->log, limbo, again.size))
        return false;
    log_kinds[kind].write(log->log.retaining->bytes, &again.delivery, again.size);
    log_retain(&log->log, limbo, place.segment->offset, again.size, &again.stamp);
    return true;
}
