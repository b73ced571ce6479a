/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/subscriber.h"

#include <stdlib.h>

#include "protocol/message/decode.h"
#include "protocol/message/msgpack.h"

enum { ROOM = 1 << 16, PARTS = 16, RANGE_ROOM = 8192 };

void subscriber_init(struct subscriber *who, uint64_t tag, enum ff_encoding encoding)
{
    *who = (struct subscriber){.tag = tag, .encoding = encoding};
    ff_list_init(&who->pending);
    ff_reader_init(&who->reader, FF_ROLE_CLIENT, 1 << 20);
    ff_reader_inflate(&who->reader, 15, false);
}

void subscriber_deinit(struct subscriber *who)
{
    assert_true(ff_list_is_empty(&who->pending));
    ff_mem_free(who->copied);
    if (who->pinned.len)
        pin_release(who->pin);
    ff_reader_deinit(&who->reader);
}

bool subscriber_ready(void *arg, struct subscription *s)
{
    struct subscriber *who = s->owner;

    (void)arg;
    link_set_pending(s, &who->pending);
    return !who->is_blocked;
}

uint64_t subscriber_number(const struct ff_payload *payload)
{
    struct ff_msgpack m = ff_msgpack_of(payload->bytes);
    struct ff_msgpack_item item;

    if (payload->kind == FF_PAYLOAD_JSON)
        return strtoull(payload->bytes.at + (payload->bytes.at[0] == '"' ? 2 : 1), NULL, 10);
    assert_int_equal(ff_msgpack_take_item(&m, &item), FF_OK);
    assert_int_equal(ff_msgpack_take_item(&m, &item), FF_OK);
    return item.u;
}

static void on_message(struct subscriber *who, const struct ff_reader_event *event)
{
    static _Thread_local struct ff_message m;
    struct ff_decoder d = {.encoding = who->encoding, .sender = FF_BROKER};
    const char *reason;
    size_t fault_at;

    assert_int_equal(ff_decode_begin(&d, (struct ff_slice){(char *)event->bytes, event->len},
                                     &reason, &fault_at),
                     FF_OK);
    assert_true(ff_decode_next(&d, &m));
    assert_int_equal(m.error, FF_ERROR_NONE);
    who->received(who, &m);
}

static void receive(struct subscriber *who, const uint8_t *bytes, size_t len)
{
    static _Thread_local uint8_t copy[ROOM * 4];
    size_t at = 0;

    if (len)
        memcpy(copy, bytes, len);
    while (at < len) {
        struct ff_reader_event event;
        size_t used;

        ff_reader_next(&who->reader, copy + at, len - at, &used, &event);
        assert_int_not_equal(event.kind, FF_READER_FAIL);
        at += used;
        if (event.kind == FF_READER_MESSAGE)
            on_message(who, &event);
        ff_reader_release(&who->reader);
    }
}

/* What a full socket left goes first. True when it is all gone. */
static bool send_rest(struct subscriber *who)
{
    size_t range = who->copied_len - who->copied_at;

    range = range < who->room ? range : who->room;
    receive(who, who->copied + who->copied_at, range);
    who->copied_at += range;
    who->room -= range;
    if (who->copied_at < who->copied_len)
        return false;
    ff_mem_free(who->copied);
    who->copied = NULL;
    who->copied_len = who->copied_at = 0;
    while (who->pinned.len && who->room) {
        range = who->pinned.len < who->room ? who->pinned.len : who->room;
        range = range < ROOM ? range : ROOM;
        receive(who, who->pinned.bytes, range);
        who->pinned.bytes += range;
        who->pinned.len -= range;
        who->room -= range;
        if (who->pinned.len == 0)
            pin_release(who->pin);
    }
    return who->pinned.len == 0;
}

static void keep_cut(struct subscriber *who, struct subscription *s, const struct cut_unit *unit)
{
    size_t len = unit->gap.len + (unit->cut.len <= FRAME_OWN_SEGMENT ? unit->cut.len : 0);

    if (len) {
        who->copied = ff_mem_alloc(len);
        assert_non_null(who->copied);
        if (unit->gap.len)
            memcpy(who->copied, unit->gap.at, unit->gap.len);
        if (len > unit->gap.len)
            memcpy(who->copied + unit->gap.len, unit->cut.bytes, unit->cut.len);
        who->copied_len = len;
    }
    if (unit->cut.len > FRAME_OWN_SEGMENT) {
        assert_int_equal(pin_take(&s->link->pins, unit->cut.segment, who, 0, &who->pin), FF_OK);
        who->pinned = unit->cut;
    }
}

static void note_at_head(struct subscription *s)
{
    link_set_pending(s, NULL);
    link_move(s, ZONE_ACTIVE);
}

/* One sendmsg, as the session makes it. True if there may be more. */
static bool flush_once(struct subscriber *who, struct router *router)
{
    static _Thread_local struct flush_range ranges[PARTS];
    static _Thread_local char gaps[PARTS][GAP_MAX];
    struct iovec iov[PLAN_IOVECS];
    struct plan plan = {.iov = iov, .max_bytes = ROOM};
    struct ff_list *node = who->pending.next;
    size_t taken;
    size_t left;
    int count = 0;

    if (!send_rest(who)) {
        who->is_blocked = true;
        return false;
    }
    while (node != &who->pending && count < PARTS && plan.count <= PLAN_IOVECS - 2) {
        struct subscription *s = FF_CONTAINER(node, struct subscription, pending);

        node = node->next;
        ranges[count].gap = gaps[count];
        router_touch(router, s);
        ranges[count].view = log_look(s->link->log);
        if (subscription_is_too_slow(s, &ranges[count].view,
                                     registry_max_buffered(&router->registry, s->link->topic))) {
            who->overrun(s);
            return true; /* nothing was sent of this plan */
        }
        if (!subscription_collect(s, who->tag, &plan, RANGE_ROOM, &ranges[count]))
            note_at_head(s);
        else if (who->chosen)
            who->chosen(&ranges[count++]);
        else
            count++;
    }
    taken = left = plan.bytes < who->room ? plan.bytes : who->room;
    who->room -= taken;
    for (int i = 0; i < plan.count && left; i++) {
        size_t range = plan.iov[i].iov_len < left ? plan.iov[i].iov_len : left;

        receive(who, plan.iov[i].iov_base, range);
        left -= range;
    }
    left = taken;
    for (int i = 0; i < count && left; i++) {
        struct subscription *s = ranges[i].subscription;
        struct cut_unit unit = {.gap = {NULL, 0}};
        bool is_at_head = subscription_taken(&ranges[i], who->tag, &left, &unit);

        if (unit.gap.len || unit.cut.len)
            keep_cut(who, s, &unit);
        if (is_at_head)
            note_at_head(s);
    }
    who->is_blocked = taken < plan.bytes;
    return taken && !who->is_blocked;
}

void subscriber_flush(struct subscriber *who, struct router *router)
{
    while (flush_once(who, router) && !ff_list_is_empty(&who->pending))
        continue;
}
