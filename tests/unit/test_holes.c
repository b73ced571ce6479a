/* SPDX-License-Identifier: Apache-2.0 */
/* Holes among messages, and cursors that are put back to an offset. */
#include "broker/topic/rate.h"
#include "tests/support/lone_router.h"

enum { STEPS = 2000 };

static struct subscriber reader;
static uint64_t passed;        /* messages of the topic that the reader saw or was told of */
static uint64_t heard;         /* of them, as messages */
static uint64_t places[STEPS]; /* where the log's head was, by offset */

static void on_received(struct subscriber *who, const struct ff_message *m)
{
    (void)who;
    if (m->type == FF_TYPE_MESSAGE) {
        passed++;
        heard++;
        assert_int_equal(subscriber_number(&m->payload), (uint32_t)passed);
        return;
    }
    assert_int_equal(m->type, FF_TYPE_GAP);
    assert_true(ff_slice_is_equal(m->values[FF_FIELD_CAUSE].text, FF_SLICE("lost")));
    passed += m->values[FF_FIELD_SKIPPED].integer;
}

static void begin_reading(enum ff_encoding encoding)
{
    subscriber_init(&reader, 7, encoding);
    reader.received = on_received;
    passed = heard = 0;
}

static void publish(uint64_t number, uint64_t publisher)
{
    char text[5000];
    int len = snprintf(text, sizeof(text), "[%u,\"%0*d\"]", (unsigned)number,
                       (int)(number * 37 % 300 + (number % 97 == 0 ? 4500 : 0)), 0);
    struct publication p = {.topic = FF_SLICE("a/b"),
                            .payload = {FF_PAYLOAD_JSON, {text, (size_t)len}},
                            .publisher = publisher};
    struct receipt receipt;

    assert_int_equal(router_publish(&router, &p, &receipt), FF_OK);
}

static void lose(uint64_t count)
{
    struct hole hole = {.topic = FF_SLICE("a/b"), .cause = "lost", .count = count};

    assert_int_equal(router_publish_hole(&router, &hole), FF_OK);
}

/* Small ones, the largest that an entry counts, and leaps. */
static uint64_t size_of_hole(unsigned i)
{
    if (i % 3)
        return i;
    return i % 2 ? HOLE_MAX : UINT64_C(1) << 40;
}

static void end_turn(size_t room)
{
    router_mark_ready(&router);
    reader.room = room;
    subscriber_flush(&reader, &router);
    (void)router_trim(&router);
}

/* Whatever the reader's pace, and whoever published: holes are told in their place, once. */
static void read_past_holes(struct ff_slice name, enum ff_encoding encoding, bool no_echo)
{
    struct subscription s = {.owner = &reader, .no_echo = no_echo};
    uint64_t offset = 0;

    begin_reading(encoding);
    assert_int_equal(router_subscribe(&router, &s, name, kind_of(encoding)), FF_OK);
    for (unsigned i = 1; i < STEPS; i++) {
        if (i % 7 == 0) {
            lose(size_of_hole(i));
            offset += size_of_hole(i);
        } else {
            publish(++offset, 1);
        }
        end_turn(i % 11 == 0 ? 1 << 16 : i % 200);
        reader.is_blocked = false;
    }
    for (int i = 0; i < 100; i++) {
        end_turn(1 << 20);
        reader.is_blocked = false;
    }
    assert_int_equal(passed, offset);
    assert_int_equal(s.cursor.offset, offset);
    assert_true(heard > STEPS / 2);
    router_unsubscribe(&router, &s);
    subscriber_deinit(&reader);
}

static void a_hole_is_told_in_its_place(void **state)
{
    (void)state;
    read_past_holes(FF_SLICE("a/b"), FF_JSON, false);
    read_past_holes(FF_SLICE("a/b"), FF_MSGPACK, true);
    read_past_holes(FF_SLICE("a/+"), FF_JSON, true);
}

/* The oldest message there is, all that follow, one that is to come, one within a hole. */
static void a_cursor_finds_each_offset(void **state)
{
    struct subscription s = {.overflow = OVERFLOW_SKIP};
    struct cursor cursor;
    struct log_view view;
    uint64_t offset = 0;

    (void)state;
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a/b"), KIND_JSON), FF_OK);
    publish(++offset, 1); /* its topic is idle no more: it has a log */
    for (unsigned i = 1; offset < STEPS - 100; i++) {
        if (i % 50 == 0) {
            for (unsigned k = 0; k < 9; k++) /* before it, if it is in its midst */
                places[offset + k] = log_head_byte(s.link->log);
            lose(9);
            offset += 9;
        } else {
            places[offset] = log_head_byte(s.link->log);
            publish(++offset, 1);
        }
    }
    view = log_look(s.link->log);
    places[offset] = view.head_byte;
    for (uint64_t at = 1; at <= offset; at++) {
        assert_true(cursor_to_offset(&cursor, &view, at));
        assert_int_equal(cursor.byte, places[at]);
        assert_true(cursor.offset <= at && cursor.offset + 9 > at);
    }
    assert_false(cursor_to_offset(&cursor, &view, offset + 1));
    assert_int_equal(cursor.byte, view.head_byte);
    log_cut(s.link->log, &router.registry.limbo);
    view = log_look(s.link->log);
    assert_false(
        cursor_to_offset(&cursor, &view, 0)); /* message 1 has gone: what is left begins here */
    assert_int_equal(cursor.byte, view.first->first_byte);
    assert_int_equal(cursor.offset, view.first->offset);
    router_unsubscribe(&router, &s);
}

/* Who leaves, or changes its rate, is told of what it has not seen: of each message in a hole. */
static void a_hole_that_a_rate_held_back_is_counted(void **state)
{
    (void)state;
    for (int no_echo = 0; no_echo <= 1; no_echo++) {
        struct subscription s = {.no_echo = no_echo};

        assert_int_equal(rate_set(&router, &s, 0), FF_OK);
        assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a/b"), KIND_JSON), FF_OK);
        publish(1, 1);
        publish(2, 1);
        lose(9);
        assert_int_equal(rate_take_skipped(&s, 7, true), 2); /* the hole is kept, as the newest */
        assert_int_equal(rate_take_skipped(&s, 7, false), 9);
        router_unsubscribe(&router, &s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROUTER(a_hole_is_told_in_its_place),
        WITH_ROUTER(a_cursor_finds_each_offset),
        WITH_ROUTER(a_hole_that_a_rate_held_back_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
