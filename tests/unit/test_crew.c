/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several workers and what is between them, against a model: clients of each
 * worker subscribe, publish, stall, unsubscribe and disconnect at random, on
 * names that any worker owns and on filters that all of them share. Whatever
 * meets whatever, each subscription sees the owner's order, each message once,
 * or is told exactly how many it did not see; each publish is taken once, in the
 * order of its publisher, and answered once. In half of the runs the rings are
 * tiny and full all the time, in a third allocations fail now and then.
 *
 *   unit_crew [--steps N] [--seed S] [--workers W]     simulated: one thread, and
 *             a scheduler that picks whose turn goes one phase further
 *   unit_crew --threads 1 [...]                        a thread for each worker
 *
 * The seed is printed; simulated, the same seed is the same run.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "broker/engine/crossing.h"
#include "broker/topic/rate.h"
#include "tests/support/book.h"
#include "tests/support/subscriber.h"
#include "tests/support/truth.h"

enum {
    PEERS = 6,         /* of a worker */
    SUBSCRIPTIONS = 4, /* of a peer */
    MAX_PAYLOAD = 40000,
    MAX_BUFFERED = 60000,
    PHASES = 6,
    ROOM = 1 << 17,
};

static uint64_t steps = 100000;
static uint64_t seed;
static uint32_t workers = 4;
static bool in_threads;
static bool is_starving; /* a third of the simulated runs: allocations fail now and then */

static uint32_t max_messages;
static _Atomic uint32_t last_id;
static _Atomic uint64_t last_tag;

struct follower {
    struct subscription *parts; /* NULL: free */
    struct stream streams[TRUTH_OWNERS];
    uint32_t topic;
    uint32_t told;      /* a gap whose message is still to come: it tells the part */
    uint32_t first_own; /* the first message that its own session published behind it */
    double rate;
    bool is_acked;
    uint64_t born; /* the request for it */
};

struct peer {
    struct subscriber socket;
    struct worker_model *at;
    struct follower followers[SUBSCRIPTIONS];
    uint32_t held; /* a publish that was not taken: its id, topic, size */
    uint32_t held_topic;
    uint32_t held_pad;
};

struct worker_model {
    uint32_t index;
    uint32_t phase;
    struct router router;
    struct pool pool;
    struct wheel wheel;
    struct mailbox box;
    struct engine *engine;
    uint64_t now_ms;
    struct dice dice;
    struct peer peers[PEERS];
    struct book book;
    uint64_t silent[PEERS]; /* publishes without an id that are not counted as taken yet */
    uint64_t seen;
    uint64_t gaps;
    uint64_t closed;
    uint64_t held;
    uint64_t slept;   /* of those that are there in the end */
    uint64_t starved; /* requests refused for want of memory */
    pthread_t thread;
    char payload[MAX_PAYLOAD + 64];
    uint32_t last_from[TRUTH_OWNERS * PEERS * 4]; /* as an owner: the last id of each publisher */
};

static struct worker_model crew[TRUTH_OWNERS];
static struct epochs epochs;
static struct exchange *exchange;
static _Atomic uint32_t all_topics;
static _Atomic uint64_t steps_left;

/* Who publishes: tags change when a peer disconnects, places do not. */
static uint32_t place_of(const struct peer *peer)
{
    return peer->at->index * PEERS + (uint32_t)(peer - peer->at->peers);
}

/* The owner's order, noted where it is made. */
enum ff_err __real_router_publish(struct router *router, const struct publication *p,
                                  struct receipt *receipt);
enum ff_err __wrap_router_publish(struct router *router, const struct publication *p,
                                  struct receipt *receipt);

enum ff_err __wrap_router_publish(struct router *router, const struct publication *p,
                                  struct receipt *receipt)
{
    struct worker_model *owner = FF_CONTAINER(router, struct worker_model, router);
    uint32_t id = (uint32_t)subscriber_number(&p->payload);
    uint32_t place = (uint32_t)strtoul(strchr(p->payload.bytes.at, ',') + 1, NULL, 10);
    enum ff_err err;

    assert_int_equal(crossing_owner(owner->engine, p->topic), owner->index);
    if (id <= owner->last_from[place])
        fail_msg("message %u came after %u of the same publisher", id, owner->last_from[place]);
    owner->last_from[place] = id;
    truth_note(owner->index, id, p->tag, p->topic);
    err = __real_router_publish(router, p, receipt);
    if (err) { /* it is in no log, then */
        assert_true(is_starving && err == FF_ENOMEM);
        truth_take_back(owner->index, p->topic);
    }
    return err;
}

/* Between these two the workers' allocations fail by chance; what a test needs for itself does not.
 */
static void starve(struct worker_model *at)
{
    if (is_starving)
        ff_mem_fail_often(30, dice_roll(&at->dice));
}

static void feed(void)
{
    if (is_starving)
        ff_mem_fail_often(0, 0);
}

static uint32_t parts_of(uint32_t topic)
{
    return topic < TRUTH_NAMES ? 1 : workers;
}

/* The worker whose messages a part brings. */
static uint32_t owner_of_part(const struct worker_model *at, uint32_t topic, uint32_t part)
{
    return topic < TRUTH_NAMES ? crossing_owner(at->engine, ff_slice_of(truth_topics[topic]))
                               : part;
}

static struct follower *find(struct peer *peer, struct ff_slice name)
{
    for (int i = 0; i < SUBSCRIPTIONS; i++)
        if (peer->followers[i].parts &&
            ff_slice_is_equal(name, ff_slice_of(truth_topics[peer->followers[i].topic])))
            return &peer->followers[i];
    return NULL;
}

static struct reading reading_of(const struct peer *peer, const struct follower *f)
{
    return (struct reading){
        .tag = peer->socket.tag, .is_quiet = f->parts->no_echo, .is_rated = f->rate >= 0};
}

/* Message `id` came to a part. */
static void account(struct peer *peer, struct follower *f, uint32_t part, uint32_t id)
{
    struct stream *stream = &f->streams[part];
    struct reading reading = reading_of(peer, f);

    assert_true(f->is_acked);
    if (!stream->is_anchored && !in_threads && f->first_own)
        stream_is_before(stream, f->first_own);
    stream_take(stream, &reading, truth_number(id, f->topic), f->told);
    if (!reading.is_rated)
        f->told = 0;
}

static void on_received(struct subscriber *socket, const struct ff_message *m)
{
    struct peer *peer = FF_CONTAINER(socket, struct peer, socket);
    bool is_filtered = ff_message_has(m, FF_FIELD_FILTER);
    struct follower *f =
        find(peer, ff_message_text(m, is_filtered ? FF_FIELD_FILTER : FF_FIELD_TOPIC));
    struct ff_slice name = ff_message_text(m, FF_FIELD_TOPIC);
    uint32_t part = 0;
    uint32_t id;

    if (!f)
        return; /* the rest of what it was subscribed to before */
    if (m->type == FF_TYPE_GAP) {
        if (f->rate < 0 && !f->parts->no_echo) /* a gap and the message behind it are one unit */
            assert_int_equal(f->told, 0);
        f->told += (uint32_t)m->values[FF_FIELD_SKIPPED].integer;
        peer->at->gaps++;
        return;
    }
    id = (uint32_t)subscriber_number(&m->payload);
    if (f->topic >= TRUTH_NAMES)
        part = crossing_owner(peer->at->engine, name);
    assert_true(ff_topic_is_match(ff_slice_of(truth_topics[f->topic]), name));
    account(peer, f, part, id);
    peer->at->seen++;
}

static void forget(struct follower *f)
{
    ff_mem_free(f->parts);
    *f = (struct follower){.parts = NULL};
}

static void drop(struct peer *peer, struct follower *f)
{
    engine_unsubscribe(peer->at->engine, f->parts);
    forget(f);
}

static void on_overrun(void *arg, struct subscription *s)
{
    struct worker_model *at = arg;
    struct peer *peer = FF_CONTAINER(s->owner, struct peer, socket);
    struct follower *f = find(peer, subscription_name(s));

    assert_int_equal(s->overflow, OVERFLOW_CLOSE);
    assert_non_null(f);
    at->closed++;
    drop(peer, f);
}

static void close_overrun(struct subscription *s)
{
    on_overrun(FF_CONTAINER(s->owner, struct peer, socket)->at, s);
}

static void on_skipped(void *arg, struct subscription *s, uint64_t count)
{
    struct peer *peer = FF_CONTAINER(s->owner, struct peer, socket);
    struct follower *f = find(peer, subscription_name(s));

    (void)arg;
    assert_non_null(f);
    f->told += (uint32_t)count;
}

static void on_published(void *arg, struct ticket ticket, const struct engine_receipt *receipt)
{
    struct worker_model *at = arg;
    uint32_t silent = receipt->count - ticket.has_id;

    assert_true(receipt->err == FF_OK || (is_starving && receipt->err == FF_ENOMEM));
    assert_true(receipt->count > 0 && at->silent[ticket.session_place] >= silent);
    at->starved += receipt->err != FF_OK;
    at->silent[ticket.session_place] -= silent;
    if (ticket.has_id)
        assert_int_equal(book_answer(&at->book, ticket.id).kind, BOOK_PUBLISH);
}

/* The subscription that a request was about; NULL: it went. */
static struct follower *follower_of(struct worker_model *at, const struct book_entry *request)
{
    struct peer *peer = &at->peers[request->peer];

    for (int i = 0; i < SUBSCRIPTIONS; i++)
        if (peer->followers[i].parts && peer->followers[i].born == request->subject)
            return &peer->followers[i];
    return NULL;
}

static void on_subscribed(void *arg, struct ticket ticket, struct subscription *s,
                          struct ff_slice name, enum ff_err err)
{
    struct worker_model *at = arg;
    struct book_entry request = book_answer(&at->book, ticket.id);
    struct follower *f = follower_of(at, &request);

    assert_int_equal(request.kind, BOOK_SUBSCRIBE);
    assert_true(ff_slice_is_equal(name, ff_slice_of(truth_topics[request.topic])));
    at->starved += err != FF_OK;
    assert_true(err == FF_OK || (is_starving && err == FF_ENOMEM));
    if (!s) { /* unsubscribed meanwhile */
        assert_null(f);
        return;
    }
    assert_non_null(f);
    assert_ptr_equal(f->parts, s);
    if (err) {
        for (uint32_t i = 0; i < parts_of(f->topic); i++)
            assert_null(s[i].link);
        rate_free(s);
        forget(f);
        return;
    }
    assert_int_equal(ticket.session_tag, at->peers[request.peer].socket.tag);
    f->is_acked = true;
    for (uint32_t i = 0; i < parts_of(f->topic); i++) {
        assert_non_null(s[i].link);
        stream_acknowledge(&f->streams[i]);
    }
}

static struct ticket ticket_of(const struct peer *peer, uint64_t id)
{
    return (struct ticket){.id = id,
                           .session_tag = peer->socket.tag,
                           .session_place = (uint32_t)(peer - peer->at->peers),
                           .has_id = id != 0};
}

/* What a session answers by itself: it wants to leave, or to change, or was neither there before.
 */
static void await_turn(struct peer *peer, uint32_t topic, enum book_kind kind, uint64_t subject,
                       struct subscription *s)
{
    struct worker_model *at = peer->at;
    uint64_t id = book_ask(&at->book, (uint32_t)(peer - at->peers), topic, kind, subject);
    struct engine_turn turn = {.name = ff_slice_of(truth_topics[topic]),
                               .is_filter = topic >= TRUTH_NAMES,
                               .subscription = s,
                               .frame = {(const char *)&id, sizeof(id)}};

    starve(at);
    engine_await_turn(at->engine, &turn, ticket_of(peer, id));
    feed();
}

static void on_turn(void *arg, struct ticket ticket, struct ff_slice frame, enum ff_err err)
{
    struct worker_model *at = arg;
    struct book_entry request = book_answer(&at->book, ticket.id);
    const struct follower *f = follower_of(at, &request);

    assert_int_equal(frame.len, sizeof(ticket.id));
    assert_memory_equal(frame.at, &ticket.id, frame.len);
    if (err) /* what was to be changed was refused, which was told before this */
        assert_true(is_starving && err == FF_ENOMEM && request.kind == BOOK_CHANGE && !f);
    else if (request.kind == BOOK_CHANGE && f && !is_starving)
        assert_true(f->is_acked);
}

static bool has_room(const struct peer *peer, uint32_t topic)
{
    bool has_room =
        engine_has_room(peer->at->engine, ff_slice_of(truth_topics[topic]), topic >= TRUTH_NAMES);

    peer->at->held += !has_room;
    return has_room;
}

/* A request to change a subscription, or to end it, whether it is answered already or not. */
static void change(struct peer *peer, struct follower *f)
{
    uint32_t topic = f->topic;
    uint64_t born = f->born;

    if (!has_room(peer, topic))
        return;
    if (dice_below(&peer->at->dice, 3) == 0) {
        await_turn(peer, topic, BOOK_CHANGE, born, f->parts);
        return;
    }
    drop(peer, f);
    await_turn(peer, topic, BOOK_UNSUBSCRIBE, born, NULL);
}

/* True: it was taken. */
static bool try_publish(struct peer *peer, uint32_t id, uint32_t topic, uint32_t pad)
{
    struct worker_model *at = peer->at;
    int len = snprintf(at->payload, 48, "[%u,%u,\"", id, place_of(peer));
    struct publication p = {.topic = ff_slice_of(truth_topics[topic]), .tag = peer->socket.tag};
    uint32_t place = (uint32_t)(peer - at->peers);
    uint64_t asked = 0;
    bool is_taken;

    if (id % 32 == 0 || seed % 4 == 1)
        asked = book_ask(&at->book, place, topic, BOOK_PUBLISH, 0);
    else
        at->silent[place]++;

    memset(at->payload + len, 'x', pad);
    memcpy(at->payload + len + pad, "\"]", 3);
    p.payload = (struct ff_payload){FF_PAYLOAD_JSON, {at->payload, (size_t)len + pad + 2}};
    starve(at);
    is_taken = engine_publish(at->engine, &p, ticket_of(peer, asked));
    feed();
    if (is_taken)
        return true;
    if (asked)
        book_take_back(&at->book, asked);
    else
        at->silent[place]--;
    peer->held = id;
    peer->held_topic = topic;
    peer->held_pad = pad;
    at->held++;
    return false;
}

/* Any name, but often one that it has just asked for: what comes behind it must be seen. */
static uint32_t choose_topic(const struct peer *peer)
{
    const struct follower *f = &peer->followers[dice_below(&peer->at->dice, SUBSCRIPTIONS)];

    return f->parts && !f->is_acked && f->topic < TRUTH_NAMES
               ? f->topic
               : dice_below(&peer->at->dice, TRUTH_NAMES);
}

static void publish(struct worker_model *at)
{
    struct peer *peer = &at->peers[dice_below(&at->dice, PEERS)];
    uint32_t shape = dice_below(&at->dice, 100);
    /* Now and then a burst, so that rings get full. */
    uint32_t count = dice_below(&at->dice, 300) ? 1 : 60 + dice_below(&at->dice, 300);

    while (count-- > 0 && !peer->held) {
        struct follower *f;
        uint32_t topic;
        uint32_t id;

        if (atomic_load(&last_id) + TRUTH_OWNERS >= max_messages)
            return;
        id = atomic_fetch_add(&last_id, 1) + 1;
        topic = choose_topic(peer);
        f = find(peer, ff_slice_of(truth_topics[topic]));
        if (f && !f->first_own)
            f->first_own = id;
        (void)try_publish(peer, id, topic,
                          shape < 80   ? dice_below(&at->dice, 200)
                          : shape < 98 ? dice_below(&at->dice, 6000)
                                       : dice_below(&at->dice, MAX_PAYLOAD));
    }
}

static void on_room(void *arg, uint32_t queue)
{
    struct worker_model *at = arg;

    (void)queue; /* whoever waits tries again */

    for (int i = 0; i < PEERS; i++) {
        struct peer *peer = &at->peers[i];
        uint32_t id = peer->held;

        peer->held = 0;
        if (id)
            (void)try_publish(peer, id, peer->held_topic, peer->held_pad);
    }
}

static void subscribe(struct peer *peer, uint32_t t)
{
    struct worker_model *at = peer->at;
    uint32_t i = 0;
    struct follower *f;
    struct ticket ticket;
    uint8_t overflow;
    bool no_echo;
    bool is_taken;

    if (find(peer, ff_slice_of(truth_topics[t])) || subscriber_has_rest(&peer->socket))
        return; /* what is left of an earlier subscription comes first */
    while (i < SUBSCRIPTIONS && peer->followers[i].parts)
        i++;
    if (i == SUBSCRIPTIONS)
        return;
    f = &peer->followers[i];
    *f = (struct follower){.topic = t, .rate = -1};
    f->parts = ff_mem_zalloc(parts_of(t) * sizeof(struct subscription));
    assert_non_null(f->parts);
    if (dice_below(&at->dice, 5) == 0 && t < TRUTH_NAMES)
        f->rate = dice_below(&at->dice, 3) ? 1 + dice_below(&at->dice, 100) : 0;
    overflow = (uint8_t)dice_below(&at->dice, 3);
    no_echo = dice_below(&at->dice, 4) == 0;
    if (no_echo &&
        t >= TRUTH_NAMES) /* a gap with only own messages behind it would not tell its part */
        overflow = OVERFLOW_CLOSE;
    for (uint32_t k = 0; k < parts_of(t); k++) {
        f->parts[k].owner = &peer->socket;
        f->parts[k].no_echo = no_echo;
        f->parts[k].overflow = overflow;
        stream_begin(&f->streams[k], t, owner_of_part(at, t, k));
    }
    if (f->rate >= 0)
        assert_int_equal(rate_set(&at->router, f->parts, f->rate), FF_OK);
    f->born = at->book.last_id + 1;
    (void)book_ask(&at->book, (uint32_t)(peer - at->peers), t, BOOK_SUBSCRIBE, f->born);
    ticket = ticket_of(peer, f->born);
    ticket.is_filter = t >= TRUTH_NAMES;
    starve(at);
    is_taken = engine_subscribe(at->engine, f->parts, ff_slice_of(truth_topics[t]),
                                peer->socket.encoding, ticket);
    feed();
    if (is_taken)
        return;
    book_take_back(&at->book, ticket.id); /* no room: it could try again, but need not */
    at->held++;
    rate_free(f->parts);
    forget(f);
}

static void leave(struct peer *peer)
{
    for (int i = 0; i < SUBSCRIPTIONS; i++)
        if (peer->followers[i].parts)
            drop(peer, &peer->followers[i]);
}

static void begin(struct peer *peer, enum ff_encoding encoding)
{
    subscriber_init(&peer->socket, (atomic_fetch_add(&last_tag, 1) + 1) << 32 | 1, encoding);
    peer->socket.received = on_received;
    peer->socket.overrun = close_overrun;
}

/* It goes, in the middle of whatever; another client comes in its place. */
static void disconnect(struct peer *peer)
{
    enum ff_encoding encoding = peer->socket.encoding;

    leave(peer);
    subscriber_deinit(&peer->socket);
    begin(peer, encoding);
}

static void act(struct worker_model *at)
{
    struct peer *peer = &at->peers[dice_below(&at->dice, PEERS)];
    struct follower *f = &peer->followers[dice_below(&at->dice, SUBSCRIPTIONS)];
    uint32_t what = dice_below(&at->dice, 1000);

    if (what < 600) {
        publish(at);
    } else if (what < 700) {
        subscribe(peer, dice_below(&at->dice, TRUTH_TOPICS));
    } else if (what < 740) {
        if (f->parts)
            change(peer, f);
    } else if (what < 745) {
        if (!peer->held)
            disconnect(peer);
    } else { /* it reads a little, much, or not at all */
        static const uint32_t rooms[] = {0, 1, 7, 100, 3000, 60000, ROOM, ROOM, ROOM};

        peer->socket.room = rooms[dice_below(&at->dice, FF_COUNT(rooms))];
    }
}

/* One of the phases of a turn, as the worker and its gateway order them. */
static void run_phase(struct worker_model *at)
{
    if (at->phase != 3) /* there the subscribers read, and have no other memory */
        starve(at);
    switch (at->phase) {
    case 0:
        epoch_enter(&epochs, at->index);
        at->now_ms += dice_below(&at->dice, 200) ? dice_below(&at->dice, 20) : 11000;
        wheel_advance(&at->wheel);
        break;
    case 1:
        mailbox_open(&at->box);
        break;
    case 2:
        engine_tell(at->engine);
        router_walk(&at->router);
        break;
    case 3:
        for (int i = 0; i < PEERS; i++)
            subscriber_flush(&at->peers[i].socket, &at->router);
        break;
    case 4:
        (void)router_settle(&at->router);
        router_rest(&at->router);
        engine_rest(at->engine);
        break;
    default:
        epoch_leave(&epochs, at->index);
        break;
    }
    feed();
    at->phase = (at->phase + 1) % PHASES;
}

/* Everything is read and answered; only then is it known that nothing was lost. */
static void check_end(struct worker_model *at)
{
    assert_true(book_is_settled(&at->book));
    for (int i = 0; i < PEERS; i++) {
        struct peer *peer = &at->peers[i];

        assert_int_equal(peer->held, 0);
        assert_int_equal(at->silent[i], 0);
        for (int k = 0; k < SUBSCRIPTIONS; k++) {
            struct follower *f = &peer->followers[k];

            for (uint32_t part = 0; f->parts && part < parts_of(f->topic); part++) {
                struct reading reading = reading_of(peer, f);

                if (reading.is_rated)
                    continue;
                if (subscription_is_asleep(&f->parts[part]))
                    at->slept++;
                else
                    assert_int_equal(f->parts[part].cursor.position,
                                     log_look(f->parts[part].link->log).head);
                stream_end(&f->streams[part], &reading, f->told);
            }
        }
    }
}

static void set_up_worker(uint32_t i)
{
    static const struct router_ops ops = {
        .ready = subscriber_ready, .overrun = on_overrun, .skipped = on_skipped};
    static const struct engine_events events = {.published = on_published,
                                                .subscribed = on_subscribed,
                                                .turn_came = on_turn,
                                                .room = on_room};
    static const struct router_limits limits = {.max_message = MAX_PAYLOAD + 64,
                                                .max_buffered = MAX_BUFFERED,
                                                .max_topics = 100,
                                                .max_filters = 100};
    struct worker_model *at = &crew[i];
    struct router_env env = {.pool = &at->pool,
                             .wheel = &at->wheel,
                             .now_ms = &at->now_ms,
                             .key = {{1, 2}},
                             .ops = &ops,
                             .arg = at,
                             .epochs = &epochs,
                             .all_topics = &all_topics};

    memset(at, 0, sizeof(*at));
    at->index = i;
    at->dice.state = seed + i * 0x9e3779b97f4a7c15U;
    at->book.is_loose = is_starving;
    pool_init(&at->pool, 1 << 20);
    wheel_init(&at->wheel, &at->now_ms);
    mailbox_init(&at->box, NULL, NULL);
    assert_int_equal(router_init(&at->router, &env, &limits), FF_OK);
    at->engine = crossing_new(exchange, i, &at->box, &at->router, &events, at);
    assert_non_null(at->engine);
    for (uint32_t p = 0; p < PEERS; p++) {
        at->peers[p].at = at;
        begin(&at->peers[p], (i + p) % 3 == 0 ? FF_MSGPACK : FF_JSON);
    }
}

static void set_up(void)
{
    max_messages = (uint32_t)(steps + steps / 2 + 1000);
    truth_begin(max_messages, workers);
    epochs_init(&epochs, workers);
    /* Half of the runs with rings that are full all the time. */
    exchange = seed % 2 ? exchange_new(workers, 4096, 1024)
                        : exchange_new(workers, CHANNEL_ASKS, CHANNEL_ANSWERS);
    assert_non_null(exchange);
    atomic_store(&steps_left, steps);
    for (uint32_t i = 0; i < workers; i++)
        set_up_worker(i);
}

/* Whole turns of all workers in one thread, with sockets that take everything. */
static void settle_all(void)
{
    for (int round = 0; round < 3000; round++) {
        for (uint32_t i = 0; i < workers; i++) {
            for (int p = 0; p < PEERS; p++)
                crew[i].peers[p].socket.room = ROOM * 2;
            do
                run_phase(&crew[i]);
            while (crew[i].phase);
        }
    }
}

/* Everybody, or only those whose rate is 0: they keep the newest message. */
static void leave_all(bool all)
{
    for (uint32_t i = 0; i < workers; i++)
        for (int p = 0; p < PEERS; p++)
            for (int k = 0; k < SUBSCRIPTIONS; k++) {
                struct follower *f = &crew[i].peers[p].followers[k];

                if (f->parts && (all || f->rate == 0))
                    drop(&crew[i].peers[p], f);
            }
}

static void free_all(void)
{
    leave_all(true);
    settle_all();
    assert_int_equal(atomic_load(&all_topics), 0);
    for (uint32_t i = 0; i < workers; i++) {
        for (int p = 0; p < PEERS; p++)
            subscriber_deinit(&crew[i].peers[p].socket);
        engine_free(crew[i].engine);
        router_deinit(&crew[i].router);
        pool_deinit(&crew[i].pool);
    }
    exchange_free(exchange);
    truth_end();
    atomic_store(&last_id, 0);
}

static void check_all(void)
{
    uint64_t total[6] = {0};
    bool was_starving = is_starving;

    is_starving = false;
    settle_all();
    for (uint32_t i = 0; i < workers; i++) {
        check_end(&crew[i]);
        total[0] += crew[i].seen;
        total[1] += crew[i].gaps;
        total[2] += crew[i].closed;
        total[3] += crew[i].held;
        total[4] += crew[i].book.kinds[BOOK_SUBSCRIBE];
        total[5] += crew[i].starved;
    }
    print_message(
        "    %u published, %" PRIu64 " seen, %" PRIu64 " gaps, %" PRIu64 " closed, %" PRIu64
        " refusals, %" PRIu64 " subscriptions, %" PRIu64 " for want of memory\n",
        atomic_load(&last_id), total[0], total[1], total[2], total[3], total[4], total[5]);
    assert_true(total[0] > steps / 4 && total[1] > 0 && total[2] > 0);
    assert_true(total[3] > 0 || workers == 1); /* rings were full */
    assert_int_equal(total[5] > 0, was_starving);
    leave_all(false);
    settle_all();
    for (uint32_t i = 0; i < workers; i++) /* who has read all keeps nothing */
        assert_int_equal(crew[i].pool.used_bytes, 0);
}

/* Whose turn goes on, and how far, is the dice's to say: some sleep long, some run ahead. */
static void simulate(void)
{
    struct dice dice = {seed};

    for (uint64_t i = 0; i < steps;) {
        struct worker_model *at = &crew[dice_below(&dice, workers)];
        uint32_t burst = dice_below(&dice, 50) ? 1 + dice_below(&dice, 3) : dice_below(&dice, 60);

        while (burst-- > 0) {
            if (at->phase == 1 && dice_below(&dice, 3)) {
                act(at); /* events are handled between the beginning and the end of a turn */
                i++;
            } else {
                run_phase(at);
            }
        }
    }
    for (uint32_t i = 0; i < workers; i++)
        while (crew[i].phase)
            run_phase(&crew[i]);
}

static void *run_thread(void *arg)
{
    struct worker_model *at = arg;

    while (atomic_load_explicit(&steps_left, memory_order_relaxed) > 0) {
        uint32_t events = dice_below(&at->dice, 12);

        run_phase(at);
        for (uint32_t i = 0; i < events; i++)
            act(at);
        do
            run_phase(at);
        while (at->phase);
        if (atomic_fetch_sub(&steps_left, events) < events + TRUTH_OWNERS * 12)
            atomic_store(&steps_left, 0);
        if (dice_below(&at->dice, 20) == 0)
            sched_yield();
    }
    return NULL;
}

static void run_threads(void)
{
    for (uint32_t i = 0; i < workers; i++)
        assert_int_equal(pthread_create(&crew[i].thread, NULL, run_thread, &crew[i]), 0);
    for (uint32_t i = 0; i < workers; i++)
        assert_int_equal(pthread_join(crew[i].thread, NULL), 0);
}

static void all_see_one_order_or_are_told(void **state)
{
    (void)state;
    is_starving = !in_threads && seed % 3 == 0;
    set_up();
    if (in_threads)
        run_threads();
    else
        simulate();
    check_all();
    free_all();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(all_see_one_order_or_are_told, nothing_leaked),
    };

    seed = (uint64_t)time(NULL) * 2654435761U + 1;
    steps = test_option(argc, argv, "--steps", steps);
    seed = test_option(argc, argv, "--seed", seed);
    workers = (uint32_t)test_option(argc, argv, "--workers", workers);
    in_threads = test_option(argc, argv, "--threads", 0);
    if (workers < 1 || workers > TRUTH_OWNERS) {
        (void)fprintf(stderr, "--workers takes 1 to %d\n", TRUTH_OWNERS);
        return EXIT_FAILURE;
    }
    print_message("    %" PRIu64 " steps, %u workers, %s, --seed %" PRIu64 "\n", steps, workers,
                  in_threads ? "in threads" : "simulated", seed);
    return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
