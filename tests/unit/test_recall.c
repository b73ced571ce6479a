/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what was said: what they cost a turn, and who is owed how many of them. */
#include <stdio.h>

#include "broker/net/turn.h"
#include "broker/session/answers.h"
#include "tests/support/hand.h"
#include "tests/support/test.h"

enum { LISTS = 200, TURNS = 20000 };

static char batch[HAND_FRAME];
static char payload[512 * 1024];

/* A frame of LISTS requests about a topic. */
static void write_batch(const char *topic)
{
    size_t len = 0;

    for (int i = 0; i < LISTS; i++)
        len += (size_t)snprintf(batch + len, sizeof(batch) - len,
                                "%c{\"type\":12,\"id\":%d,\"topic\":\"%s\",\"limit\":1000}",
                                i ? ',' : '[', i, topic);
    (void)snprintf(batch + len, sizeof(batch) - len, "]");
}

static void fill(struct hand_client *client, const char *topic, int count)
{
    char text[2200];

    for (int i = 0; i < count; i++) {
        (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"%s\",\"message\":\"%0*d\"}",
                       topic, 2000, i);
        hand_put_text(client, text);
        hand_turn_all();
    }
    for (int i = 0; i < 10; i++)
        hand_turn_all();
}

/* Answers that have come, each the next one. */
static uint32_t hear(struct hand_client *client, uint32_t heard)
{
    char wanted[64];
    uint8_t first;
    size_t len;

    hand_read(client);
    while ((first = hand_next(client, payload, &len))) {
        if (first != 0x81 || strncmp(payload, "{\"type\":8,", 10) != 0)
            continue;
        (void)snprintf(wanted, sizeof(wanted), "{\"type\":8,\"id\":%u,", (unsigned)heard);
        assert_memory_equal(payload, wanted, strlen(wanted));
        assert_non_null(strstr(payload, "\"messages\":[{\"message\":"));
        heard++;
    }
    return heard;
}

/* Whoever reads at once gets all, in order, and no turn does more than its share. */
static void a_frame_of_lists_is_many_turns_work(void **state)
{
    struct hand_client client;
    uint32_t before = 0;
    uint32_t heard = 0;

    (void)state;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    fill(&client, "t", 20); /* 40 KiB a list: the outbox alone holds up nobody who reads */
    hand_read(&client);
    write_batch("t");
    hand_put_text(&client, batch);
    for (int i = 0; heard < LISTS; i++) {
        assert_true(i < TURNS);
        hand_turn(0);
        heard = hear(&client, heard);
        assert_true(heard - before <= INPUT_OCTETS / 65536 + 1);
        before = heard;
    }
    hand_disconnect(&client);
    hand_turn_all();
}

/* Who does not read is owed what is over the mark where reading pauses by one list, and no more. */
static void who_does_not_read_is_owed_little(void **state)
{
    struct hand_client client;
    uint32_t heard = 0;

    (void)state;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    fill(&client, "t", 28); /* a list is nearly OUTBOX_PAUSE */
    hand_read(&client);
    while (hand_next(&client, payload, &(size_t){0}))
        ;
    write_batch("t");
    hand_put_text(&client, batch);
    for (int i = 0; i < 100; i++) {
        hand_turn(0);
        assert_true(conn_outbox_bytes(&client.session->conn) <= 2 * OUTBOX_PAUSE);
    }
    assert_true(conn_is_open(&client.session->conn));
    for (int i = 0; heard < LISTS; i++) {
        assert_true(i < TURNS);
        hand_turn(0);
        heard = hear(&client, heard);
    }
    hand_disconnect(&client);
    hand_turn_all();
}

/* An owner has a share for the lists of others, too; what they asked stands in line. */
static void an_owner_makes_few_lists_a_turn(void **state)
{
    enum { ASKERS = 40 };

    struct hand_client clients[ASKERS];
    char topic[64];
    char text[160];
    uint32_t heard[ASKERS] = {0};
    uint32_t left = ASKERS;

    (void)state;
    (void)hand_name(1, 0, topic);
    for (int i = 0; i < ASKERS; i++)
        hand_connect(&clients[i], 0, "/ws", "fanfare.v1.json");
    fill(&clients[0], topic, 20);
    (void)snprintf(text, sizeof(text), "{\"type\":12,\"id\":0,\"topic\":\"%s\",\"limit\":1000}",
                   topic);
    for (int i = 0; i < ASKERS; i++) {
        hand_read(&clients[i]);
        hand_put_text(&clients[i], text);
    }
    for (int turn = 0; left > 0; turn++) {
        uint32_t came = 0;

        assert_true(turn < TURNS);
        hand_turn(0);
        hand_turn(1);
        hand_turn(0);
        for (int i = 0; i < ASKERS; i++) {
            uint32_t before = heard[i];

            heard[i] = hear(&clients[i], heard[i]);
            came += heard[i] - before;
        }
        assert_true(came <= 2 * TURN_REQUESTS / TURN_LIST);
        left -= came;
    }
    for (int i = 0; i < ASKERS; i++)
        hand_disconnect(&clients[i]);
    for (int i = 0; i < 10; i++)
        hand_turn_all();
}

/* Topics with a past of 200 KB in JSON, and a frame of requests that need it in MessagePack. */
enum { PASTS = 24, PAST_MESSAGES = 100 };

static size_t put_uint(uint8_t *at, unsigned value)
{
    at[0] = 0xcd;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)value;
    return 3;
}

/* [[5 or 7, i, topic (, null)], ...]; its octets. */
static size_t write_requests(uint8_t *at, char topics[PASTS][64], uint8_t type)
{
    size_t len = 0;

    at[len++] = 0xdc;
    at[len++] = 0;
    at[len++] = PASTS;
    for (unsigned i = 0; i < PASTS; i++) {
        at[len++] = type == FF_TYPE_PUBLISH ? 0x94 : 0x93;
        at[len++] = type;
        len += put_uint(at + len, i);
        at[len++] = 0xd9;
        at[len++] = (uint8_t)strlen(topics[i]);
        memcpy(at + len, topics[i], strlen(topics[i]));
        len += strlen(topics[i]);
        if (type == FF_TYPE_PUBLISH)
            at[len++] = 0xc0;
    }
    return len;
}

/* ACKs that have come. */
static uint32_t count_acks(struct hand_client *client)
{
    uint32_t count = 0;
    uint8_t first;
    size_t len;

    hand_read(client);
    while ((first = hand_next(client, payload, &len)))
        count += first == 0x82 && len > 1 && payload[1] == FF_TYPE_ACK;
    return count;
}

/* `owner`: the worker whose topics they are, as they are asked for on worker 0. */
static void ask_for_pasts(uint32_t owner, uint8_t type)
{
    struct hand_client writer;
    struct hand_client client;
    char topics[PASTS][64];
    uint8_t *requests = (uint8_t *)batch;
    uint32_t most = 2 * (TURN_REQUESTS / TURN_LIST + 1);
    uint32_t acks = 0;

    hand_connect(&writer, owner, "/ws", "fanfare.v1.json");
    hand_connect(&client, 0, "/ws", "fanfare.v1.msgpack");
    for (unsigned i = 0; i < PASTS; i++) {
        (void)hand_name(owner, i + type * PASTS, topics[i]);
        fill(&writer, topics[i], PAST_MESSAGES);
        hand_read(&writer);
        while (hand_next(&writer, payload, &(size_t){0}))
            ;
    }
    (void)count_acks(&client);
    hand_put(&client, 0x82, requests, write_requests(requests, topics, type));
    for (int turn = 0; acks < PASTS; turn++) {
        uint32_t came;

        assert_true(turn < TURNS);
        hand_turn(0);
        if (owner) {
            hand_turn(owner);
            hand_turn(0);
        }
        came = count_acks(&client);
        assert_true(came <= (owner ? most : INPUT_OCTETS / (PAST_MESSAGES * 2000) + 1));
        acks += came;
    }
    hand_disconnect(&writer);
    hand_disconnect(&client);
    for (int i = 0; i < 10; i++)
        hand_turn_all();
}

static void pasts_in_another_kind_are_many_turns_work(void **state)
{
    (void)state;
    ask_for_pasts(0, FF_TYPE_SUBSCRIBE);
    ask_for_pasts(0, FF_TYPE_PUBLISH);
}

static void an_owner_writes_few_pasts_a_turn(void **state)
{
    (void)state;
    ask_for_pasts(1, FF_TYPE_SUBSCRIBE);
}

static int begin_one(void **state)
{
    (void)state;
    hand_begin(1);
    return 0;
}

static int begin_two(void **state)
{
    (void)state;
    hand_begin(2);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_frame_of_lists_is_many_turns_work, begin_one, hand_end),
        cmocka_unit_test_setup_teardown(who_does_not_read_is_owed_little, begin_one, hand_end),
        cmocka_unit_test_setup_teardown(an_owner_makes_few_lists_a_turn, begin_two, hand_end),
        cmocka_unit_test_setup_teardown(pasts_in_another_kind_are_many_turns_work, begin_one,
                                        hand_end),
        cmocka_unit_test_setup_teardown(an_owner_writes_few_pasts_a_turn, begin_two, hand_end),
    };

    return cmocka_run_group_tests_name("recall", tests, NULL, NULL);
}
