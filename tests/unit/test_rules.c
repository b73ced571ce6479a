/* SPDX-License-Identifier: Apache-2.0 */
/* What a subscription asked for and changes its mind about, while its socket is full. */
#include "tests/support/hand.h"
#include "tests/support/test.h"

enum { SIZE = 30000, ENOUGH = 200 /* messages: more than sockets and max_buffered hold */ };

static struct hand_client reader;
static struct hand_client writer;

static int begin(void **state)
{
    (void)state;
    hand_begin(1);
    hand_connect(&reader, 0, "/ws", "fanfare.v1.json");
    hand_connect(&writer, 0, "/ws", "fanfare.v1.json");
    return 0;
}

static int end(void **state)
{
    hand_disconnect(&reader);
    hand_disconnect(&writer);
    return hand_end(state);
}

static void turns(void)
{
    for (int i = 0; i < 4; i++)
        hand_turn(0);
}

static void ask(struct hand_client *client, const char *text)
{
    hand_put_text(client, text);
    turns();
}

static void publish(int count)
{
    static char text[SIZE + 64];
    int len = snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"t\",\"message\":\"");

    memset(text + len, 'x', SIZE);
    memcpy(text + len + SIZE, "\"}", 3);
    while (count-- > 0)
        ask(&writer, text);
}

/* The reader's subscription, whose socket is full from here on. */
static struct subscription *stall(const char *subscribe)
{
    struct subscription *s;

    ask(&reader, subscribe);
    s = session_find(reader.session, FF_SLICE("t"));
    assert_non_null(s);
    for (int i = 0; !reader.session->conn.is_blocked; i++) {
        assert_true(i < ENOUGH);
        publish(1);
    }
    return s;
}

static bool is_open(void)
{
    return conn_is_open(&reader.session->conn);
}

static void who_is_overrun_is_closed_where_it_asked_for_that(void **state)
{
    struct subscription *s = stall("{\"type\":5,\"id\":1,\"topic\":\"t\",\"overflow\":\"close\"}");

    (void)state;
    assert_int_equal(s->zone, ZONE_WAITING);
    assert_int_equal(s->link->close_rule_waiting, 1);
    publish(ENOUGH);
    assert_false(is_open());
}

/* The newest is enough for it: there is nothing that it could be overrun by. */
static void who_got_a_rate_meanwhile_is_not(void **state)
{
    struct subscription *s = stall("{\"type\":5,\"id\":1,\"topic\":\"t\",\"overflow\":\"close\"}");

    (void)state;
    ask(&reader, "{\"type\":5,\"id\":2,\"topic\":\"t\",\"rate\":1}");
    assert_int_equal(s->zone, ZONE_TIMED);
    assert_int_equal(s->link->close_rule_waiting, 0);
    publish(ENOUGH);
    assert_true(is_open());
    ask(&reader, "{\"type\":5,\"id\":3,\"topic\":\"t\",\"rate\":-1}");
    assert_int_equal(s->zone, ZONE_WAITING);
    assert_int_equal(s->link->close_rule_waiting, 1);
    publish(ENOUGH);
    assert_false(is_open());
}

static void the_rule_may_come_after_the_rate(void **state)
{
    struct subscription *s = stall("{\"type\":5,\"id\":1,\"topic\":\"t\"}");

    (void)state;
    ask(&reader, "{\"type\":5,\"id\":2,\"topic\":\"t\",\"rate\":1}");
    ask(&reader, "{\"type\":5,\"id\":3,\"topic\":\"t\",\"overflow\":\"close\"}");
    assert_int_equal(s->link->close_rule_waiting, 0);
    publish(ENOUGH);
    assert_true(is_open());
}

/* What a link counts is what is there: one that is held, as while its ACK is awaited, and rated. */
static void who_leaves_while_it_is_held_counts_for_nothing(void **state)
{
    struct subscription *s;
    struct link *link;

    (void)state;
    ask(&writer, "{\"type\":5,\"id\":1,\"topic\":\"t\"}");
    ask(&reader, "{\"type\":5,\"id\":1,\"topic\":\"t\",\"overflow\":\"close\",\"rate\":1}");
    s = session_find(reader.session, FF_SLICE("t"));
    link = s->link;
    router_hold(s);
    assert_int_equal(s->zone, ZONE_WAITING);
    assert_int_equal(link->close_rule_waiting, 0);
    ask(&reader, "{\"type\":6,\"id\":2,\"topic\":\"t\"}");
    assert_int_equal(link_count(link), 1);
    assert_int_equal(link->close_rule_waiting, 0);
}

/* Subscriptions whose backlog was looked at. */
static uint64_t looked_at;

uint64_t __real_subscription_behind(const struct subscription *s);
uint64_t __wrap_subscription_behind(const struct subscription *s);

uint64_t __wrap_subscription_behind(const struct subscription *s)
{
    looked_at++;
    return __real_subscription_behind(s);
}

/* What a HEARTBEAT's answer tells is added up over all that is behind: once, not for each of them.
 */
static void a_frame_of_heartbeats_adds_up_the_backlog_once(void **state)
{
    enum { TOPICS = 500, BEATS = 1000 };
    static char frame[BEATS * 32];
    size_t len = 0;
    uint64_t before;

    (void)state;
    (void)stall("{\"type\":5,\"id\":1,\"topic\":\"t\"}");
    for (int i = 0; i < TOPICS; i++) {
        char text[64];

        (void)snprintf(text, sizeof(text), "{\"type\":5,\"topic\":\"t/%d\"}", i);
        ask(&reader, text);
        (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"t/%d\",\"message\":1}", i);
        ask(&writer, text);
    }
    assert_int_equal(reader.session->subscriptions.count, TOPICS + 1);
    for (int i = 0; i < BEATS; i++)
        len += (size_t)snprintf(frame + len, sizeof(frame) - len, "%s{\"type\":1,\"id\":%d}",
                                i ? "," : "[", i);
    frame[len++] = ']';
    looked_at = 0;
    before = hand_workers[0].net.turns;
    hand_put(&reader, 0x81, frame, len);
    turns();
    assert_true(looked_at > TOPICS);
    assert_true(looked_at <= (TOPICS + 1) * (hand_workers[0].net.turns - before));
}

#define WITH_BOTH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_BOTH(who_is_overrun_is_closed_where_it_asked_for_that),
        WITH_BOTH(who_got_a_rate_meanwhile_is_not),
        WITH_BOTH(the_rule_may_come_after_the_rate),
        WITH_BOTH(who_leaves_while_it_is_held_counts_for_nothing),
        WITH_BOTH(a_frame_of_heartbeats_adds_up_the_backlog_once),
    };

    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
