/* SPDX-License-Identifier: Apache-2.0 */
/* The carriers of two workers, with engines that answer when the test says so. */
#include "broker/carrier/channel.h"
#include "tests/support/late_engine.h"
#include "tests/support/test.h"

enum { COUNT = 2, SOME = 100 /* whose answers fill pages of a ring */, ALL = 10000 };

static struct worker {
    struct router router;
    struct pool pool;
    struct wheel wheel;
    struct mailbox box;
    struct carrier *carrier;
    uint32_t wakes; /* how often its sleep was ended */
    uint32_t published;
    uint32_t repeats; /* of these */
    uint32_t subscribed;
    uint32_t members; /* as the last answer said */
    uint32_t rooms;
} workers[COUNT];

static struct exchange *exchange;
static struct qsbr qsbr;
static _Atomic uint32_t all_topics;
static uint64_t now_ms = 1000;

static bool on_ready(void *arg, struct subscription *s)
{
    (void)arg;
    (void)s;
    return true;
}

static void on_overrun(void *arg, struct subscription *s)
{
    (void)arg;
    (void)s;
}

static void on_skipped(void *arg, struct subscription *s, uint64_t count)
{
    (void)arg;
    (void)s;
    (void)count;
}

static void on_published(void *arg, struct ticket ticket, const struct engine_receipt *receipt,
                         uint32_t count)
{
    struct worker *worker = arg;

    (void)ticket;
    assert_int_equal(receipt->err, FF_OK);
    worker->published += count;
    worker->repeats += receipt->is_duplicate;
}

static void on_subscribed(void *arg, struct ticket ticket, struct subscription *s,
                          struct ff_slice name, const struct engine_start *start)
{
    struct worker *worker = arg;

    (void)ticket;
    (void)s;
    (void)name;
    assert_int_equal(start->err, FF_OK);
    worker->subscribed++;
    worker->members = start->count;
}

static void on_turn(void *arg, struct ticket ticket, struct ff_slice frame, enum ff_err err)
{
    (void)arg;
    (void)ticket;
    (void)frame;
    (void)err;
}

static void on_room(void *arg, uint32_t queue)
{
    struct worker *worker = arg;

    worker->rooms += queue < COUNT;
}

static void wake(void *arg)
{
    struct worker *worker = arg;

    worker->wakes++;
}

static void set_up_worker(struct worker *worker)
{
    static const struct router_ops ops = {
        .ready = on_ready, .overrun = on_overrun, .skipped = on_skipped};
    static const struct carrier_events events = {.published = on_published,
                                                 .subscribed = on_subscribed,
                                                 .turn_came = on_turn,
                                                 .room = on_room};
    static const struct router_limits limits = {.max_message = 65536,
                                                .max_buffered = 65536,
                                                .max_topics = 100,
                                                .max_filters = 100,
                                                .max_keys = 100,
                                                .dedup_seconds = 300};
    struct router_env env = {.pool = &worker->pool,
                             .wheel = &worker->wheel,
                             .now_ms = &now_ms,
                             .key = {{1, 2}},
                             .ops = &ops,
                             .arg = worker,
                             .qsbr = &qsbr,
                             .all_topics = &all_topics};
    struct carrier_env carrier_env = {.router = &worker->router,
                                      .exchange = exchange,
                                      .box = &worker->box,
                                      .index = (uint32_t)(worker - workers),
                                      .events = &events,
                                      .arg = worker};

    *worker = (struct worker){.wakes = 0};
    pool_init(&worker->pool, 1 << 20);
    wheel_init(&worker->wheel, &now_ms);
    mailbox_init(&worker->box, wake, worker);
    assert_int_equal(router_init(&worker->router, &env, &limits), FF_OK);
    carrier_env.engine = late_engine_new(&worker->router);
    worker->carrier = carrier_new(&carrier_env);
    assert_non_null(worker->carrier);
}

static int begin(void **state)
{
    (void)state;
    qsbr_init(&qsbr, COUNT);
    exchange = exchange_new(COUNT, CHANNEL_REQUESTS, CHANNEL_ANSWERS);
    assert_non_null(exchange);
    for (int i = 0; i < COUNT; i++)
        set_up_worker(&workers[i]);
    return 0;
}

static int end(void **state)
{
    for (int i = 0; i < COUNT; i++) {
        carrier_free(workers[i].carrier);
        router_deinit(&workers[i].router);
        pool_deinit(&workers[i].pool);
    }
    exchange_free(exchange);
    return nothing_leaked(state);
}

/* A name of the other worker's. */
static struct ff_slice foreign_name(const struct worker *worker)
{
    static char name[8];

    for (unsigned i = 0;
         i == 0 || carrier_owner(worker->carrier, ff_slice_of(name)) == worker->carrier->env.index;
         i++)
        (void)snprintf(name, sizeof(name), "t%u", i % 1000);
    return ff_slice_of(name);
}

/* True: it was taken. `key`: or "". */
static bool publish_keyed(struct worker *worker, bool has_id, const char *key)
{
    struct publication p = {
        .publisher = 1, .payload = {FF_PAYLOAD_JSON, FF_SLICE("1")}, .key = ff_slice_of(key)};

    p.topic = foreign_name(worker);
    return carrier_publish(worker->carrier, &p,
                           (struct ticket){.session_tag = 1, .has_id = has_id});
}

static bool publish(struct worker *worker, bool has_id)
{
    return publish_keyed(worker, has_id, "");
}

static void turn(struct worker *worker)
{
    mailbox_open(&worker->box);
    carrier_notify(worker->carrier);
}

static void work(struct worker *worker)
{
    late_engine_work(worker->carrier->env.engine, ALL, NULL);
}

/* All that the first worker asks is with the other one's engine. */
static void ask(int count)
{
    while (count-- > 0)
        assert_true(publish(&workers[0], true));
    turn(&workers[0]);
    turn(&workers[1]);
}

static void hear(uint32_t published)
{
    turn(&workers[1]);
    turn(&workers[0]);
    assert_int_equal(workers[0].published, published);
}

/* An engine answers when it can: also right before the work of a second that was quiet. */
static void an_answer_outlives_a_quiet_second(void **state)
{
    (void)state;
    ask(SOME);
    work(&workers[1]);
    hear(SOME);
    carrier_release_idle(workers[1].carrier);
    ask(1);
    work(&workers[1]);
    carrier_release_idle(workers[1].carrier);
    hear(SOME + 1);
}

/* Both workers sleep while the engine takes its time, whoever waits for it. */
static void nobody_is_woken_before_there_is_an_answer(void **state)
{
    uint32_t asked = 0;
    uint32_t wakes;

    (void)state;
    for (int i = 0; i < 3; i++) { /* a full ring of requests is emptied, that of answers is not */
        while (publish(&workers[0], true))
            asked++;
        turn(&workers[0]);
        turn(&workers[1]);
        turn(&workers[0]);
    }
    assert_int_equal(asked, exchange->max_unanswered);
    workers[0].rooms = 0;
    wakes = workers[0].wakes + workers[1].wakes;
    for (int i = 0; i < 100; i++) {
        assert_false(publish(&workers[0], true));
        turn(&workers[0]);
        turn(&workers[1]);
    }
    assert_int_equal(workers[0].wakes + workers[1].wakes, wakes);
    work(&workers[1]);
    hear(asked);
    assert_int_equal(workers[0].rooms, 1);
}

/* The publisher could not wait: its message is with the engine, and it asks again. */
static void a_key_holds_while_the_first_is_under_way(void **state)
{
    (void)state;
    assert_true(publish_keyed(&workers[0], true, "k"));
    assert_true(publish_keyed(&workers[0], true, "k"));
    assert_true(publish_keyed(&workers[0], true, "other"));
    turn(&workers[0]);
    turn(&workers[1]);
    hear(0);
    work(&workers[1]);
    hear(3);
    assert_int_equal(workers[0].repeats, 1);
    assert_int_equal(workers[1].router.published, 2);
}

/* It listens, and does not, and goes: whenever that is, and whatever of it is answered already. */
static void a_member_goes_before_both_of_its_subscriptions_are_answered(void **state)
{
    (void)state;
    for (uint32_t answered = 0; answered <= 2; answered++) {
        for (int deaf = 0; deaf < 2; deaf++) {
            struct membership *member = ff_mem_zalloc(sizeof(*member));
            struct engine_subscription what = {.name = foreign_name(&workers[0]),
                                               .kind = KIND_JSON,
                                               .joins = true,
                                               .hears = true,
                                               .member = {.session = 7},
                                               .listing = {FF_JSON, 1000}};

            assert_non_null(member);
            member->s.is_member = true;
            assert_true(carrier_subscribe(workers[0].carrier, &member->s, &what,
                                          (struct ticket){.session_tag = 1}));
            turn(&workers[0]);
            turn(&workers[1]);
            late_engine_work(workers[1].carrier->env.engine, answered, NULL);
            turn(&workers[1]);
            turn(&workers[0]);
            if (deaf)
                carrier_stop_hearing(workers[0].carrier, member);
            carrier_unsubscribe(workers[0].carrier, &member->s);
            ff_mem_free(member);
            work(&workers[1]);
            for (int i = 0; i < 4; i++) {
                turn(&workers[1]);
                turn(&workers[0]);
            }
            assert_int_equal(workers[0].subscribed, answered * 2 + (uint32_t)deaf + 1);
            assert_int_equal(workers[0].members, 1);
            now_ms += 3000;
            wheel_advance(&workers[1].wheel);
            assert_int_equal(engine_figures(workers[1].carrier->env.engine).members, 0);
            assert_int_equal(atomic_load(&all_topics), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_outlives_a_quiet_second, begin, end),
        cmocka_unit_test_setup_teardown(nobody_is_woken_before_there_is_an_answer, begin, end),
        cmocka_unit_test_setup_teardown(a_key_holds_while_the_first_is_under_way, begin, end),
        cmocka_unit_test_setup_teardown(a_member_goes_before_both_of_its_subscriptions_are_answered,
                                        begin, end),
    };

    return cmocka_run_group_tests_name("carrier", tests, NULL, NULL);
}
