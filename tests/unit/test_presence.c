/* SPDX-License-Identifier: Apache-2.0 */
/* Who is there, and what is told of it: to a reader that believes nothing but what it is told. */
#include <stdlib.h>

#include "broker/engine/member.h"
#include "broker/engine/presence.h"
#include "broker/topic/bulletin.h"
#include "tests/support/lone_router.h"
#include "tests/support/test.h"

enum { READERS = 4, IDS = 12000, LIST_MOST = 1 << 20, PLENTY = 1 << 24 };

struct reader {
    struct subscriber socket;
    struct subscription s;
    bool knows[IDS];
    uint32_t known;
    uint32_t count;  /* as it was told last */
    uint32_t frames; /* since when the test last looked, */
    uint32_t joined; /* members in them */
    uint32_t left;
    bool asks; /* it was told a number only: what it knows is no list any more */
    uint64_t last_left;
};

static struct presence *presence;
static struct reader readers[READERS];
static char bulletin_text[FF_TOPIC_MAX];

static struct ff_slice bulletin(void)
{
    return bulletin_name(FF_SLICE("room"), bulletin_text);
}

/* The next session in an array, as JSON or MessagePack has it; 0: there is none. */
static uint64_t next_session(struct ff_slice *array)
{
    static const char name[] = "session";

    for (size_t i = 0; i + sizeof(name) + 16 <= array->len; i++) {
        const char *at = array->at + i;
        char id[17] = "";

        if (memcmp(at, name, sizeof(name) - 1) != 0)
            continue;
        at += sizeof(name) - 1;
        at += *at == '"' ? 3 : 1; /* ":" and a quote, or the head of a string of 16 */
        memcpy(id, at, 16);
        array->len -= (size_t)(at + 16 - array->at);
        array->at = at + 16;
        return strtoull(id, NULL, 16);
    }
    return 0;
}

static void on_received(struct subscriber *socket, const struct ff_message *m)
{
    struct reader *reader = FF_CONTAINER(socket, struct reader, socket);
    struct ff_slice joined = ff_message_text(m, FF_FIELD_JOINED);
    struct ff_slice left = ff_message_text(m, FF_FIELD_LEFT);
    uint64_t id;

    assert_int_equal(m->type, FF_TYPE_PRESENCE);
    assert_true(ff_slice_is_equal(ff_message_text(m, FF_FIELD_TOPIC), FF_SLICE("room")));
    assert_true(ff_message_has(m, FF_FIELD_COUNT));
    reader->count = (uint32_t)m->values[FF_FIELD_COUNT].integer;
    reader->frames++;
    if (!joined.at) {
        assert_null(left.at);
        reader->asks = true;
        return;
    }
    while ((id = next_session(&left))) {
        reader->left++;
        reader->last_left = id;
        if (!reader->asks && !reader->knows[id])
            fail_msg("%u left, who was not there", (unsigned)id);
        reader->known -= reader->knows[id];
        reader->knows[id] = false;
    }
    while ((id = next_session(&joined))) {
        reader->joined++;
        if (!reader->asks && reader->knows[id])
            fail_msg("%u came, who was there already", (unsigned)id);
        reader->known += !reader->knows[id];
        reader->knows[id] = true;
    }
}

static void on_overrun(struct subscription *s)
{
    (void)s;
    fail();
}

static int begin(void **state)
{
    if (lone_router_set_up(state))
        return -1;
    now_ms = 1000;
    wheel_init(&wheel, &now_ms);
    presence = presence_new(&router);
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.count = 0};
        subscriber_init(&readers[i].socket, i + 1, i % 2 ? FF_MSGPACK : FF_JSON);
        readers[i].socket.received = on_received;
        readers[i].socket.overrun = on_overrun;
        readers[i].socket.room = PLENTY;
    }
    return presence ? 0 : -1;
}

/* The end of a turn: who has something to read reads it. */
static void turn(void)
{
    router_mark_ready(&router);
    for (int i = 0; i < READERS; i++)
        subscriber_flush(&readers[i].socket, &router);
    (void)router_trim(&router);
}

static void pass(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 10) {
        now_ms += ms - i < 10 ? ms - i : 10;
        wheel_advance(&wheel);
        turn();
    }
}

static void stop_reading(struct reader *reader)
{
    if (reader->s.state != SUBSCRIPTION_DETACHED)
        router_unsubscribe(&router, &reader->s);
    turn();
}

static int end(void **state)
{
    for (int i = 0; i < READERS; i++) {
        stop_reading(&readers[i]);
        subscriber_deinit(&readers[i].socket);
    }
    presence_free(presence);
    return lone_router_tear_down(state);
}

static uint64_t list(uint64_t who, enum ff_encoding encoding, struct engine_roll *roll)
{
    presence_list(presence, FF_SLICE("room"), who,
                  (struct engine_listing){.encoding = encoding, .max_octets = LIST_MOST}, roll);
    return roll->count;
}

/* Its answer has all who are there, and nothing else is told to it before. */
static void start_reading(struct reader *reader)
{
    struct engine_roll roll;
    uint64_t id;

    list(0, reader->socket.encoding, &roll);
    assert_int_equal(roll.err, FF_OK);
    memset(reader->knows, 0, sizeof(reader->knows));
    reader->known = 0;
    reader->count = roll.count;
    reader->asks = roll.count > PRESENCE_LISTED;
    while ((id = next_session(&roll.items))) {
        assert_false(reader->knows[id]);
        reader->knows[id] = true;
        reader->known++;
    }
    reader->s = (struct subscription){.owner = &reader->socket};
    assert_int_equal(
        router_subscribe(&router, &reader->s, bulletin(), kind_of(reader->socket.encoding)), FF_OK);
    reader->frames = reader->joined = reader->left = 0;
}

static void look(struct reader *reader, uint32_t frames, uint32_t joined, uint32_t left)
{
    assert_int_equal(reader->frames, frames);
    assert_int_equal(reader->joined, joined);
    assert_int_equal(reader->left, left);
    reader->frames = reader->joined = reader->left = 0;
}

/* The serial is the session's number, unless the test says otherwise. */
static enum ff_err join_as(uint64_t serial, uint64_t session, const char *user)
{
    struct engine_member who = {serial, session, ff_slice_of(user)};

    return presence_join(presence, FF_SLICE("room"), &who);
}

static void join(uint64_t session)
{
    assert_int_equal(join_as(session, session, ""), FF_OK);
}

static void whoever_comes_within_100_ms_is_told_in_one_frame(void **state)
{
    (void)state;
    for (int i = 0; i < READERS; i++)
        start_reading(&readers[i]);
    join(1);
    turn();
    for (int i = 0; i < READERS; i++)
        look(&readers[i], 1, 1, 0);
    for (uint64_t i = 2; i < 200; i++)
        join(i);
    pass(90);
    look(&readers[0], 0, 0, 0);
    pass(20);
    for (int i = 0; i < READERS; i++)
        look(&readers[i], 1, 198, 0);
    for (uint64_t i = 1; i < 200; i++)
        presence_leave(presence, i);
    pass(PRESENCE_LEAVE_MS - 10);
    look(&readers[0], 0, 0, 0);
    pass(200);
    for (int i = 0; i < READERS; i++) {
        look(&readers[i], 1, 0, 199);
        assert_int_equal(readers[i].known, 0);
    }
}

/* What is told is appended earlier where somebody begins to listen, but not told earlier. */
static void
who_begins_to_listen_neither_hears_what_it_was_answered_nor_hurries_the_others(void **state)
{
    (void)state;
    start_reading(&readers[0]);
    join(1);
    turn();
    look(&readers[0], 1, 1, 0);
    for (uint64_t i = 2; i < 5; i++) {
        join(i);
        start_reading(&readers[i - 1]);
        assert_int_equal(readers[i - 1].known, i);
    }
    pass(90);
    look(&readers[0], 0, 0, 0);
    pass(20);
    look(&readers[0], 3, 3, 0);
    look(&readers[1], 2, 2, 0);
    look(&readers[3], 0, 0, 0);
}

/* One log holds each frame once, whoever reads it. */
static void a_frame_is_written_once_for_all_readers(void **state)
{
    struct topic *topic;

    (void)state;
    start_reading(&readers[0]);
    start_reading(&readers[2]);
    join(1);
    topic = router_find(&router, bulletin());
    assert_non_null(topic);
    assert_int_equal(topic->offset, 1);
    assert_null(topic->logs[KIND_MSGPACK]);
    turn();
    look(&readers[2], 1, 1, 0);
}

static void who_comes_back_in_time_has_never_left(void **state)
{
    static const struct {
        const char *user;
        uint64_t session;
        const char *back_user;
        uint64_t back_session;
        uint64_t after_ms;
        bool is_back;
        const char *why;
    } cases[] = {
        {"anna", 1, "anna", 2, 1990, true, "the same user in another session"},
        {"anna", 1, "anna", 1, 10, true, "the same user in the same session"},
        {"", 1, "", 1, 1990, true, "the same session without a user"},
        {"anna", 1, "anna", 2, 2100, false, "the same user, too late"},
        {"", 1, "", 2, 10, false, "another session without a user"},
        {"anna", 1, "ann", 2, 10, false, "another user"},
        {"anna", 1, "", 1, 10, false, "the same session, but not as the user"},
        {"", 1, "anna", 1, 10, false, "the same session, but as a user now"},
    };

    (void)state;
    start_reading(&readers[0]);
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        print_message("    %s\n", cases[i].why);
        assert_int_equal(join_as(1, cases[i].session, cases[i].user), FF_OK);
        pass(200);
        look(&readers[0], 1, 1, 0);
        presence_leave(presence, 1);
        pass(cases[i].after_ms);
        readers[0].asks = true; /* who comes again before it left is in its list twice */
        assert_int_equal(join_as(2, cases[i].back_session, cases[i].back_user), FF_OK);
        pass(PRESENCE_LEAVE_MS + 200);
        assert_int_equal(readers[0].joined, !cases[i].is_back);
        assert_int_equal(readers[0].left, !cases[i].is_back);
        assert_int_equal(readers[0].count, 1);
        presence_leave(presence, 1); /* of what is over: it does nothing */
        presence_leave(presence, 2);
        pass(PRESENCE_LEAVE_MS + 200);
        /* It goes as it came, under the name that others know. */
        assert_int_equal(readers[0].last_left,
                         cases[i].is_back ? cases[i].session : cases[i].back_session);
        assert_int_equal(readers[0].count, 0);
        readers[0].frames = readers[0].joined = readers[0].left = 0;
    }
    readers[0].asks = false;
}

static void who_is_there_twice_leaves_twice(void **state)
{
    (void)state;
    start_reading(&readers[0]);
    assert_int_equal(join_as(1, 1, "anna"), FF_OK);
    assert_int_equal(join_as(2, 2, "anna"), FF_OK);
    pass(200);
    look(&readers[0], 2, 2, 0);
    presence_leave(presence, 1);
    pass(PRESENCE_LEAVE_MS + 200);
    look(&readers[0], 1, 0, 1);
    assert_true(readers[0].knows[2]);
    presence_leave(presence, 2);
    assert_int_equal(join_as(3, 3, "anna"), FF_OK); /* it takes one place, not two */
    assert_int_equal(join_as(4, 4, "anna"), FF_OK);
    pass(PRESENCE_LEAVE_MS + 200);
    look(&readers[0], 1, 1, 0);
    assert_int_equal(readers[0].count, 2);
}

static void a_list_has_who_asks_and_the_first_thousand(void **state)
{
    struct engine_roll roll;
    uint64_t id;
    uint32_t seen = 0;

    (void)state;
    for (uint64_t i = 1; i <= 1500; i++)
        join(i);
    for (int encoding = FF_JSON; encoding <= FF_MSGPACK; encoding++) {
        assert_int_equal(list(1400, (enum ff_encoding)encoding, &roll), 1500);
        assert_int_equal(next_session(&roll.items), 1400);
        for (seen = 1; (id = next_session(&roll.items)); seen++)
            assert_int_equal(id, seen);
        assert_int_equal(seen, PRESENCE_LISTED);
    }
    list(0, FF_JSON, &roll);
    assert_int_equal(next_session(&roll.items), 1);
    presence_list(presence, FF_SLICE("room"), 7,
                  (struct engine_listing){.encoding = FF_JSON, .max_octets = 4096}, &roll);
    assert_int_equal(roll.count, 1500);
    assert_true(roll.items.len <= 4096 && roll.items.len > 3000);
    assert_int_equal(next_session(&roll.items), 7);
    presence_list(presence, FF_SLICE("other"), 7,
                  (struct engine_listing){.encoding = FF_JSON, .max_octets = 4096}, &roll);
    assert_int_equal(roll.count, 0);
    assert_true(ff_slice_is_equal(roll.items, FF_SLICE("[]")));
}

/* What users are called is theirs to say. */
static void users_are_written_as_each_encoding_wants_it(void **state)
{
    char user[MEMBER_USER_MAX + 1];
    struct engine_roll roll;

    (void)state;
    memset(user, '\x01', MEMBER_USER_MAX);
    user[MEMBER_USER_MAX] = '\0';
    assert_int_equal(join_as(1, 1, "\"a\\\n\xc3\xa9"), FF_OK);
    list(0, FF_JSON, &roll);
    assert_true(ff_slice_is_equal(
        roll.items,
        FF_SLICE("[{\"session\":\"0000000000000001\",\"user\":\"\\\"a\\\\\\n\xc3\xa9\"}]")));
    list(0, FF_MSGPACK, &roll);
    assert_true(
        ff_slice_is_equal(roll.items, FF_SLICE("\x91\x82\xa7session\xb0"
                                               "0000000000000001\xa4user\xa6\"a\\\n\xc3\xa9")));
    for (uint64_t i = 2; i < 400; i++)
        assert_int_equal(join_as(i, i, user), FF_OK);
    list(0, FF_JSON, &roll);
    assert_int_equal(roll.err, FF_OK);
}

/* Ten thousand come at once, and go: what is told of it does not grow with their square. */
static void many_are_told_by_their_number_once_a_second(void **state)
{
    enum { MANY = 10000 };

    (void)state;
    for (int i = 0; i < READERS; i++)
        start_reading(&readers[i]);
    for (uint64_t i = 1; i <= MANY; i++) {
        join(i);
        if (i % 100 == 0)
            pass(10);
    }
    pass(3000);
    for (int i = 0; i < READERS; i++) {
        assert_true(readers[i].joined <= PRESENCE_LARGE);
        assert_true(readers[i].asks);
        assert_int_equal(readers[i].count, MANY);
        assert_true(readers[i].frames <= 2 + 2 + 4); /* two when they were few, four seconds */
        readers[i].frames = readers[i].joined = 0;
    }
    for (uint64_t i = 901; i <= MANY; i++)
        presence_leave(presence, i);
    pass(4000);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].count, 900); /* which is not less than 900 */
        assert_true(readers[i].frames <= 3);
    }
    presence_leave(presence, 900);
    pass(PRESENCE_LEAVE_MS + 1100);
    for (int i = 0; i < READERS; i++) {
        stop_reading(&readers[i]); /* its client asks, now that all can be listed */
        start_reading(&readers[i]);
        assert_int_equal(readers[i].known, 899);
        assert_false(readers[i].asks);
    }
    join(5000);
    pass(200);
    for (int i = 0; i < READERS; i++)
        look(&readers[i], 1, 1, 0);
}

/* Whose socket is full for long is told how many there are, and asks. */
static void who_missed_some_is_told_the_number(void **state)
{
    (void)state;
    router.registry.limits.max_buffered = 4096;
    start_reading(&readers[0]);
    start_reading(&readers[1]);
    readers[0].socket.room = readers[1].socket.room = 0;
    for (uint64_t i = 1; i <= 800; i++) {
        join(i);
        pass(110);
    }
    readers[0].socket.room = readers[1].socket.room = PLENTY;
    for (int i = 0; i < 2; i++) {
        readers[i].socket.is_blocked = false;
        subscriber_flush(&readers[i].socket, &router);
        assert_true(readers[i].asks);
        assert_int_equal(readers[i].count, 800);
        assert_true(readers[i].frames > 1 && readers[i].frames < 400);
    }
}

static void nothing_is_kept_of_an_empty_room_and_no_topic_for_one_that_nobody_reads(void **state)
{
    int64_t before = (int64_t)ff_mem_live_blocks();

    (void)state;
    join(1);
    join(2);
    pass(1000);
    assert_null(router_find(&router, bulletin()));
    assert_int_equal(router.registry.topic_tally.own, 0);
    presence_leave(presence, 1);
    pass(1000);
    presence_leave(presence, 2);
    pass(PRESENCE_LEAVE_MS + 100);
    assert_int_equal(presence_count(presence), 0);
    assert_int_equal(wheel.count, 0);
    assert_int_equal((int64_t)ff_mem_live_blocks(), before);
}

static void where_memory_is_tight_no_leave_waits(void **state)
{
    struct ff_budget budget;

    (void)state;
    join(1);
    join(2);
    ff_budget_init(&budget, 1);
    router.registry.limbo.budget = &budget;
    presence_leave(presence, 1);
    router.registry.limbo.budget = NULL;
    assert_int_equal(presence_count(presence), 1);
    presence_leave(presence, 2);
    assert_int_equal(presence_count(presence), 1);
}

static void create_use_and_free(void)
{
    struct presence *all = presence;
    struct engine_roll roll;

    presence = presence_new(&router);
    for (uint64_t i = 1; presence && i < 5; i++) {
        uint64_t before = presence_count(presence);

        if (join_as(i, i, "u"))
            assert_int_equal(presence_count(presence), before);
        presence_list(presence, FF_SLICE("room"), i,
                      (struct engine_listing){.encoding = FF_JSON, .max_octets = 4096}, &roll);
        pass(110);
        presence_leave(presence, i);
    }
    if (presence)
        pass(PRESENCE_LEAVE_MS + 500);
    presence_free(presence);
    presence = all;
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    for_each_failing_allocation(create_use_and_free);
}

/* The same with a reader: what could not be told is told later. */
static void what_there_was_no_memory_for_is_told_later(void **state)
{
    struct dice dice = {5};
    uint64_t joined = 0;

    (void)state;
    for (int i = 0; i < READERS; i++)
        start_reading(&readers[i]);
    for (uint64_t i = 1; i < 800; i++) {
        enum ff_err err;

        ff_mem_fail_often(2, dice_roll(&dice));
        err = join_as(i, i, "");
        ff_mem_fail_often(0, 0);
        assert_true(!err || err == FF_ENOMEM);
        joined += !err;
        if (i % 3 == 0)
            presence_leave(presence, i);
        ff_mem_fail_often(2, dice_roll(&dice));
        for (int k = 0; k < 3; k++) {
            now_ms += 40;
            wheel_advance(&wheel);
        }
        ff_mem_fail_often(0, 0);
        turn();
    }
    pass(PRESENCE_LEAVE_MS + 1000);
    assert_true(joined > 100 && joined < 799);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].known, presence_count(presence));
        assert_int_equal(readers[i].count, presence_count(presence));
    }
}

/*
 * Readers that come and go at any time: what they were answered, with all that they are told
 * since, is at any time who was there when the last frame was written.
 */
static void whatever_happens_every_reader_knows_who_is_there(void **state)
{
    enum { STEPS = 20000, MOST = 300 };
    static uint64_t serials[MOST]; /* of sessions that are there; 0: it is not */
    struct dice dice = {1234};
    uint64_t serial = 0;

    (void)state;
    memset(serials, 0, sizeof(serials));
    for (int i = 0; i < STEPS; i++) {
        uint32_t id = 1 + dice_below(&dice, MOST - 1);
        struct reader *reader = &readers[dice_below(&dice, READERS)];
        uint32_t what = dice_below(&dice, 100);

        if (what < 60 && serials[id]) {
            presence_leave(presence, serials[id]);
            serials[id] = 0;
        } else if (what < 60) {
            serials[id] = ++serial;
            assert_int_equal(join_as(serial, id, ""), FF_OK);
        } else if (what < 70) {
            stop_reading(reader);
            start_reading(reader);
        } else if (what < 75) {
            pass(1 + dice_below(&dice, 3000));
        } else if (what < 90) {
            pass(1 + dice_below(&dice, 30));
        }
    }
    for (int i = 0; i < READERS; i++)
        if (readers[i].s.state == SUBSCRIPTION_DETACHED)
            start_reading(&readers[i]);
    pass(PRESENCE_LEAVE_MS + 1000);
    for (int i = 0; i < READERS; i++) {
        assert_false(readers[i].asks);
        for (uint32_t id = 1; id < MOST; id++)
            assert_int_equal(readers[i].knows[id], serials[id] != 0);
        assert_int_equal(readers[i].count, presence_count(presence));
    }
}

#define WITH_PRESENCE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PRESENCE(whoever_comes_within_100_ms_is_told_in_one_frame),
        WITH_PRESENCE(
            who_begins_to_listen_neither_hears_what_it_was_answered_nor_hurries_the_others),
        WITH_PRESENCE(a_frame_is_written_once_for_all_readers),
        WITH_PRESENCE(who_comes_back_in_time_has_never_left),
        WITH_PRESENCE(who_is_there_twice_leaves_twice),
        WITH_PRESENCE(a_list_has_who_asks_and_the_first_thousand),
        WITH_PRESENCE(users_are_written_as_each_encoding_wants_it),
        WITH_PRESENCE(many_are_told_by_their_number_once_a_second),
        WITH_PRESENCE(who_missed_some_is_told_the_number),
        WITH_PRESENCE(nothing_is_kept_of_an_empty_room_and_no_topic_for_one_that_nobody_reads),
        WITH_PRESENCE(where_memory_is_tight_no_leave_waits),
        WITH_PRESENCE(running_out_of_memory_leaks_nothing),
        WITH_PRESENCE(what_there_was_no_memory_for_is_told_later),
        WITH_PRESENCE(whatever_happens_every_reader_knows_who_is_there),
    };

    return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
