/* SPDX-License-Identifier: Apache-2.0 */
/* When a message is compressed, how often, and what that leaves behind. */
#include "protocol/websocket/deflater.h"
#include "tests/support/lone_router.h"
#include "tests/support/test.h"

static unsigned compressed_count;

size_t __real_ff_deflater_run(struct ff_deflater *deflater, uint8_t *out, size_t room,
                              const uint8_t *in, size_t len);
size_t __wrap_ff_deflater_run(struct ff_deflater *deflater, uint8_t *out, size_t room,
                              const uint8_t *in, size_t len);

size_t __wrap_ff_deflater_run(struct ff_deflater *deflater, uint8_t *out, size_t room,
                              const uint8_t *in, size_t len)
{
    compressed_count++;
    return __real_ff_deflater_run(deflater, out, room, in, len);
}

enum { CROWD = 20 };

/* Publishes so many octets to "a"; the log's head before and after it differ by the frame. */
static uint64_t publish_octets(size_t size, enum log_kind kind)
{
    static char text[PACKER_MOST * 2];
    const struct log *log = &router_find(&router, FF_SLICE("a"))->logs[kind]->log;
    uint64_t before = log_head_byte(log);
    struct publication p = {
        .topic = FF_SLICE("a"), .payload = {FF_PAYLOAD_JSON, {text, size}}, .publisher = 1};
    struct receipt receipt;

    memset(text, 'x', size);
    text[0] = text[size - 1] = '"';
    compressed_count = 0;
    assert_int_equal(router_publish(&router, &p, &receipt), FF_OK);
    return log_head_byte(log) - before;
}

/* A topic with one subscription has no log before its first message. */
static void wake(void)
{
    struct receipt receipt;

    assert_int_equal(publish_hello("a", &receipt), FF_OK);
}

static void configure_packing(struct packer_rules packing)
{
    struct router_limits limits = router.registry.limits;

    limits.packing = packing;
    router_configure(&router, &limits, NULL, 0);
}

static void subscribe_all(struct subscription *subs, uint32_t count, const char *name,
                          enum log_kind kind)
{
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(router_subscribe(&router, &subs[i], ff_slice_of(name), kind), FF_OK);
}

static void a_message_is_compressed_once_for_all_its_readers(void **state)
{
    static struct subscription subs[CROWD + 3];

    (void)state;
    memset(subs, 0, sizeof(subs));
    configure_packing((struct packer_rules){3, 15, 1024, 8});
    subscribe_all(subs, CROWD, "a", KIND_JSON_DEFLATED);
    subscribe_all(subs + CROWD, 1, "a", KIND_JSON);
    subscribe_all(subs + CROWD + 1, 2, "#", KIND_JSON);
    assert_true(publish_octets(2000, KIND_JSON_DEFLATED) < 200);
    assert_int_equal(compressed_count, 1);
    assert_true(publish_octets(2000, KIND_JSON) > 2000);
    assert_true(publish_octets(900, KIND_JSON_DEFLATED) > 900);
    assert_int_equal(compressed_count, 0);
    for (uint32_t i = 0; i < FF_COUNT(subs); i++)
        router_unsubscribe(&router, &subs[i]);
}

static void few_readers_large_messages_and_levels_decide(void **state)
{
    static struct subscription subs[8];

    (void)state;
    memset(subs, 0, sizeof(subs));
    configure_packing((struct packer_rules){3, 15, 1024, 8});
    subscribe_all(subs, 7, "a", KIND_TEXT_DEFLATED);
    assert_true(publish_octets(4000, KIND_TEXT_DEFLATED) > 4000);
    assert_true(publish_octets(4100, KIND_TEXT_DEFLATED) < 300);
    subscribe_all(subs + 7, 1, "a", KIND_TEXT_DEFLATED);
    assert_true(publish_octets(1100, KIND_TEXT_DEFLATED) < 200);
    assert_true(publish_octets(PACKER_MOST - 1000, KIND_TEXT_DEFLATED) < 4000);
    assert_true(publish_octets(PACKER_MOST + 1, KIND_TEXT_DEFLATED) > PACKER_MOST);
    assert_int_equal(compressed_count, 0);
    configure_packing((struct packer_rules){0});
    assert_true(publish_octets(8000, KIND_TEXT_DEFLATED) > 8000);
    for (uint32_t i = 0; i < FF_COUNT(subs); i++)
        router_unsubscribe(&router, &subs[i]);
}

/* Its 100 KiB and what was written are there while messages are compressed, and no longer. */
static void a_packer_that_rests_holds_nothing(void **state)
{
    struct subscription s = {.owner = NULL};
    size_t before;

    (void)state;
    configure_packing((struct packer_rules){3, 15, 1024, 1});
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON_DEFLATED), FF_OK);
    wake();
    before = ff_mem_live_bytes();
    (void)publish_octets(2000, KIND_JSON_DEFLATED);
    assert_true(ff_mem_live_bytes() > before + 50000);
    packer_give_back(&router.packer);
    assert_true(ff_mem_live_bytes() > before + 50000);
    packer_give_back(&router.packer);
    assert_true(ff_mem_live_bytes() < before + 10000);
    assert_true(publish_octets(2000, KIND_JSON_DEFLATED) < 200);
    router_unsubscribe(&router, &s);
}

/* Where there is no memory to compress it the message goes as it is. */
static void without_memory_a_message_is_not_compressed(void **state)
{
    struct subscription s = {.owner = NULL};
    bool was_plain = false;

    (void)state;
    configure_packing((struct packer_rules){3, 15, 1024, 1});
    assert_int_equal(router_subscribe(&router, &s, FF_SLICE("a"), KIND_JSON_DEFLATED), FF_OK);
    wake();
    for (uint64_t k = 1; k < 20; k++) {
        static const char text[2000] = "\"";
        struct publication p = {.topic = FF_SLICE("a"), .publisher = 1};
        struct topic *topic = router_find(&router, FF_SLICE("a"));
        uint64_t at = log_head_byte(&topic->logs[KIND_JSON_DEFLATED]->log);
        struct receipt receipt;
        enum ff_err err;

        p.payload = (struct ff_payload){FF_PAYLOAD_JSON, {text, sizeof(text)}};
        packer_give_back(&router.packer);
        packer_give_back(&router.packer);
        ff_mem_fail_at(k);
        err = router_publish(&router, &p, &receipt);
        ff_mem_fail_at(0);
        at = log_head_byte(&topic->logs[KIND_JSON_DEFLATED]->log) - at;
        assert_true(err == FF_OK ? at > 0 : err == FF_ENOMEM && at == 0);
        was_plain |= at > sizeof(text);
    }
    assert_true(was_plain);
    router_unsubscribe(&router, &s);
}

#define WITH_ROUTER(test) \
    cmocka_unit_test_setup_teardown(test, lone_router_set_up, lone_router_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROUTER(a_message_is_compressed_once_for_all_its_readers),
        WITH_ROUTER(few_readers_large_messages_and_levels_decide),
        WITH_ROUTER(a_packer_that_rests_holds_nothing),
        WITH_ROUTER(without_memory_a_message_is_not_compressed),
    };

    return cmocka_run_group_tests_name("packer", tests, NULL, NULL);
}
