/* SPDX-License-Identifier: Apache-2.0 */
/* What clients are owed by the owners of many topics, who answer all at once, or late, or never. */
#include "broker/carrier/carrier.h"
#include "broker/carrier/channel.h"
#include "broker/session/answers.h"
#include "broker/topic/rate.h"
#include "tests/support/hand.h"
#include "tests/support/test.h"

enum {
    TEXT = 1024,
    TOPICS = 64,
    FLOOD = 20000,
    BATCH = 1024,
    MOST = 192 + 2 * FF_TOPIC_MAX, /* of one answer */
};

static char payload[HAND_FRAME];

static int begin(void **state)
{
    (void)state;
    hand_begin(HAND_WORKERS);
    return 0;
}

/* What comes to a client, counted. */
struct heard {
    uint64_t acks;
    uint64_t errors;
    uint64_t messages;
    uint64_t gaps;
    uint64_t others;
    int close_code; /* 0: no close frame came */
    size_t largest; /* answer */
};

static void hear(struct hand_client *client, struct heard *heard)
{
    uint8_t first;
    size_t len;

    hand_read(client);
    while ((first = hand_next(client, payload, &len))) {
        assert_int_equal(heard->close_code, 0); /* nothing comes behind a close frame */
        if ((first & 15) == FF_OP_CLOSE)
            heard->close_code = len >= 2 ? (uint8_t)payload[0] << 8 | (uint8_t)payload[1] : 1005;
        else if (strncmp(payload, "{\"type\":8,", 10) == 0)
            heard->acks++;
        else if (strncmp(payload, "{\"type\":9,", 10) == 0)
            heard->errors++;
        else if (strncmp(payload, "{\"type\":2,", 10) == 0)
            heard->messages++;
        else if (strncmp(payload, "{\"type\":10,", 11) == 0)
            heard->gaps++;
        else
            heard->others++;
        if (strncmp(payload, "{\"type\":8,", 10) == 0 || strncmp(payload, "{\"type\":9,", 10) == 0)
            heard->largest = len > heard->largest ? len : heard->largest;
    }
}

/* The largest id and names that have to be escaped, so that answers are as long as they get. */
#define LARGE_ID 9007199254730000ULL

static size_t put_publish(char *out, uint32_t i)
{
    return (size_t)snprintf(out, TEXT, "{\"type\":7,\"id\":%llu,\"topic\":\"t/%u\",\"message\":%u}",
                            LARGE_ID + i % 10000, i % TOPICS, i);
}

static size_t put_silent(char *out, uint32_t i)
{
    return (size_t)snprintf(out, TEXT, "{\"type\":7,\"topic\":\"t/%u\",\"message\":%u}", i % TOPICS,
                            i);
}

/* Refused by its owner, where a rule is set. */
static size_t put_failing(char *out, uint32_t i)
{
    return (size_t)snprintf(out, TEXT, "{\"type\":7,\"topic\":\"t/%u\",\"message\":\"%020u\"}",
                            i % TOPICS, i);
}

static size_t put_long_name(char *out, uint32_t i)
{
    size_t len = (size_t)snprintf(out, TEXT, "%05u", i);

    while (len < FF_TOPIC_MAX * 2 - 5) { /* a quote is one octet of the name and two of JSON */
        out[len++] = '\\';
        out[len++] = '"';
    }
    out[len] = '\0';
    return len;
}

/* Subscribes to and leaves topics that nobody has, of names as long as they may be. */
static size_t put_subscribe(char *out, uint32_t i)
{
    char name[TEXT];

    (void)put_long_name(name, i / 2 % 50);
    return (size_t)snprintf(out, TEXT, "{\"type\":%d,\"id\":%llu,\"topic\":\"%s\"}", i % 2 ? 6 : 5,
                            LARGE_ID + i % 10000, name);
}

static size_t put_filter(char *out, uint32_t i)
{
    return (size_t)snprintf(out, TEXT, "{\"type\":%d,\"id\":%llu,\"topic\":\"f/%u/#\"}",
                            i % 2 ? 6 : 5, LARGE_ID + i % 10000, i / 2 % 50);
}

struct flood {
    const char *what;
    size_t (*put)(char *out, uint32_t i);
    const char *protocol;
    uint32_t in_a_frame;
    uint32_t count;
    uint64_t acks;
    uint64_t errors;
};

static const struct flood kinds[] = {
    {"publishes", put_publish, "fanfare.v1.json", 1, FLOOD, FLOOD, 0},
    {"publishes in batches", put_publish, "fanfare.v1.json", BATCH, FLOOD, FLOOD, 0},
    {"publishes without ids", put_silent, "fanfare.v1.json", 1, FLOOD, 0, 0},
    {"publishes without ids in batches", put_silent, "fanfare.v1.json", BATCH, FLOOD, 0, 0},
    {"errors without ids", put_failing, "fanfare.v1.json", 1, FLOOD, 0, FLOOD},
    {"errors without ids in batches", put_failing, "fanfare.v1.json", BATCH, FLOOD, 0, FLOOD},
    {"a plain client's errors", put_failing, NULL, 1, FLOOD, 0, FLOOD},
    {"a plain client's requests", put_publish, NULL, 1, FLOOD, FLOOD, 0},
    {"subscriptions", put_subscribe, "fanfare.v1.json", 1, 4000, 4000, 0},
    {"subscriptions in batches", put_subscribe, "fanfare.v1.json", 100, 4000, 4000, 0},
    {"filters", put_filter, "fanfare.v1.json", 1, 4000, 4000, 0},
};

/* All of it into the client's buffer; it goes as the socket takes it. */
static void put_flood(struct hand_client *client, const struct flood *flood)
{
    static char frame[BATCH * 128 + TEXT];

    for (uint32_t i = 0; i < flood->count;) {
        size_t len = 0;

        if (flood->in_a_frame > 1)
            frame[len++] = '[';
        for (uint32_t k = 0; k < flood->in_a_frame && i < flood->count; k++) {
            if (k)
                frame[len++] = ',';
            len += flood->put(frame + len, i++);
        }
        if (flood->in_a_frame > 1)
            frame[len++] = ']';
        assert_true(len < hand_config->settings.max_message);
        hand_put(client, 0x81, frame, len);
    }
}

/* The rule that makes put_failing() fail. */
static void set_rule(void)
{
    static struct topic_rule rule = {.filter = "t/#", .max_message = 20};

    for (uint32_t i = 0; i < HAND_WORKERS; i++)
        gateway_configure(&hand_gateways[i], &hand_config->settings, &rule, 1);
}

static void check_bounds(const struct hand_client *client)
{
    const struct session *session = client->session;

    assert_true(conn_is_open(&session->conn));
    assert_true(conn_outbox_bytes(&session->conn) + session->awaited <=
                session->conn.net->outbox_max);
    assert_true(session->awaited <= (session->conn.net->outbox_max - OUTBOX_PAUSE) / 4 * 3 + MOST);
}

static bool is_answered(const struct flood *flood, const struct hand_client *client,
                        const struct heard *heard)
{
    return client->out.len == 0 && heard->acks == flood->acks && heard->errors == flood->errors &&
           client->session->awaited == 0;
}

/* Its worker asks all that may be asked; then the others answer all of it between two turns of his.
 */
static void ask_much(struct hand_client *client)
{
    for (int i = 0; i < 40 && !(client->session->conn.pauses & ~PAUSE_OUTBOX); i++) {
        hand_turn(0);
        check_bounds(client);
        hand_send(client);
    }
    for (uint32_t i = 1; i < HAND_WORKERS; i++)
        hand_turn(i);
    hand_turn(0);
    check_bounds(client);
    hand_send(client);
}

/* Up to the last answer. */
static void answer_all(struct hand_client *client, const struct flood *flood, struct heard *heard)
{
    for (int round = 0; !is_answered(flood, client, heard); round++) {
        assert_true(round < 20000);
        hear(client, heard);
        ask_much(client);
    }
    assert_true(heard->largest <= FF_TOPIC_MAX * 2 + 128);
    hand_disconnect(client);
    hand_turn_all();
}

static void who_reads_is_never_closed_for_what_it_asked(void **state)
{
    (void)state;
    set_rule();
    for (size_t i = 0; i < FF_COUNT(kinds); i++) {
        struct hand_client client;
        struct heard heard = {.acks = 0};

        print_message("    %s\n", kinds[i].what);
        hand_connect(&client, 0, "/ws", kinds[i].protocol);
        put_flood(&client, &kinds[i]);
        answer_all(&client, &kinds[i], &heard);
    }
}

/* Nothing is read for long: it is not read from, then, and not closed either. */
static void who_asks_without_reading_waits_until_it_reads(void **state)
{
    (void)state;
    set_rule();
    for (size_t i = 0; i < FF_COUNT(kinds); i++) {
        struct hand_client client;
        struct heard heard = {.acks = 0};

        print_message("    %s\n", kinds[i].what);
        hand_connect(&client, 0, "/ws", kinds[i].protocol);
        put_flood(&client, &kinds[i]);
        for (int round = 0; round < 300; round++)
            ask_much(&client);
        if (kinds[i].acks + kinds[i].errors == FLOOD)
            assert_true(client.session->conn.pauses);
        answer_all(&client, &kinds[i], &heard);
    }
}

/* One new topic, and changes of the subscription to it: an ERROR for each, longer than their ACKs.
 */
static size_t put_refused(char *out, uint32_t i)
{
    return (size_t)snprintf(out, TEXT, "{\"type\":5,\"id\":%llu,\"topic\":\"r%u\",\"echo\":false}",
                            LARGE_ID + i % 10000, i / 500);
}

static void what_shares_a_refusal_has_room_for_it(void **state)
{
    static const struct flood flood = {"changes", put_refused, "fanfare.v1.json", 1, FLOOD,
                                       0,         FLOOD};
    struct hand_client client;
    struct hand_client full;
    struct heard heard = {.acks = 0};

    (void)state;
    hand_config->settings.max_topics = 1;
    for (uint32_t i = 0; i < HAND_WORKERS; i++)
        gateway_configure(&hand_gateways[i], &hand_config->settings, NULL, 0);
    hand_connect(&full, 0, "/ws", "fanfare.v1.json");
    hand_put_text(&full, "{\"type\":5,\"topic\":\"the only one\"}");
    for (int i = 0; i < 5; i++)
        hand_turn_all();
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    put_flood(&client, &flood);
    for (int round = 0; round < 100; round++)
        ask_much(&client);
    answer_all(&client, &flood, &heard);
    hand_disconnect(&full);
}

/* An answer to a publish is never larger than what is set aside for it. */
static void an_answer_fits_into_what_is_set_aside(void **state)
{
    static const struct engine_receipt receipts[] = {
        {.receipt = {.receivers = UINT32_MAX,
                     .buffered = UINT64_MAX,
                     .position = {UINT64_MAX, FF_INTEGER_MAX}},
         .is_duplicate = true},
        {.err = FF_EOTHER},
        {.err = FF_ELIMIT},
        {.err = FF_ETOOBIG},
        {.err = FF_ETIMEDOUT},
        {.err = FF_EAWAY},
        {.err = FF_EINVAL},
        {.err = FF_ENOMEM},
    };

    (void)state;
    hand_config->settings.max_memory = UINT64_MAX; /* named by one of the errors */
    for (int i = 0; i < 2 * (int)FF_COUNT(receipts); i++) {
        const char *protocol = i % 2 ? "fanfare.v1.json" : "fanfare.v1.msgpack";
        struct hand_client client;
        struct ticket ticket;
        size_t before;

        hand_connect(&client, 0, "/ws", protocol);
        ticket = session_ticket(client.session);
        ticket.id = FF_INTEGER_MAX;
        ticket.has_id = true;
        before = conn_outbox_bytes(&client.session->conn);
        session_on_published(&hand_gateways[0], ticket, &receipts[i / 2],
                             0); /* nothing was set aside */
        assert_true(conn_outbox_bytes(&client.session->conn) > before);
        assert_true(conn_outbox_bytes(&client.session->conn) - before <= ANSWER_TO_PUBLISH);
        hand_disconnect(&client);
    }
}

/* Publishes without an id until one has no room in the ring to the owner, who takes nothing. */
static void fill(struct hand_client *client, uint32_t owner, int size)
{
    static char text[12000];
    char name[64];

    hand_connect(client, 0, "/ws", "fanfare.v1.json");
    (void)hand_name(owner, 0, name);
    for (int i = 0; !(client->session->conn.pauses & PAUSE_DEFERRED); i++) {
        assert_true(i < 1000);
        (void)snprintf(text, sizeof(text), "{\"type\":7,\"topic\":\"%s\",\"message\":\"%0*d\"}",
                       name, size, 0);
        hand_put_text(client, text);
        hand_turn(0);
    }
}

/* Up to the last octet: one client for most of it, one for the rest. */
static void fill_ring(struct hand_client clients[2], uint32_t owner)
{
    fill(&clients[0], owner, 10000);
    fill(&clients[1], owner, 1);
}

static void publish_with_id(struct hand_client *client, const char *topic, uint64_t id)
{
    char text[TEXT];

    (void)snprintf(text, sizeof(text), "{\"type\":7,\"id\":%llu,\"topic\":\"%s\",\"message\":1}",
                   (unsigned long long)id, topic);
    hand_put_text(client, text);
}

/* Some who wait for one owner were tried again, and refused; whoever stood behind them waited, too.
 */
static void a_full_owner_holds_up_nobody_who_waits_for_another(void **state)
{
    enum { WAITING = 30 };
    struct hand_client waiting[WAITING];
    struct hand_client others[5];
    struct heard heard = {.acks = 0};
    char full[64];
    char name[64];

    (void)state;
    fill_ring(&others[0], 1);
    (void)hand_name(1, 1, full);
    for (int i = 0; i < WAITING; i++) {
        hand_connect(&waiting[i], 0, "/ws", "fanfare.v1.json");
        publish_with_id(&waiting[i], full, 1);
        hand_turn(0);
        hand_turn(0);
        assert_true(waiting[i].session->conn.pauses & PAUSE_DEFERRED);
    }
    fill_ring(&others[2], 2);
    (void)hand_name(2, 1, name);
    hand_connect(&others[4], 0, "/ws", "fanfare.v1.json");
    publish_with_id(&others[4], name, 1);
    hand_turn(0);
    hand_turn(0);
    assert_true(others[4].session->conn.pauses & PAUSE_DEFERRED);
    for (int round = 0; round < 10; round++) { /* worker 1 has no turn */
        hand_turn(0);
        hand_turn(2);
        hear(&others[4], &heard);
    }
    assert_int_equal(heard.acks, 1);
    assert_false(others[2].session->conn.pauses & PAUSE_DEFERRED);
    for (int i = 0; i < WAITING; i++)
        assert_true(waiting[i].session->conn.pauses & PAUSE_DEFERRED);
    for (int round = 0; round < 40; round++)
        hand_turn_all();
    for (int i = 0; i < WAITING; i++) {
        struct heard one = {.acks = 0};

        hear(&waiting[i], &one);
        assert_int_equal(one.acks, 1);
        hand_disconnect(&waiting[i]);
    }
    for (int i = 0; i < 5; i++)
        hand_disconnect(&others[i]);
}

/* Those who need all owners wait apart, and each queue is only looked at as far as there is room.
 */
static void who_needs_all_owners_holds_up_nobody(void **state)
{
    struct hand_client filter;
    struct hand_client name;
    struct hand_client floods[2];
    struct heard heard = {.acks = 0};
    char text[64];
    int filters = 0;

    (void)state;
    fill_ring(floods, 1);
    hand_connect(&filter, 0, "/ws", "fanfare.v1.json");
    hand_connect(&name, 0, "/ws", "fanfare.v1.json");
    while (!(filter.session->conn.pauses & PAUSE_DEFERRED)) { /* links need less room */
        assert_true(++filters < 10);
        (void)snprintf(text, sizeof(text), "{\"type\":5,\"id\":1,\"topic\":\"all/%d/#\"}", filters);
        hand_put_text(&filter, text);
        hand_turn(0);
        hand_turn(0);
    }
    assert_false(ff_list_is_empty(&hand_gateways[0].deferred[HAND_WORKERS]));
    assert_true(hand_workers[0].net.input.is_behind); /* no newcomers meanwhile */
    publish_with_id(&name, hand_name(3, 0, text).at, 1);
    for (int round = 0; round < 5; round++) {
        hand_turn(0);
        hand_turn(3);
    }
    hear(&name, &heard);
    assert_int_equal(heard.acks, 1);
    for (int round = 0; round < 20; round++)
        hand_turn_all();
    heard.acks = 0;
    hear(&filter, &heard);
    assert_int_equal(heard.acks, filters);
    hand_disconnect(&floods[0]);
    hand_disconnect(&floods[1]);
    hand_disconnect(&filter);
    hand_disconnect(&name);
}

/* They are dropped from the middle of their queue, and what they kept is freed. */
static void who_goes_while_it_waits_leaves_nothing_behind(void **state)
{
    enum { WAITING = 9 };
    struct hand_client floods[2];
    struct hand_client waiting[WAITING];
    char full[64];

    (void)state;
    fill_ring(floods, 1);
    (void)hand_name(1, 1, full);
    for (int i = 0; i < WAITING; i++) {
        hand_connect(&waiting[i], 0, "/ws", "fanfare.v1.json");
        publish_with_id(&waiting[i], full, 1);
        hand_turn(0);
        hand_turn(0);
        assert_true(waiting[i].session->conn.pauses & PAUSE_DEFERRED);
    }
    for (int i = 0; i < WAITING; i += 2) {
        conn_abort(&waiting[i].session->conn);
        hand_disconnect(&waiting[i]);
    }
    for (int round = 0; round < 20; round++)
        hand_turn_all();
    for (int i = 1; i < WAITING; i += 2) {
        struct heard heard = {.acks = 0};

        hear(&waiting[i], &heard);
        assert_int_equal(heard.acks, 1);
        hand_disconnect(&waiting[i]);
    }
    hand_disconnect(&floods[0]);
    hand_disconnect(&floods[1]);
}

/* GAPs of many rated subscriptions at once, to one who does not read just then. */
static void gaps_of_many_subscriptions_wait_until_they_are_taken(void **state)
{
    enum { COUNT = 900 };
    struct hand_client client;
    struct heard heard = {.acks = 0};
    struct subscription *s = NULL;
    uint64_t kept = 0;

    (void)state;
    hand_connect(&client, 0, "/ws", "fanfare.v1.json");
    for (uint32_t i = 0; i < COUNT; i++) {
        char name[TEXT];
        char text[2 * TEXT];

        (void)put_long_name(name, i);
        (void)snprintf(text, sizeof(text), "{\"type\":5,\"id\":1,\"topic\":\"%s\",\"rate\":1}",
                       name);
        hand_put_text(&client, text);
    }
    while (heard.acks < COUNT) {
        hand_turn_all();
        hand_send(&client);
        hear(&client, &heard);
    }
    while ((s = subscriptions_next(&client.session->subscriptions, s)))
        delivery_router_ops.skipped(&hand_gateways[0], s, 1);
    check_bounds(&client);
    while ((s = subscriptions_next(&client.session->subscriptions, s)))
        kept += s->rate->skipped;
    assert_true(kept > 0 && kept < COUNT); /* else the socket took all of them */
    while (heard.gaps < COUNT) {
        hand_turn_all();
        hear(&client, &heard);
    }
    while ((s = subscriptions_next(&client.session->subscriptions, s)))
        assert_int_equal(s->rate->skipped, 0);
    hand_disconnect(&client);
}

int main(void)
{
#define BY_HAND(test) cmocka_unit_test_setup_teardown(test, begin, hand_end)
    const struct CMUnitTest tests[] = {
        BY_HAND(who_reads_is_never_closed_for_what_it_asked),
        BY_HAND(who_asks_without_reading_waits_until_it_reads),
        BY_HAND(what_shares_a_refusal_has_room_for_it),
        BY_HAND(an_answer_fits_into_what_is_set_aside),
        BY_HAND(a_full_owner_holds_up_nobody_who_waits_for_another),
        BY_HAND(who_needs_all_owners_holds_up_nobody),
        BY_HAND(who_goes_while_it_waits_leaves_nothing_behind),
        BY_HAND(gaps_of_many_subscriptions_wait_until_they_are_taken),
    };

    return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
