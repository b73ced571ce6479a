/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/subscriber.h"

#include <stdlib.h>

#include "protocol/message/decode.h"
#include "protocol/message/msgpack.h"

enum { ROOM = 1 << 16, PARTS = 16, PART_ROOM = 8192 };

void subscriber_init(struct subscriber *who, uint64_t tag, enum ff_encoding encoding)
{
    *who = (struct subscriber){.tag = tag, .encoding = encoding};
    ff_list_init(&who->pending);
    ff_reader_init(&who->reader, FF_ROLE_CLIENT, 1 << 20);
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
        return strtoull(payload->bytes.at + 1, NULL, 10);
    assert_int_equal(ff_msgpack_take_item(&m, &item), FF_OK);
    assert_int_equal(ff_msgpack_take_item(&m, &item), FF_OK);
    return item.u;
}

static void on_message(struct subscriber *who, const struct ff_reader_event *event)
{
    static _Thread_local struct ff_message m;
    struct ff_decoder d = {.encoding = who->encoding, .sender = FF_BROKER};
    const char *reason;

    assert_int_equal(
        ff_decode_begin(&d, (struct ff_slice){(char *)event->bytes, event->len}, &reason), FF_OK);
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
    size_t part = who->copied_len - who->copied_at;

    part = part < who->room ? part : who->room;
    receive(who, who->copied + who->copied_at, part);
    who->copied_at += part;
    who->room -= part;
    if (who->copied_at < who->copied_len)
        return false;
    ff_mem_free(who->copied);
    who->copied = NULL;
    who->copied_len = who->copied_at = 0;
    while (who->pinned.len && who->room) {
        part = who->pinned.len < who->room ? who->pinned.len : who->room;
        part = part < ROOM ? part : ROOM;
        receive(who, who->pinned.bytes, part);
        who->pinned.bytes += part;
        who->pinned.len -= part;
        who->room -= part;
        if (who->pinned.len == 0)
            pin_release(who->pin);
    }
    return who->pinned.len == 0;
}

static void keep_rest(struct subscriber *who, struct subscription *s, const struct part_rest *rest)
{
    size_t len = rest->gap.len + (rest->cut.len <= FRAME_OWN_SEGMENT ? rest->cut.len : 0);

    if (len) {
        who->copied = ff_mem_alloc(len);
        assert_non_null(who->copied);
        if (rest->gap.len)
            memcpy(who->copied, rest->gap.at, rest->gap.len);
        if (len > rest->gap.len)
            memcpy(who->copied + rest->gap.len, rest->cut.bytes, rest->cut.len);
        who->copied_len = len;
    }
    if (rest->cut.len > FRAME_OWN_SEGMENT) {
        assert_int_equal(pin_take(&s->link->pins, rest->cut.segment, who, 0, &who->pin), FF_OK);
        who->pinned = rest->cut;
    }
}

static void note_at_head(struct subscription *s)
{
    link_set_pending(s, NULL);
    link_move(s, PART_ACTIVE);
}

/* One sendmsg, as the session makes it. True if there may be more. */
static bool flush_once(struct subscriber *who, struct router *router)
{
    static _Thread_local struct part parts[PARTS];
    static _Thread_local char gaps[PARTS][GAP_MAX];
    struct iovec ranges[PLAN_IOVECS];
    struct plan plan = {.iov = ranges, .max_bytes = ROOM};
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
        parts[count].gap = gaps[count];
        router_touch(router, s);
        parts[count].view = log_look(s->link->log);
        if (s->overflow == OVERFLOW_CLOSE && !s->rate &&
            cursor_is_behind_tail(&s->cursor, &parts[count].view)) {
            who->overrun(s);
            return true; /* nothing was sent of this plan */
        }
        if (!subscription_collect(s, who->tag, &plan, PART_ROOM, &parts[count]))
            note_at_head(s);
        else if (who->chosen)
            who->chosen(&parts[count++]);
        else
            count++;
    }
    taken = left = plan.bytes < who->room ? plan.bytes : who->room;
    who->room -= taken;
    for (int i = 0; i < plan.count && left; i++) {
        size_t part = plan.iov[i].iov_len < left ? plan.iov[i].iov_len : left;

        receive(who, plan.iov[i].iov_base, part);
        left -= part;
    }
    left = taken;
    for (int i = 0; i < count && left; i++) {
        struct subscription *s = parts[i].subscription;
        struct part_rest rest = {.gap = {NULL, 0}};
        bool is_at_head = subscription_taken(&parts[i], who->tag, &left, &rest);

        if (rest.gap.len || rest.cut.len)
            keep_rest(who, s, &rest);
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
