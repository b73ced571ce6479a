/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log and its cursors against a naive model: random publishes, stalls,
 * overflow rules, rates, echoes and closes; each subscriber must see every
 * message in order, exactly once, or be told of exactly what it did not see.
 *
 *   unit_log_model [--steps N] [--seed S]
 *
 * The seed is printed; the same seed replays the same run.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "broker/topic/rate.h"
#include "tests/support/subscriber.h"

enum {
    PEERS = 24,
    TOPICS = 5,
    SUBSCRIPTIONS = 4, /* of one peer */
    MAX_PAYLOAD = 80000,
    MAX_BUFFERED = 30000,
    HISTORY = 1 << 20,
    ROOM = 1 << 16,
};

static const char *const names[TOPICS] = {"a", "b/1", "b/2", "b/#", "+/1"};

static uint64_t steps = 100000;
static uint64_t seed;

/* What a subscriber knows; everything below is checked against the topic's own list. */
struct follower {
    struct subscription s;
    uint32_t topic;
    uint64_t passed; /* messages that are accounted for: seen, or told of */
    uint64_t told;   /* by gaps: since the last message; by a rate, which tells late: in all */
    uint64_t missed; /* by a rate: in all */
    double rate;
    bool is_used;
};

struct peer {
    struct subscriber socket;
    struct follower followers[SUBSCRIPTIONS];
};

/* Who published the messages of a topic, in order. */
struct truth {
    uint64_t *tags; /* HISTORY entries */
    uint64_t count;
};

static struct world {
    struct router router;
    struct pool pool;
    struct wheel wheel;
    uint64_t now_ms;
    struct dice dice;
    struct peer peers[PEERS];
    struct truth truths[TOPICS];
    uint64_t seen;
    uint64_t gaps;
    uint64_t closed;
    char payload[MAX_PAYLOAD + 64];
} world;

static struct follower *follower_of(struct subscription *s)
{
    return FF_CONTAINER(s, struct follower, s);
}

static void drop(struct follower *f)
{
    router_unsubscribe(&world.router, &f->s);
    f->is_used = false;
}

static void on_overrun(void *arg, struct subscription *s)
{
    struct log_view view = log_look(s->link->log);

    (void)arg;
    assert_int_equal(s->overflow, OVERFLOW_CLOSE);
    assert_true(s->cursor.byte < view_tail_byte(&view) ||
                (s->zone == ZONE_WAITING &&
                 view.head_byte - s->cursor.byte > (s->has_bound ? s->bound : MAX_BUFFERED)));
    world.closed++;
    drop(follower_of(s));
}

static void close_overrun(struct subscription *s)
{
    on_overrun(NULL, s);
}

static void account(struct follower *f, uint64_t skipped)
{
    if (f->rate < 0 && !f->s.no_echo) /* a gap and the message behind it are one unit */
        assert_int_equal(f->told, 0);
    f->told += skipped;
    world.gaps++;
}

static void on_skipped(void *arg, struct subscription *s, uint64_t count)
{
    (void)arg;
    account(follower_of(s), count);
}

static const struct router_ops ops = {
    .ready = subscriber_ready, .overrun = on_overrun, .skipped = on_skipped};

/*
 * The message numbered `number` arrived. Between it and the last one that is
 * accounted for only told ones may be missing, and own ones if it wants none.
 */
static void account_message(struct peer *peer, struct follower *f, uint64_t number)
{
    const struct truth *truth = &world.truths[f->topic];
    uint64_t missing;
    uint64_t own = 0;

    assert_true(number > f->passed);
    assert_true(number <= truth->count);
    missing = number - 1 - f->passed;
    for (uint64_t i = f->passed; i + 1 < number; i++)
        own += truth->tags[i] == peer->socket.tag;
    if (f->rate < 0) /* what was not told must be own, unwanted ones */
        assert_true(missing - f->told <= own);
    if (f->rate < 0 && !f->s.no_echo)
        assert_int_equal(missing, f->told);
    f->missed += missing;
    assert_true(f->told <= (f->rate < 0 ? missing : f->missed)); /* never of more than was missed */
    if (f->rate < 0)
        f->told = 0;
    f->passed = number;
    world.seen++;
}

static struct follower *find(struct peer *peer, struct ff_slice name)
{
    for (int i = 0; i < SUBSCRIPTIONS; i++)
        if (peer->followers[i].is_used &&
            ff_slice_is_equal(name, ff_slice_of(names[peer->followers[i].topic])))
            return &peer->followers[i];
    return NULL;
}

/* A message of each topic has its numbers in all of the topics that it matches. */
static uint64_t number_in(const struct follower *f, uint64_t id);

static void on_received(struct subscriber *socket, const struct ff_message *m)
{
    struct peer *peer = FF_CONTAINER(socket, struct peer, socket);
    struct follower *f =
        find(peer, ff_message_has(m, FF_FIELD_FILTER) ? ff_message_text(m, FF_FIELD_FILTER)
                                                      : ff_message_text(m, FF_FIELD_TOPIC));

    if (!f)
        return; /* the rest of what it was subscribed to before */
    if (m->type == FF_TYPE_GAP)
        account(f, m->values[FF_FIELD_SKIPPED].integer);
    else
        account_message(peer, f, number_in(f, subscriber_number(&m->payload)));
}

/* ids[topic][id] would be large: an id is unique in the world, found by search from the end. */
static struct {
    uint64_t *ids; /* of each message of the topic, in order */
} numbers[TOPICS];

static uint64_t number_in(const struct follower *f, uint64_t id)
{
    const struct truth *truth = &world.truths[f->topic];
    uint64_t low = 0;
    uint64_t high = truth->count;

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (numbers[f->topic].ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    assert_true(low < truth->count);
    assert_int_equal(numbers[f->topic].ids[low], id);
    return low + 1;
}

/* The oldest message that begins within so many octets of the head, found frame by frame. */
static uint64_t oldest_within(const struct log_view *view, uint64_t octets)
{
    for (const struct segment *segment = view->first;; segment = segment->next)
        for (uint32_t i = 0; i < segment->count; i++)
            if (view->head_byte - segment->first_byte - segment_frame(segment, i) <= octets ||
                segment->offset + segment_passed(segment, i) == view->offset - 1)
                return segment->offset + segment_passed(segment, i);
}

/* Where a range begins: where the overflow rule says? */
static void check_target(const struct flush_range *range)
{
    const struct subscription *s = range->subscription;
    const struct log_view *view = &range->view;
    bool is_waiting = s->zone == ZONE_WAITING;

    if (s->rate || s->no_echo)
        return;
    if (s->overflow == OVERFLOW_LATEST && (is_waiting || range->is_moved))
        assert_int_equal(range->target.offset, view->offset - 1);
    else if (s->overflow == OVERFLOW_SKIP && s->has_bound && (is_waiting || range->is_moved))
        assert_int_equal(range->target.offset,
                         s->cursor.offset > oldest_within(view, s->bound) && !range->is_moved
                             ? s->cursor.offset
                             : oldest_within(view, s->bound));
    else if (range->is_moved)
        assert_int_equal(range->target.offset, view->first->offset);
}

static void turn(void)
{
    wheel_advance(&world.wheel);
    router_mark_ready(&world.router);
    for (int i = 0; i < PEERS; i++)
        subscriber_flush(&world.peers[i].socket, &world.router);
    (void)router_trim(&world.router);
    router_release_idle(&world.router);
    if (dice_below(&world.dice, 10) == 0)
        router_close_too_slow(&world.router);
    for (int i = 0; i < TOPICS; i++) { /* no slow reader costs more than the bound */
        struct topic *topic = router_find(&world.router, ff_slice_of(names[i]));

        for (int k = 0; topic && k < KINDS; k++)
            if (topic->logs[k])
                assert_true(log_head_byte(&topic->logs[k]->log) -
                                log_tail_byte(&topic->logs[k]->log) <=
                            MAX_BUFFERED + SEGMENT_LARGEST + 2 * MAX_PAYLOAD);
    }
}

static void publish(void)
{
    static uint64_t id;
    uint32_t t = dice_below(&world.dice, 3);
    struct peer *peer = &world.peers[dice_below(&world.dice, PEERS)];
    uint32_t shape = dice_below(&world.dice, 100);
    size_t pad = shape < 80   ? dice_below(&world.dice, 200)
                 : shape < 98 ? dice_below(&world.dice, 6000)
                              : dice_below(&world.dice, MAX_PAYLOAD);
    int len = snprintf(world.payload, 32, "[%" PRIu64 ",\"", ++id);
    struct publication p = {.topic = ff_slice_of(names[t]), .publisher = peer->socket.tag};
    struct receipt receipt;
    uint32_t receivers = 0;

    memset(world.payload + len, 'x', pad);
    memcpy(world.payload + len + pad, "\"]", 2);
    p.payload = (struct ff_payload){FF_PAYLOAD_JSON, {world.payload, (size_t)len + pad + 2}};
    assert_int_equal(router_publish(&world.router, &p, &receipt), FF_OK);
    for (uint32_t i = 0; i < TOPICS; i++) {
        struct topic *topic = router_find(&world.router, ff_slice_of(names[i]));

        if (!ff_topic_is_match(ff_slice_of(names[i]), p.topic))
            continue;
        assert_true(world.truths[i].count < HISTORY);
        world.truths[i].tags[world.truths[i].count] = peer->socket.tag;
        numbers[i].ids[world.truths[i].count++] = id;
        receivers += topic ? topic_subscribers(topic) : 0;
    }
    assert_int_equal(receipt.receivers, receivers);
}

static void subscribe(struct peer *peer)
{
    uint32_t t = dice_below(&world.dice, TOPICS);
    enum log_kind kind = peer->socket.encoding == FF_JSON && dice_below(&world.dice, 3) == 0
                             ? KIND_TEXT
                             : kind_of(peer->socket.encoding);
    bool is_deflated = dice_below(&world.dice, 3) == 0 && t < 3; /* filters stay plain */

    if (find(peer, ff_slice_of(names[t])) || subscriber_has_rest(&peer->socket))
        return; /* what is left of an earlier subscription comes first */
    for (int i = 0; i < SUBSCRIPTIONS; i++) {
        struct follower *f = &peer->followers[i];

        if (f->is_used)
            continue;
        *f = (struct follower){.topic = t, .rate = -1, .is_used = true};
        f->s.owner = &peer->socket;
        f->s.no_echo = dice_below(&world.dice, 4) == 0;
        f->passed = world.truths[t].count;
        assert_int_equal(router_subscribe(&world.router, &f->s, ff_slice_of(names[t]),
                                          is_deflated ? log_kinds[kind].deflated : kind),
                         FF_OK);
        f->s.overflow = (uint8_t)dice_below(&world.dice, 3);
        f->s.has_bound = dice_below(&world.dice, 2) == 0;
        f->s.bound = dice_below(&world.dice, 4) ? dice_below(&world.dice, MAX_BUFFERED) : 0;
        if (dice_below(&world.dice, 4) == 0 && t < 3) {
            f->rate = dice_below(&world.dice, 3) ? 1 + dice_below(&world.dice, 100) : 0;
            assert_int_equal(rate_set(&world.router, &f->s, f->rate), FF_OK);
        }
        return;
    }
}

/* Everything up to the end is seen or told when a rated one leaves. */
static void unsubscribe(struct peer *peer)
{
    struct follower *f = &peer->followers[dice_below(&world.dice, SUBSCRIPTIONS)];

    if (!f->is_used)
        return;
    if (f->s.rate && !f->s.no_echo && !subscriber_has_rest(&peer->socket)) {
        uint64_t skipped = rate_take_skipped(&f->s, peer->socket.tag, false);

        assert_int_equal(f->told + skipped, f->missed + world.truths[f->topic].count - f->passed);
    }
    drop(f);
}

static void step(void)
{
    struct peer *peer = &world.peers[dice_below(&world.dice, PEERS)];
    uint32_t what = dice_below(&world.dice, 100);

    if (what < 45) {
        publish();
    } else if (what < 50) {
        subscribe(peer);
    } else if (what < 52) {
        unsubscribe(peer);
    } else if (what < 70) { /* it reads a little, much, or not at all */
        static const uint32_t rooms[] = {0, 1, 7, 100, 3000, 60000, ROOM};

        peer->socket.room = rooms[dice_below(&world.dice, FF_COUNT(rooms))];
        if (dice_below(&world.dice, 3) == 0) /* often just a gap */
            peer->socket.room = 40 + dice_below(&world.dice, 30);
    } else {
        world.now_ms += dice_below(&world.dice, 500) ? dice_below(&world.dice, 30) : 11000;
        turn();
    }
}

/* All read all there is: what was published was seen or told, to the last message. */
static void finish(void)
{
    for (int round = 0; round < 3000; round++) {
        for (int i = 0; i < PEERS; i++)
            world.peers[i].socket.room = ROOM * 2;
        world.now_ms += 20;
        turn();
    }
    for (int i = 0; i < PEERS; i++) {
        for (int k = 0; k < SUBSCRIPTIONS; k++) {
            struct follower *f = &world.peers[i].followers[k];

            if (!f->is_used)
                continue;
            if (f->rate < 0 && !f->s.no_echo)
                assert_int_equal(f->passed + f->told, world.truths[f->topic].count);
            if (f->rate != 0)
                assert_true(f->s.state == SUBSCRIPTION_IDLE ||
                            f->s.cursor.byte == log_head_byte(f->s.link->log));
            drop(f);
        }
        subscriber_deinit(&world.peers[i].socket);
    }
}

static void set_up(void)
{
    const struct router_limits limits = {.max_message = MAX_PAYLOAD + 64,
                                         .max_buffered = MAX_BUFFERED,
                                         .max_topics = 100,
                                         .max_filters = 100,
                                         .packing = {1, 15, 150, 2}};
    struct router_env env = {.pool = &world.pool,
                             .wheel = &world.wheel,
                             .now_ms = &world.now_ms,
                             .key = {{1, 2}},
                             .ops = &ops};

    pool_init(&world.pool, 1 << 20);
    wheel_init(&world.wheel, &world.now_ms);
    assert_int_equal(router_init(&world.router, &env, &limits), FF_OK);
    world.dice.state = seed;
    for (uint32_t i = 0; i < TOPICS; i++) {
        world.truths[i].tags = calloc(HISTORY, sizeof(uint64_t));
        numbers[i].ids = calloc(HISTORY, sizeof(uint64_t));
        assert_non_null(world.truths[i].tags);
        assert_non_null(numbers[i].ids);
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        struct peer *peer = &world.peers[i];

        /* Tags that differ in their upper half alone. */
        subscriber_init(&peer->socket, (uint64_t)(i + 1) << 32 | 1,
                        i % 3 == 0 ? FF_MSGPACK : FF_JSON);
        peer->socket.received = on_received;
        peer->socket.overrun = close_overrun;
        peer->socket.chosen = check_target;
    }
}

static void every_subscriber_sees_all_or_is_told(void **state)
{
    (void)state;
    print_message("    %" PRIu64 " steps, --seed %" PRIu64 "\n", steps, seed);
    set_up();
    for (uint64_t i = 0; i < steps; i++)
        step();
    finish();
    print_message("    %" PRIu64 " messages seen, %" PRIu64 " gaps, %" PRIu64 " closed\n",
                  world.seen, world.gaps, world.closed);
    assert_true(world.seen > steps / 4 && world.gaps > steps / 1000 && world.closed > 0);
    router_deinit(&world.router);
    pool_deinit(&world.pool);
    for (uint32_t i = 0; i < TOPICS; i++) {
        free(world.truths[i].tags);
        free(numbers[i].ids);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_subscriber_sees_all_or_is_told, nothing_leaked),
    };

    seed = (uint64_t)time(NULL) * 2654435761U + 1;
    steps = test_option(argc, argv, "--steps", steps);
    seed = test_option(argc, argv, "--seed", seed);
    return cmocka_run_group_tests_name("log_model", tests, NULL, NULL);
}
