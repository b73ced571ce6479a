/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/recall.h"

#include <inttypes.h>

#include "broker/topic/history.h"
#include "broker/topic/past.h"
#include "broker/topic/router.h"
#include "protocol/message/msgpack.h"
#include "protocol/message/transcode.h"

enum { ENTRY_MOST = 96 /* octets of an entry beside its payload */ };

/* The messages after `from`, up to `to`, of a topic's log. */
struct range {
    const struct topic *topic;      /* NULL: nothing of it is kept */
    const struct log *log;          /* NULL: but for this: */
    const struct segment *retained; /* a retained message that comes before; NULL: there is none */
    enum log_kind kind;
    uint64_t oldest; /* nothing up to here is kept */
    uint64_t head;
    uint64_t from;
    uint64_t to;
    enum ff_encoding encoding; /* in which they are listed, */
    bool is_reverse;           /* and the newest first */
};

struct places {
    uint32_t count;
    struct place at[RECALL_LIMIT];
};

/* What is kept of a topic, wherever it stands. */
static void find_kept(struct router *router, struct ff_slice name, struct range *range)
{
    const struct topic *topic = router_find(router, name);
    const struct topic_log *source = topic ? past_source(topic, &range->kind) : NULL;

    range->oldest = range->head;
    if (!topic || !topic->epoch)
        return;
    range->topic = topic;
    if (source) {
        range->log = &source->log;
        range->oldest = history_oldest(topic, &source->log);
    }
    if (topic->has_retained && topic_retained(topic)->offset < range->oldest)
        range->retained = topic_retained(topic);
}

/* Behind its retained message comes what the window holds, whatever lies between. */
static bool begin_behind(struct range *range, uint64_t offset)
{
    uint64_t retained = range->retained ? range->retained->offset + 1 : UINT64_MAX;
    bool is_before = offset + 1 == retained && retained == range->oldest;

    if (!is_before)
        range->retained = NULL;
    range->from = offset > range->oldest ? offset : range->oldest;
    return offset >= range->oldest || is_before || offset == retained;
}

/* Before an offset there may be no more than the retained message. */
static bool end_before(struct range *range, uint64_t offset)
{
    uint64_t before = range->retained ? range->retained->offset : range->oldest;

    range->to = log_before(offset, 1);
    if (range->retained && range->to <= before)
        range->retained = NULL;
    if (range->to < range->from)
        range->from = range->to; /* nothing of the window */
    return range->to >= before || offset == 0;
}

/* Which of them are wanted. False: `since` is no place that there still is. */
static bool choose_range(const struct recall *what, uint64_t epoch, struct range *range)
{
    const struct ff_position *since = &what->since.position;

    range->from = range->oldest;
    range->to = range->head;
    if (!what->has_since)
        return true;
    if (!what->since.is_position) {
        uint64_t first = log_before(range->head, what->since.count);

        range->from = first > range->oldest ? first : range->oldest;
        if (range->head - range->oldest >= what->since.count)
            range->retained = NULL;
        return true;
    }
    if (since->epoch != epoch || since->offset > range->head)
        return false;
    return what->is_reverse ? end_before(range, since->offset) : begin_behind(range, since->offset);
}

/* The first `limit` messages of a range, those at its end where the newest come first. */
static void find_places(const struct range *range, uint32_t limit, struct places *places)
{
    struct log_view view;
    uint64_t from = range->from;
    struct place at;

    if (range->retained && (!range->is_reverse || range->to - from < limit))
        places->at[places->count++] = (struct place){range->retained, 0};
    if (!range->log)
        return;
    view = log_look(range->log);
    if (range->is_reverse && range->to - from > limit)
        from = range->to - limit;
    for (at = place_after(&view, from);
         places->count < limit && at.segment && place_offset(&at) <= range->to;
         place_next(&at, &view))
        if (!place_is_hole(&at))
            places->at[places->count++] = at;
}

static enum ff_err put_json(struct ff_buf *out, const struct ff_payload *payload,
                            const struct place *place)
{
    bool is_data = payload->kind == FF_PAYLOAD_BASE64;
    enum ff_err err = ff_buf_printf(out, is_data ? "{\"data\":\"" : "{\"message\":");

    if (!err)
        err = ff_buf_append(out, payload->bytes.at, payload->bytes.len);
    if (err)
        return err;
    return ff_buf_printf(out, "%s,\"offset\":%" PRIu64 ",\"time\":%" PRIu64 "}",
                         is_data ? "\"" : "", place_offset(place),
                         entry_wall_ms(place->segment, place->i));
}

static enum ff_err put_msgpack(struct ff_buf *out, const struct ff_payload *payload,
                               const struct place *place)
{
    static const char message[] = "\x83\xa7message";
    static const char offset[] = "\xa6offset";
    static const char time[] = "\xa4time";
    char rest[ENTRY_MOST];
    char *at = rest;
    enum ff_err err = ff_buf_append(out, message, sizeof(message) - 1);

    if (!err)
        err = ff_buf_append(out, payload->bytes.at, payload->bytes.len);
    if (err)
        return err;
    memcpy(at, offset, sizeof(offset) - 1);
    at = ff_msgpack_write_uint(at + sizeof(offset) - 1, place_offset(place));
    memcpy(at, time, sizeof(time) - 1);
    at = ff_msgpack_write_uint(at + sizeof(time) - 1, entry_wall_ms(place->segment, place->i));
    return ff_buf_append(out, rest, (size_t)(at - rest));
}

/* One entry. FF_ELIMIT: it does not fit. */
static enum ff_err put_entry(struct router *router, const struct range *range,
                             const struct place *place, bool is_first, struct ff_buf *out)
{
    enum ff_encoding encoding = range->encoding;
    struct ff_payload payload;
    enum ff_err err;

    (void)past_payload(range->topic,
                       place->segment == range->retained
                           ? (enum log_kind)range->topic->retained_kind
                           : range->kind,
                       place, &payload);
    err = ff_transcode(&payload, encoding, &router->payload_bufs[kind_of(encoding)]);
    if (err)
        return err;
    if (out->len + payload.bytes.len + ENTRY_MOST > out->max)
        return FF_ELIMIT;
    if (encoding == FF_MSGPACK)
        return put_msgpack(out, &payload, place);
    if (!is_first)
        err = ff_buf_append(out, ",", 1);
    return err ? err : put_json(out, &payload, place);
}

/* As many as fit: `*put`. */
static enum ff_err put_entries(struct router *router, const struct range *range,
                               const struct places *places, struct ff_buf *out, uint32_t *put)
{
    enum ff_err err = FF_OK;

    for (*put = 0; *put < places->count && !err; *put += !err)
        err = put_entry(router, range,
                        &places->at[range->is_reverse ? places->count - 1 - *put : *put], *put == 0,
                        out);
    if (err == FF_ELIMIT)
        err = *put ? FF_OK : FF_ETOOBIG;
    return err;
}

/* MessagePack says first how many there are, which is known at the end. */
static enum ff_err begin_array(struct ff_buf *out, enum ff_encoding encoding)
{
    static const char head[5] = {(char)0xdd};

    return encoding == FF_JSON ? ff_buf_append(out, "[", 1)
                               : ff_buf_append(out, head, sizeof(head));
}

static enum ff_err end_array(struct ff_buf *out, enum ff_encoding encoding, uint32_t count)
{
    if (encoding == FF_JSON)
        return ff_buf_append(out, "]", 1);
    ff_store_u32(out->data + 1, count);
    return FF_OK;
}

static enum ff_err write_list(struct router *router, const struct range *range, uint32_t limit,
                              struct ff_buf *out, bool *has_more)
{
    struct places places = {.count = 0};
    uint32_t put = 0;
    enum ff_err err = begin_array(out, range->encoding);

    if (range->topic)
        find_places(range, limit, &places);
    if (!err)
        err = put_entries(router, range, &places, out, &put);
    *has_more =
        put < places.count || (places.count == limit &&
                               range->to - range->from + (range->retained != NULL) > places.count);
    return err ? err : end_array(out, range->encoding, put);
}

enum ff_err recall_messages(struct router *router, struct ff_slice name, const struct recall *what,
                            struct ff_buf *out, struct recalled *recalled)
{
    struct ff_position at = registry_position(&router->registry, name);
    struct range range = {.topic = NULL,
                          .head = at.offset,
                          .encoding = what->encoding,
                          .is_reverse = what->is_reverse};

    FF_CHECK(what->limit > 0 && what->limit <= RECALL_LIMIT);
    *recalled = (struct recalled){.epoch = at.epoch};
    if (!at.epoch &&
        (registry_has(&router->registry, name) || !history_is_on(&router->registry, name)))
        return FF_ENONE;
    find_kept(router, name, &range);
    if (!choose_range(what, at.epoch, &range))
        return FF_EGONE;
    out->max = what->max_octets;
    return write_list(router, &range, what->limit, out, &recalled->has_more);
}
