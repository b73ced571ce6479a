/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever ends a conversation in good order is told first what became of the requests. */
#include <sys/socket.h>
#include <unistd.h>

#include "broker/app/drain.h"
#include "broker/carrier/carrier.h"
#include "tests/support/hand.h"
#include "tests/support/test.h"

enum { TEXT = 1024, TOPICS = 40, WORKERS = 4, PATIENCE = 20000 };

static char payload[HAND_FRAME];
static struct drain drain;

static void on_drained(void *arg)
{
    (void)arg;
}

static int begin(void **state)
{
    (void)state;
    hand_begin(WORKERS);
    return 0;
}

/* What a client has heard, in order, as one line: A(ck), E(rror), M(essage), G(oodbye), C(lose). */
struct heard {
    char line[256];
    size_t len;
    int code;            /* of the close frame */
    char last_ack[TEXT]; /* its payload */
};

static void hear(struct hand_client *client, struct heard *heard)
{
    uint8_t first;
    size_t len;

    hand_read(client);
    while ((first = hand_next(client, payload, &len))) {
        char what = (first & 15) == FF_OP_CLOSE                  ? 'C'
                    : strncmp(payload, "{\"type\":8,", 10) == 0  ? 'A'
                    : strncmp(payload, "{\"type\":9,", 10) == 0  ? 'E'
                    : strncmp(payload, "{\"type\":2,", 10) == 0  ? 'M'
                    : strncmp(payload, "{\"type\":13,", 11) == 0 ? 'G'
                    : strncmp(payload, "{\"type\":4,", 10) == 0  ? '\0'
                                                                 : '?';

        if (!what)
            continue; /* WELCOME */
        assert_true(heard->len + 1 < sizeof(heard->line));
        heard->line[heard->len++] = what;
        if (what == 'C')
            heard->code = len >= 2 ? (uint8_t)payload[0] << 8 | (uint8_t)payload[1] : 1005;
        if (what == 'A')
            memcpy(heard->last_ack, payload, len + 1);
    }
}

/* So many times the letter, then the rest. */
static void check_line(const struct heard *heard, unsigned count, char letter, const char *rest)
{
    char line[256] = "";

    memset(line, letter, count);
    (void)snprintf(line + count, sizeof(line) - count, "%s", rest);
    assert_string_equal(heard->line, line);
}

static void publish_to_all(struct hand_client *client)
{
    char text[TEXT];

    for (int i = 0; i < TOPICS; i++) {
        (void)snprintf(text, sizeof(text),
                       "{\"type\":7,\"id\":%d,\"topic\":\"t/%d\",\"message\":%d}", i, i, i);
        hand_put_text(client, text);
    }
}

static void publish_large(struct hand_client *client, const char *name)
{
    static char text[12000];

    (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"%s\",\"message\":\"%010000d\"}",
                   name, 0);
    hand_put_text(client, text);
}

/* Logs are short, so that who does not read is soon overrun. */
static void keep_little(void)
{
    hand_config->settings.max_buffered = 65536;
    for (uint32_t i = 0; i < WORKERS; i++)
        gateway_configure(&hand_gateways[i], &hand_config->settings, NULL, 0);
}

/* Turns of the client's worker alone: nobody else answers. */
static void turn_alone(int count)
{
    while (count-- > 0)
        hand_turn(0);
}

static void turn_all(int count)
{
    while (count-- > 0)
        hand_turn_all();
}

/* Ways of ending it; the close code that is to come, 0: none, only the end. */
static void say_close(struct hand_client *client)
{
    hand_put(client, 0x88, "\x03\xe8", 2);
}

static void say_nothing(struct hand_client *client)
{
    assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
}

static void say_rubbish(struct hand_client *client)
{
    for (int i = 0; i < 10; i++)
        hand_put_text(client, "rubbish");
}

static void break_the_protocol(struct hand_client *client)
{
    hand_put(client, 0x83, "", 0);
}

static void send_text_that_is_none(struct hand_client *client)
{
    hand_put(client, 0x81, "\xff", 1);
}

static const struct {
    const char *how;
    void (*end)(struct hand_client *client);
    const char *heard; /* behind the answers */
    int code;
} ways[] = {
    {"a Close frame", say_close, "C", 1000},
    {"the end of its side", say_nothing, "", 0},
    {"ten malformed messages", say_rubbish, "EEEEEEEEEEC", 1008},
    {"a frame of no type", break_the_protocol, "C", 1002},
    {"text that is no UTF-8", send_text_that_is_none, "C", 1007},
};

/* 40 were delivered, 29 acknowledged: a client that publishes the others again has them doubled. */
static void answers_come_before_the_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < FF_COUNT(ways); i++) {
        struct hand_client client;
        struct hand_client reader;
        struct heard heard = {.len = 0};
        struct heard read = {.len = 0};

        print_message("    %s\n", ways[i].how);
        hand_connect(&reader, 1, "/ws", "fanfare.v1.json");
        hand_put_text(&reader, "{\"type\":5,\"id\":1,\"topic\":\"t/+\"}");
        turn_all(10);
        hand_connect(&client, 0, "/ws", "fanfare.v1.json");
        publish_to_all(&client);
        ways[i].end(&client);
        turn_alone(10);
        hear(&client, &heard);
        assert_null(strchr(heard.line, 'C'));
        assert_false(client.is_at_end);
        assert_true(client.session->is_parting);
        turn_all(10);
        hear(&client, &heard);
        hear(&reader, &read);
        check_line(&read, 1, 'A', "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM");
        if (ways[i].end == say_rubbish) /* its errors need no other worker */
            assert_int_equal(heard.len, TOPICS + strlen(ways[i].heard));
        else
            check_line(&heard, TOPICS, 'A', ways[i].heard);
        assert_int_equal(heard.code, ways[i].code);
        assert_true(client.is_at_end);
        hand_disconnect(&client);
        hand_disconnect(&reader);
        turn_all(5);
    }
}

/* The last answer is a subscription's, which is whole although the subscription has ended. */
static void a_subscription_that_was_asked_for_is_answered_before_the_end(void **state)
{
    struct hand_client client;
    struct heard heard = {.len = 0};
    char name[64];
    char text[TEXT];
    char ack[TEXT];

    (void)state;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    (void)hand_name(2, 0, name);
    (void)snprintf(text, sizeof(text), "{\"type\":5,\"id\":3,\"topic\":\"%s\"}", name);
    (void)snprintf(ack, sizeof(ack), "{\"type\":8,\"id\":3,\"topic\":\"%s\",\"epoch\":\"", name);
    hand_put_text(&client, text);
    say_close(&client);
    turn_alone(5);
    turn_all(10);
    hear(&client, &heard);
    assert_string_equal(heard.line, "AC");
    assert_memory_equal(heard.last_ack, ack, strlen(ack));
    hand_disconnect(&client);
}

/* What it was subscribed to ends when it says so, whatever it waits for. */
static void no_message_follows_its_close(void **state)
{
    struct hand_client client;
    struct hand_client writer;
    struct heard heard = {.len = 0};
    char text[TEXT];
    char near[64];

    (void)state;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    hand_connect(&writer, 0, "/ws", "fanfare.v1.json");
    (void)snprintf(text, sizeof(text), "{\"type\":5,\"id\":1,\"topic\":\"%s\"}",
                   hand_name(0, 0, near).at);
    hand_put_text(&client, text);
    turn_all(4);
    publish_to_all(&client);
    say_close(&client);
    turn_alone(4);
    (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"%s\",\"message\":1}", near);
    hand_put_text(&writer, text);
    turn_alone(4);
    turn_all(10);
    hear(&client, &heard);
    check_line(&heard, TOPICS + 1, 'A', "C");
    hand_disconnect(&client);
    hand_disconnect(&writer);
}

/* An owner that does not answer does not hold it up for ever. */
static void it_waits_for_close_seconds_and_no_longer(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct hand_client client;
        struct heard heard = {.len = 0};

        print_message("    %s\n", ways[i].how);
        hand_workers[0].net.close_ms = 50;
        hand_connect(&client, 0, "/ws", "fanfare.v1.json");
        publish_to_all(&client);
        ways[i].end(&client);
        for (int k = 0; !client.is_at_end; k++) {
            hand_turn(0);
            hear(&client, &heard);
        }
        assert_true(heard.len > 0 && heard.len < TOPICS);
        assert_int_equal(heard.line[heard.len - 1], i == 0 ? 'C' : 'A');
        hand_disconnect(&client);
        turn_all(10); /* the answers find nobody */
    }
}

static void who_goes_while_its_close_waits_leaves_nothing_behind(void **state)
{
    struct hand_client client;

    (void)state;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    publish_to_all(&client);
    say_close(&client);
    turn_alone(10);
    assert_true(client.session->is_parting);
    conn_abort(&client.session->conn);
    turn_all(10);
    hand_disconnect(&client);
}

/* Requests without room in a ring came before the Close: they are made, and answered, first. */
static void what_was_deferred_is_answered_before_the_end(void **state)
{
    static char text[12000];
    char name[64];

    (void)state;
    (void)hand_name(1, 0, name);
    for (size_t i = 0; i < 2; i++) {
        struct hand_client client;
        struct heard heard = {.len = 0};
        int count = 0;

        print_message("    %s\n", ways[i].how);
        hand_connect(&client, 0, "/ws", "fanfare.v1.json");
        while (!(client.session->conn.pauses & PAUSE_DEFERRED)) {
            assert_true(count < 100);
            (void)snprintf(text, sizeof(text),
                           "{\"type\":7,\"id\":%d,\"topic\":\"%s\",\"message\":\"%010000d\"}",
                           count++, name, 0);
            hand_put_text(&client, text);
            turn_alone(2);
        }
        ways[i].end(&client);
        turn_alone(10);
        hear(&client, &heard);
        assert_int_equal(heard.len, 0);
        turn_all(20);
        hear(&client, &heard);
        check_line(&heard, (unsigned)count, 'A', ways[i].heard);
        assert_true(client.is_at_end);
        hand_disconnect(&client);
        turn_all(5);
    }
}

/* A slow reader with the rule `close` is told so behind its answers, and of nothing else. */
static void a_slow_consumer_is_told_behind_its_answers(void **state)
{
    static char text[12000];
    struct hand_client client;
    struct hand_client writer;
    struct heard heard = {.len = 0};
    char near[64];

    (void)state;
    keep_little();
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    hand_connect(&writer, 0, "/ws", "fanfare.v1.json");
    (void)snprintf(text, sizeof(text),
                   "{\"type\":5,\"id\":1,\"topic\":\"%s\",\"overflow\":\"close\"}",
                   hand_name(0, 0, near).at);
    hand_put_text(&client, text);
    turn_all(4);
    publish_to_all(&client);
    turn_alone(4);
    for (int i = 0; !client.session->is_parting; i++) {
        assert_true(i < 1000);
        (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"%s\",\"message\":\"%010000d\"}",
                       near, 0);
        hand_put_text(&writer, text);
        turn_alone(3);
    }
    for (int i = 0; !client.is_at_end; i++) {
        assert_true(i < PATIENCE);
        turn_all(1);
        hear(&client, &heard);
    }
    assert_int_equal(heard.code, 4008);
    assert_int_equal(heard.line[heard.len - 1], 'C');
    heard.len = 0;
    for (const char *at = heard.line; *at; at++)
        heard.len += *at == 'A';
    assert_int_equal(heard.len, TOPICS + 1);
    hand_disconnect(&client);
    hand_disconnect(&writer);
}

/* What happens while worker 0 waits for events: behind the end of its turn, before the next. */
static struct late {
    ev_prepare prepare;
    struct hand_client *writer;
    struct hand_client *reader;
    const char *topic;
    struct heard *heard;
} late;

static void overrun_late(struct ev_loop *ev, ev_prepare *prepare, int events)
{
    (void)events;
    ev_prepare_stop(ev, prepare);
    for (int i = 0; i < 300; i++) {
        publish_large(late.writer, late.topic);
        for (int k = 0; k < 3; k++)
            hand_turn(1);
    }
    hear(late.reader, late.heard);
}

/* That one was overrun shows when a plan has messages of another one already: it is given up. */
static void a_plan_is_given_up_with_the_session(void **state)
{
    struct hand_client client;
    struct hand_client writers[2];
    struct heard heard = {.len = 0};
    char text[TEXT];
    char near[64];
    char far[64];

    (void)state;
    keep_little();
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    for (uint32_t i = 0; i < 2; i++)
        hand_connect(&writers[i], i, "/ws", "fanfare.v1.json");
    (void)snprintf(text, sizeof(text), "{\"type\":5,\"id\":1,\"topic\":\"%s\"}",
                   hand_name(0, 0, near).at);
    hand_put_text(&client, text);
    (void)snprintf(text, sizeof(text),
                   "{\"type\":5,\"id\":2,\"topic\":\"%s\",\"overflow\":\"close\"}",
                   hand_name(1, 0, far).at);
    hand_put_text(&client, text);
    turn_all(6);
    while (!client.session->conn.is_blocked) { /* messages of one topic wait, */
        publish_large(&writers[0], near);
        turn_alone(3);
    }
    publish_large(&writers[1], far); /* and one of the other */
    turn_all(6);
    publish_to_all(&client);
    turn_alone(6);
    assert_true(client.session->awaited > 0);
    late = (struct late){.writer = &writers[1], .reader = &client, .topic = far, .heard = &heard};
    ev_prepare_init(&late.prepare, overrun_late);
    ev_set_priority(&late.prepare, EV_MINPRI);
    ev_prepare_start(hand_workers[0].net.loop.ev, &late.prepare);
    hand_turn(0);
    assert_true(client.session->is_parting);
    memset(&heard, 0, sizeof(heard));
    turn_all(20);
    hear(&client, &heard);
    assert_null(strchr(heard.line, 'M'));
    assert_int_equal(heard.code, 4008);
    assert_int_equal(heard.line[heard.len - 1], 'C');
    hand_disconnect(&client);
    for (uint32_t i = 0; i < 2; i++)
        hand_disconnect(&writers[i]);
}

static void the_drain_waits_for_answers(void **state)
{
    struct hand_client client;
    struct heard heard = {.len = 0};

    (void)state;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    publish_to_all(&client);
    turn_alone(10);
    assert_true(client.session->awaited > 0);
    drain_init(&drain, &hand_gateways[0], on_drained, NULL);
    drain_begin(&drain, 1000, "the broker is restarting");
    for (uint32_t looked = 0; looked < 3; looked++) { /* steps at which it might be closed */
        uint64_t step = hand_workers[0].net.loop.now_ms;

        while (hand_workers[0].net.loop.now_ms < step + 40)
            hand_turn(0);
    }
    hear(&client, &heard);
    assert_null(strchr(heard.line, 'C'));
    assert_non_null(strchr(heard.line, 'G'));
    assert_true(session_is_open(client.session)); /* passed over, and not even parting */
    for (int i = 0; !client.is_at_end; i++) {
        hand_turn_all();
        hear(&client, &heard);
    }
    assert_int_equal(heard.code, 1012);
    assert_int_equal(heard.len, TOPICS + 2);
    wheel_stop(&hand_workers[0].net.wheel, &drain.timer);
    hand_disconnect(&client);
}

/* In its second half the drain closes whoever is there: they wait for their answers all the same.
 */
static void the_drains_last_close_waits_for_answers(void **state)
{
    struct hand_client client;
    struct heard heard = {.len = 0};

    (void)state;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    publish_to_all(&client);
    turn_alone(10);
    drain_init(&drain, &hand_gateways[0], on_drained, NULL);
    drain_begin(&drain, 1000, "the broker is restarting");
    drain.begin_ms -= 10000; /* more than half of it is over */
    drain.end_ms = drain.begin_ms + 19000;
    while (!client.session->is_parting)
        hand_turn(0);
    turn_all(10);
    hear(&client, &heard);
    assert_int_equal(heard.code, 1012);
    assert_int_equal(heard.len, TOPICS + 2);
    wheel_stop(&hand_workers[0].net.wheel, &drain.timer);
    hand_disconnect(&client);
}

int main(void)
{
#define BY_HAND(test) cmocka_unit_test_setup_teardown(test, begin, hand_end)
    const struct CMUnitTest tests[] = {
        BY_HAND(answers_come_before_the_end),
        BY_HAND(a_subscription_that_was_asked_for_is_answered_before_the_end),
        BY_HAND(no_message_follows_its_close),
        BY_HAND(it_waits_for_close_seconds_and_no_longer),
        BY_HAND(who_goes_while_its_close_waits_leaves_nothing_behind),
        BY_HAND(what_was_deferred_is_answered_before_the_end),
        BY_HAND(a_slow_consumer_is_told_behind_its_answers),
        BY_HAND(a_plan_is_given_up_with_the_session),
        BY_HAND(the_drain_waits_for_answers),
        BY_HAND(the_drains_last_close_waits_for_answers),
    };

    return cmocka_run_group_tests_name("parting", tests, NULL, NULL);
}
