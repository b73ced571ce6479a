/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several workers and what is between them, against a model: clients of each
 * worker subscribe, publish, stall, unsubscribe and disconnect at random, on
 * names that any worker owns and on filters that all of them share. Whatever
 * meets whatever, each subscription sees the owner's order, each message once,
 * or is told exactly how many it did not see; each publish is taken once, in the
 * order of its publisher, and answered once; one that is repeated with its key is not
 * taken again. In half of the runs the rings are
 * tiny and full all the time, in a third allocations fail now and then.
 *
 *   unit_crew [--steps N] [--seed S] [--workers W]     simulated: one thread, and
 *             a scheduler that picks whose turn goes one phase further
 *   unit_crew --threads 1 [...]                        a thread for each worker
 *   unit_crew --without-keys 1 [...]                   which fails: engines forget keys
 *
 * The seed is printed; simulated, the same seed is the same run.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "broker/carrier/channel.h"
#include "broker/engine/memory.h"
#include "broker/topic/retained.h"
#include "tests/support/crew.h"
#include "tests/support/late_engine.h"
#include "tests/support/test.h"

enum { PHASES = 6 };

static uint64_t steps = 100000;

static struct worker_model crew[TRUTH_OWNERS];
static struct qsbr qsbr;
static struct exchange *exchange;
static _Atomic uint32_t all_topics;
static _Atomic uint64_t steps_left;

/* One of the phases of a turn, as the worker and its gateway order them. */
static void run_phase(struct worker_model *at)
{
    if (at->is_late && at->phase % 4 == 0 && dice_below(&at->dice, 2)) /* before all, or after */
        late_engine_work(at->carrier->env.engine, dice_below(&at->dice, 40), &at->dice);
    if (at->phase != 3) /* there the subscribers read, and have no other memory */
        crew_starve(at);
    switch (at->phase) {
    case 0:
        qsbr_online(&qsbr, at->index);
        at->now_ms += dice_below(&at->dice, 200) ? dice_below(&at->dice, 20) : 11000;
        wheel_advance(&at->wheel);
        break;
    case 1:
        mailbox_open(&at->box);
        break;
    case 2:
        carrier_notify(at->carrier);
        router_mark_ready(&at->router);
        break;
    case 3:
        for (int i = 0; i < PEERS; i++)
            subscriber_flush(&at->peers[i].socket, &at->router);
        break;
    case 4:
        (void)router_trim(&at->router);
        router_release_idle(&at->router);
        carrier_release_idle(at->carrier);
        break;
    default:
        qsbr_offline(&qsbr, at->index);
        break;
    }
    crew_feed();
    at->phase = (at->phase + 1) % PHASES;
}

/* Of each room as many are members as are subscribed, and who listens was told so. */
static void check_rooms(void)
{
    uint64_t members = 0;
    uint64_t kept = 0;

    for (uint32_t topic = 0; topic < ROOMS; topic++)
        members += crew_members_of(crew, topic);
    for (uint32_t i = 0; i < crew_run.workers; i++)
        kept += engine_figures(crew[i].carrier->env.engine).members;
    assert_int_equal(kept, members);
    for (uint32_t i = 0; i < crew_run.workers * PEERS * SUBSCRIPTIONS; i++) {
        struct peer *peer = &crew[i / (PEERS * SUBSCRIPTIONS)].peers[i / SUBSCRIPTIONS % PEERS];
        struct follower *f = &peer->followers[i % SUBSCRIPTIONS];

        if (!f->cursors || f->topic >= ROOMS || f->members == UINT32_MAX)
            continue;
        assert_int_equal(membership_of(f->cursors)->news.state, SUBSCRIPTION_LINKED);
        assert_int_equal(f->members, crew_members_of(crew, f->topic));
    }
}

/* Everything is read and answered; only then is it known that nothing was lost. */
static void check_end(struct worker_model *at)
{
    assert_true(book_is_settled(&at->book));
    for (int i = 0; i < PEERS; i++) {
        struct peer *peer = &at->peers[i];

        assert_int_equal(peer->held.id, 0);
        assert_int_equal(at->silent[i], 0);
        for (int k = 0; k < SUBSCRIPTIONS; k++) {
            struct follower *f = &peer->followers[k];

            for (uint32_t cursor = 0; f->cursors && cursor < crew_cursors_of(f->topic); cursor++) {
                struct reading reading = crew_reading_of(peer, f);

                if (reading.is_rated)
                    continue;
                if (f->cursors[cursor].state == SUBSCRIPTION_IDLE)
                    at->slept++;
                else
                    assert_int_equal(f->cursors[cursor].cursor.byte,
                                     log_look(f->cursors[cursor].link->log).head_byte);
                stream_end(&f->streams[cursor], &reading, f->told);
            }
        }
    }
}

static void set_up_worker(uint32_t i)
{
    struct router_limits limits = {.max_message = MAX_PAYLOAD + 64,
                                   .max_buffered = MAX_BUFFERED,
                                   .max_topics = 100,
                                   .max_filters = 100,
                                   .max_keys = crew_run.max_messages,
                                   .max_retained = TRUTH_NAMES,
                                   .dedup_seconds = crew_run.without_keys ? 0 : DEDUP_SECONDS_MAX,
                                   .packing = {1, 15, 150, 2}};
    struct worker_model *at = &crew[i];
    struct router_env env = {.pool = &at->pool,
                             .wheel = &at->wheel,
                             .now_ms = &at->now_ms,
                             .key = {{1, 2}},
                             .ops = &crew_router_ops,
                             .arg = at,
                             .qsbr = &qsbr,
                             .all_topics = &all_topics};
    struct carrier_env carrier_env = {.router = &at->router,
                                      .exchange = exchange,
                                      .box = &at->box,
                                      .index = i,
                                      .events = &crew_events,
                                      .arg = at};

    memset(at, 0, sizeof(*at));
    at->index = i;
    at->dice.state = crew_run.seed + i * 0x9e3779b97f4a7c15U;
    at->book.is_loose = crew_run.is_starving;
    pool_init(&at->pool, 1 << 20);
    wheel_init(&at->wheel, &at->now_ms);
    mailbox_init(&at->box, NULL, NULL);
    crew_forget_epochs();
    /* Where memory is short an epoch may end, and that of a stranger with its last message. */
    if (!crew_run.is_starving)
        limits.history =
            (struct history_limits){.messages = 1 + dice_below(&at->dice, 200),
                                    .octets = 2 * MAX_PAYLOAD + dice_below(&at->dice, 60000),
                                    .seconds = 100000,
                                    .position_seconds = 1000000,
                                    .memory = 1 << 30};
    if (crew_run.without_positions)
        limits.history.memory = 0;
    assert_int_equal(router_init(&at->router, &env, &limits), FF_OK);
    at->is_late = crew_run.seed % 5 < 2;
    carrier_env.engine =
        at->is_late ? late_engine_new(&at->router) : memory_engine_new(&at->router);
    assert_non_null(carrier_env.engine);
    at->carrier = carrier_new(&carrier_env);
    assert_non_null(at->carrier);
    for (uint32_t p = 0; p < PEERS; p++) {
        at->peers[p].at = at;
        crew_begin(&at->peers[p], (i + p) % 3 == 0 ? FF_MSGPACK : FF_JSON);
    }
}

static void set_up(void)
{
    crew_run.max_messages = (uint32_t)(steps + steps / 2 + 1000);
    truth_begin(crew_run.max_messages, crew_run.workers);
    crew_run.is_taken = calloc(crew_run.max_messages + 1, sizeof(*crew_run.is_taken));
    assert_non_null(crew_run.is_taken);
    qsbr_init(&qsbr, crew_run.workers);
    /* Half of the runs with rings that are full all the time. */
    exchange = crew_run.seed % 2
                   ? exchange_new(crew_run.workers, 4096, 1024)
                   : exchange_new(crew_run.workers, CHANNEL_REQUESTS, CHANNEL_ANSWERS);
    assert_non_null(exchange);
    late_engine_content = crew_run.seed % 5 < 2 ? (uint32_t)(crew_run.seed % 200) : 0;
    atomic_store(&steps_left, steps);
    for (uint32_t i = 0; i < crew_run.workers; i++)
        set_up_worker(i);
}

/* Whole turns of all workers in one thread, with sockets that take everything. */
static void settle_all(void)
{
    for (int round = 0; round < 3000; round++) {
        for (uint32_t i = 0; i < crew_run.workers; i++) {
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
    for (uint32_t i = 0; i < crew_run.workers; i++)
        for (int p = 0; p < PEERS; p++)
            for (int k = 0; k < SUBSCRIPTIONS; k++) {
                struct follower *f = &crew[i].peers[p].followers[k];

                if (f->cursors && (all || f->rate == 0))
                    crew_drop(&crew[i].peers[p], f);
            }
}

static void free_all(void)
{
    leave_all(true);
    settle_all();
    check_rooms();
    assert_int_equal(atomic_load(&all_topics), 0);
    for (uint32_t i = 0; i < crew_run.workers; i++) {
        for (int p = 0; p < PEERS; p++)
            subscriber_deinit(&crew[i].peers[p].socket);
        carrier_free(crew[i].carrier);
        router_deinit(&crew[i].router);
        pool_deinit(&crew[i].pool);
    }
    exchange_free(exchange);
    truth_end();
    free(crew_run.is_taken);
    atomic_store(&crew_run.last_id, 0);
}

static void forget_retained(struct router *router)
{
    for (int t = 0; t < TRUTH_NAMES; t++) {
        struct topic *topic = router_find(router, ff_slice_of(truth_topics[t]));

        if (!topic)
            continue;
        retained_forget(topic);
        router_drop_unused(router, topic);
    }
}

static void check_all(void)
{
    uint64_t total[8] = {0};
    bool was_starving = crew_run.is_starving;

    crew_run.is_starving = false;
    settle_all();
    for (uint32_t i = 0; i < crew_run.workers; i++) {
        check_end(&crew[i]);
        total[0] += crew[i].seen;
        total[1] += crew[i].gaps;
        total[2] += crew[i].closed;
        total[3] += crew[i].held;
        total[4] += crew[i].book.kinds[BOOK_SUBSCRIBE];
        total[5] += crew[i].starved;
        total[6] += crew[i].repeats;
        total[7] += crew[i].news;
    }
    print_message("    %u published, %" PRIu64 " seen, %" PRIu64 " gaps, %" PRIu64
                  " closed, %" PRIu64 " refusals, %" PRIu64 " subscriptions, %" PRIu64
                  " for want of memory, %" PRIu64 " repeats, %" PRIu64 " of members\n",
                  atomic_load(&crew_run.last_id), total[0], total[1], total[2], total[3], total[4],
                  total[5], total[6], total[7]);
    assert_true(total[0] > steps / 4 && total[1] > 0 && total[2] > 0);
    assert_true(total[3] > 0 || crew_run.workers == 1); /* rings were full */
    assert_int_equal(total[5] > 0, was_starving);
    assert_int_equal(total[6] > 0, !was_starving);
    leave_all(false);
    settle_all();
    for (uint32_t i = 0; i < crew_run.workers;
         i++) { /* but for history, who has read all keeps nothing */
        crew[i].router.registry.limits.history.memory = 0;
        history_enforce(&crew[i].router);
        forget_retained(&crew[i].router);
    }
    settle_all(); /* others had seen what goes now */
    for (uint32_t i = 0; i < crew_run.workers; i++)
        assert_int_equal(crew[i].pool.used_bytes, 0);
}

/* Whose turn goes on, and how far, is the dice's to say: some sleep long, some run ahead. */
static void simulate(void)
{
    struct dice dice = {crew_run.seed};

    for (uint64_t i = 0; i < steps;) {
        struct worker_model *at = &crew[dice_below(&dice, crew_run.workers)];
        uint32_t burst = dice_below(&dice, 50) ? 1 + dice_below(&dice, 3) : dice_below(&dice, 60);

        while (burst-- > 0) {
            if (at->phase == 1 && dice_below(&dice, 3)) {
                crew_act(at); /* events are handled between the beginning and the end of a turn */
                i++;
            } else {
                run_phase(at);
            }
        }
    }
    for (uint32_t i = 0; i < crew_run.workers; i++)
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
            crew_act(at);
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
    for (uint32_t i = 0; i < crew_run.workers; i++)
        assert_int_equal(pthread_create(&crew[i].thread, NULL, run_thread, &crew[i]), 0);
    for (uint32_t i = 0; i < crew_run.workers; i++)
        assert_int_equal(pthread_join(crew[i].thread, NULL), 0);
}

static void all_see_one_order_or_are_told(void **state)
{
    (void)state;
    crew_run.is_starving = !crew_run.in_threads && crew_run.seed % 3 == 0;
    set_up();
    if (crew_run.in_threads)
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

    crew_run.seed = (uint64_t)time(NULL) * 2654435761U + 1;
    steps = test_option(argc, argv, "--steps", steps);
    crew_run.seed = test_option(argc, argv, "--seed", crew_run.seed);
    crew_run.workers = (uint32_t)test_option(argc, argv, "--workers", crew_run.workers);
    crew_run.in_threads = test_option(argc, argv, "--threads", 0);
    crew_run.without_keys = test_option(argc, argv, "--without-keys", 0);
    crew_run.without_positions = test_option(argc, argv, "--without-positions", 0);
    crew_run.without_recovery = test_option(argc, argv, "--without-recovery", 0);
    if (crew_run.workers < 1 || crew_run.workers > TRUTH_OWNERS) {
        (void)fprintf(stderr, "--workers takes 1 to %d\n", TRUTH_OWNERS);
        return EXIT_FAILURE;
    }
    print_message("    %" PRIu64 " steps, %u workers, %s, --seed %" PRIu64 "\n", steps,
                  crew_run.workers, crew_run.in_threads ? "in threads" : "simulated",
                  crew_run.seed);
    return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
