/* SPDX-License-Identifier: Apache-2.0 */
/* A server with several workers begins and ends, or says why not and leaves nothing behind. */
#include "broker/app/server.h"
#include "broker/carrier/carrier.h"
#include "broker/net/logger.h"
#include "tests/support/late_engine.h"
#include "tests/support/test.h"

static struct config *new_config(char *error)
{
    static char words[][16] = {
        "fanfared",  "--listen", "127.0.0.1:0", "--listen", "[::1]:0",
        "--workers", "3",        "--log-level", "error",    "--sys",
    };
    static char *argv[FF_COUNT(words)];
    struct config_request request;

    for (size_t i = 0; i < FF_COUNT(words); i++)
        argv[i] = words[i];
    return config_new(FF_COUNT(argv), argv, &request, error);
}

/* True: it began. What fails is said. */
static bool begin_and_end(uint64_t failing)
{
    char error[CONFIG_ERROR_MAX] = "";
    struct config *config = new_config(error);
    struct server server;
    bool has_begun;

    assert_non_null(config);
    ff_mem_fail_at(failing);
    has_begun = server_init(&server, config, error);
    ff_mem_fail_at(0);
    if (has_begun)
        server_deinit(&server);
    else
        assert_true(strlen(error) > 0);
    return has_begun;
}

static void whatever_allocation_fails_nothing_is_left(void **state)
{
    uint64_t first = ff_mem_count();
    uint64_t count;
    unsigned failed = 0;

    (void)state;
    assert_true(begin_and_end(0));
    count = ff_mem_count() - first;
    for (uint64_t k = 1; k <= count; k++)
        failed += !begin_and_end(k);
    print_message("    %u of %lu allocations are needed to begin\n", failed, (unsigned long)count);
    assert_true(failed > 10);
}

static void a_reload_and_a_drain_reach_all_workers(void **state)
{
    char error[CONFIG_ERROR_MAX];
    struct server server;

    (void)state;
    assert_true(server_init(&server, new_config(error), error));
    for (int i = 0; i < 20; i++)
        assert_true(server_reload(&server, new_config(error), error));
    for (uint32_t i = 0; i < server.thread_count; i++)
        assert_ptr_equal(server.threads[i].gateway.settings, &server.config->settings);
    server_stop(&server, "the broker is restarting");
    server_run(&server); /* until all are drained */
    server_deinit(&server);
}

/* Each worker's engine is one that will never answer. */
static void begin_waiting(struct server *server)
{
    char error[CONFIG_ERROR_MAX];

    assert_true(server_init(server, new_config(error), error));
    for (uint32_t i = 0; i < server->thread_count; i++) {
        struct gateway *gateway = &server->threads[i].gateway;
        struct engine *engine = late_engine_new(&gateway->router);

        engine->events = gateway->carrier->env.engine->events;
        engine->arg = gateway->carrier;
        engine_free(gateway->carrier->env.engine);
        gateway->carrier->env.engine = engine;
    }
}

static void an_end_waits_for_no_engine(void **state)
{
    struct engine_subscription what = {.name = FF_SLICE("#"), .is_filter = true};
    struct carrier_turn turn = {
        .name = FF_SLICE("#"), .is_filter = true, .frame = FF_SLICE("later")};
    struct subscription s[3] = {{.index = 0}};
    struct publication p = {.payload = {FF_PAYLOAD_JSON, FF_SLICE("1")}};
    struct carrier *carrier;
    struct server server;
    char name[8];

    (void)state;
    begin_waiting(&server);
    carrier = server.threads[0].gateway.carrier;
    assert_true(carrier_subscribe(carrier, s, &what, (struct ticket){.is_filter = true}));
    for (int i = 0; i < 100; i++) {
        p.topic = (struct ff_slice){name, (size_t)snprintf(name, sizeof(name), "t%d", i)};
        assert_true(carrier_publish(carrier, &p, (struct ticket){.id = 1}));
    }
    assert_true(carrier_has_room(carrier, what.name, true));
    carrier_await_turn(carrier, &turn, (struct ticket){.id = 2});
    carrier_notify(carrier);
    carrier_unsubscribe(carrier, s);
    server_deinit(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(whatever_allocation_fails_nothing_is_left, nothing_leaked),
        cmocka_unit_test_teardown(a_reload_and_a_drain_reach_all_workers, nothing_leaked),
        cmocka_unit_test_teardown(an_end_waits_for_no_engine, nothing_leaked),
    };

    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
