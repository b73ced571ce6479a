/* SPDX-License-Identifier: Apache-2.0 */
/* What the floors above rely on: counted memory, bounded buffers, maps, strict base64. */
#include "protocol/base/base64.h"
#include "protocol/base/buf.h"
#include "protocol/base/codes.h"
#include "protocol/base/guess.h"
#include "protocol/base/list.h"
#include "protocol/base/map.h"
#include "protocol/base/reserve.h"
#include "tests/support/test.h"

static void memory_is_counted_and_can_be_made_to_fail(void **state)
{
    void *block = ff_mem_alloc(100);

    (void)state;
    assert_non_null(block);
    assert_true(ff_mem_live_bytes() >= 100);
    assert_int_equal(ff_mem_live_blocks(), 1);
    ff_mem_fail_at(2);
    block = ff_mem_realloc(block, 200);
    assert_non_null(block);
    assert_null(ff_mem_alloc(1));
    ff_mem_fail_at(0);
    ff_mem_free(block);
    ff_mem_free(NULL);
    assert_int_equal(ff_mem_live_bytes(), 0);
}

static void a_buffer_grows_up_to_its_maximum_and_no_further(void **state)
{
    struct ff_buf b;

    (void)state;
    ff_buf_init(&b, 100);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ff_buf_append(&b, "0123456789", 10), FF_OK);
    assert_int_equal(ff_buf_append(&b, "x", 1), FF_ELIMIT);
    assert_int_equal(b.len, 100);
    ff_buf_consume(&b, 95);
    assert_memory_equal(b.data, "56789", 5);
    assert_int_equal(ff_buf_printf(&b, "%d-%s", 42, "x"), FF_OK);
    assert_true(ff_slice_is_equal(ff_buf_slice(&b), FF_SLICE("5678942-x")));
    ff_buf_deinit(&b);
}

static void grow_a_buffer(void)
{
    struct ff_buf b;

    ff_buf_init(&b, 1 << 20);
    for (int i = 0; i < 100; i++)
        if (ff_buf_append(&b, "0123456789", 10))
            break;
    ff_buf_deinit(&b);
}

static void a_buffer_without_memory_leaks_nothing(void **state)
{
    (void)state;
    for_each_failing_allocation(grow_a_buffer);
}

struct thing {
    struct ff_map_node node;
    uint32_t key;
};

static bool is_thing(const void *arg, const struct ff_map_node *node)
{
    return FF_CONTAINER_CONST(node, struct thing, node)->key == *(const uint32_t *)arg;
}

static void a_map_finds_what_was_added_and_not_what_was_removed(void **state)
{
    enum { COUNT = 5000 };
    static struct thing things[COUNT];
    struct ff_hash_key key = {{1, 2}};
    struct ff_map map;
    size_t seen = 0;

    (void)state;
    assert_int_equal(ff_map_init(&map), FF_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        things[i].key = i;
        ff_map_add(&map, &things[i].node, ff_hash(&key, &i, sizeof(i)));
    }
    for (uint32_t i = 0; i < COUNT; i += 2)
        ff_map_remove(&map, &things[i].node);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct ff_map_node *found = ff_map_find(&map, ff_hash(&key, &i, sizeof(i)), is_thing, &i);

        assert_ptr_equal(found, i % 2 ? &things[i].node : NULL);
    }
    for (struct ff_map_node *n = NULL; (n = ff_map_next(&map, n));)
        seen++;
    assert_int_equal(seen, COUNT / 2);
    assert_int_equal(map.count, COUNT / 2);
    ff_map_deinit(&map);
}

static void the_hash_is_siphash_1_3(void **state)
{
    /* Key 00..0f, input 00..0e: the 64-bit value folded; guards against a silent change. */
    struct ff_hash_key key = {{0x0706050403020100U, 0x0f0e0d0c0b0a0908U}};
    uint8_t in[15];
    uint32_t a;

    (void)state;
    for (uint8_t i = 0; i < sizeof(in); i++)
        in[i] = i;
    a = ff_hash(&key, in, sizeof(in));
    in[14] ^= 1;
    assert_true(ff_hash(&key, in, sizeof(in)) != a);
    in[14] ^= 1;
    key.words[0] ^= 1;
    assert_true(ff_hash(&key, in, sizeof(in)) != a);
}

static void the_digest_is_siphash_1_3_of_128_bits(void **state)
{
    /* By the reference implementation, its rounds set to 1 and 3. */
    static const struct {
        size_t len;
        uint64_t words[2];
    } cases[] = {
        {0, {0xbea58827b2bc7ee7U, 0x013030dd6adb62fdU}},
        {1, {0xa8edd36004376ffcU, 0x63f02f2bcc73055eU}},
        {15, {0x6c52bdb205557ec1U, 0x09017e1eeccd2129U}},
    };
    struct ff_hash_key key = {{0x0706050403020100U, 0x0f0e0d0c0b0a0908U}};
    uint8_t in[15];

    (void)state;
    for (uint8_t i = 0; i < sizeof(in); i++)
        in[i] = i;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_digest digest = ff_digest_of(&key, in, cases[i].len);

        assert_memory_equal(digest.words, cases[i].words, sizeof(digest.words));
    }
}

static void base64_is_strict_both_ways(void **state)
{
    static const struct {
        const char *text;
        const char *octets; /* NULL: refused */
        const char *why;
    } cases[] = {
        {"", "", "nothing"},
        {"Zg==", "f", "two pads"},
        {"Zm8=", "fo", "one pad"},
        {"Zm9v", "foo", "no pad"},
        {"Zm9vYmFy", "foobar", "two groups"},
        {"Zh==", NULL, "unused bits are set"},
        {"Zm9=", NULL, "unused bits are set"},
        {"Zg=", NULL, "no multiple of four"},
        {"Z===", NULL, "three pads"},
        {"Zg==Zg==", NULL, "padding in the middle"},
        {"Zm9v\nYmF", NULL, "white space"},
        {"Zm-v", NULL, "the URL alphabet"},
        {"====", NULL, "only padding"},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        uint8_t out[16];
        char back[16];
        size_t len = 0;
        int err = ff_base64_decode(out, &len, cases[i].text, strlen(cases[i].text));

        print_message("    %s\n", cases[i].why);
        assert_int_equal(err, cases[i].octets ? FF_OK : FF_EINVAL);
        if (err)
            continue;
        assert_int_equal(len, strlen(cases[i].octets));
        assert_memory_equal(out, cases[i].octets, len);
        ff_base64_encode(back, out, len);
        assert_memory_equal(back, cases[i].text, strlen(cases[i].text));
    }
}

static void codes_say_whether_to_come_back(void **state)
{
    (void)state;
    assert_true(ff_close_can_come_back(1006));
    assert_true(ff_close_can_come_back(1009));
    assert_true(ff_close_can_come_back(4008));
    assert_true(ff_close_can_come_back(4123));
    assert_false(ff_close_can_come_back(1000));
    assert_false(ff_close_can_come_back(1002));
    assert_false(ff_close_can_come_back(4501));
    assert_false(ff_close_can_come_back(3000));
    assert_string_equal(ff_close_text(4009), "heartbeat lost");
    assert_string_equal(ff_close_text(1), "");
    assert_true(ff_error_can_retry(503));
    assert_false(ff_error_can_retry(422));
    assert_string_equal(ff_error_text(404), "no such topic, history or request in this version");
}

static void slices_are_cut_and_trimmed(void **state)
{
    struct ff_slice rest = FF_SLICE("a, b\t,,c");

    (void)state;
    assert_true(ff_slice_is_equal(ff_slice_cut(&rest, ','), FF_SLICE("a")));
    assert_true(ff_slice_is_equal(ff_slice_trim(ff_slice_cut(&rest, ',')), FF_SLICE("b")));
    assert_int_equal(ff_slice_cut(&rest, ',').len, 0);
    assert_non_null(rest.at);
    assert_true(ff_slice_is_equal(ff_slice_cut(&rest, ','), FF_SLICE("c")));
    assert_null(rest.at);
    assert_true(ff_slice_is_equal_nocase(FF_SLICE("WebSocket"), FF_SLICE("websocket")));
    assert_false(ff_slice_is_equal_nocase(FF_SLICE("a"), FF_SLICE("ab")));
}

static void a_list_keeps_order_and_forgets_what_was_removed(void **state)
{
    struct ff_list head;
    struct ff_list nodes[3] = {{NULL, NULL}};

    (void)state;
    ff_list_init(&head);
    assert_null(ff_list_pop(&head));
    for (int i = 0; i < 3; i++)
        ff_list_append(&head, &nodes[i]);
    ff_list_remove(&nodes[1]);
    ff_list_remove(&nodes[1]);
    assert_ptr_equal(ff_list_pop(&head), &nodes[0]);
    assert_ptr_equal(ff_list_pop(&head), &nodes[2]);
    assert_true(ff_list_is_empty(&head));
}

static void the_reserve_serves_when_the_heap_does_not(void **state)
{
    char *a = ff_reserve_realloc(NULL, 100);
    char *b;

    (void)state;
    memset(a, 'a', 100);
    ff_mem_fail_at(1);
    a = ff_reserve_realloc(a, 5000);
    assert_true(a && !ff_reserve_is_low());
    assert_memory_equal(a, "aaaaaaaa", 8);
    ff_mem_fail_at(1);
    b = ff_reserve_realloc(NULL, 600000);
    assert_true(b && ff_reserve_is_low());
    ff_mem_fail_at(1);
    assert_null(ff_reserve_realloc(NULL, 2000000)); /* more than there is */
    a = ff_reserve_realloc(a, 6000);                /* the heap has room again */
    assert_memory_equal(a, "aaaaaaaa", 8);
    ff_reserve_realloc(b, 0);
    assert_false(ff_reserve_is_low());
    ff_reserve_realloc(a, 0);
    assert_int_equal(ff_mem_live_blocks(), 0);
}

static void a_misspelt_word_finds_the_one_that_was_meant(void **state)
{
    static const char *names[] = {"listen", "max_message", "memory", "sub", "pub", "chat", "ping"};
    static const struct {
        const char *word;
        const char *meant;
    } cases[] = {
        {"liten", "listen"},
        {"LISTEN", "listen"},
        {"lsiten", "listen"},
        {"max-mesage", "max_message"},
        {"maxmessage", "max_message"},
        {"suub", "sub"},
        {"subb", "sub"},
        {"pbu", "pub"},
        {"cat", "chat"},
        {"memry", "memory"},
        {"publish_all", NULL},
        {"", NULL},
        {"x", NULL},
        {"zzz", NULL},
        {"p", NULL},
        {"a word that is longer than anybody would write by mistake", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ff_guess guess = ff_guess_of(cases[i].word);

        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            ff_guess_consider(&guess, names[k]);
        if (cases[i].meant && (!guess.best || strcmp(guess.best, cases[i].meant) != 0))
            fail_msg("%s: %s", cases[i].word, guess.best ? guess.best : "nothing");
        if (!cases[i].meant && guess.best)
            fail_msg("%s: %s", cases[i].word, guess.best);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_misspelt_word_finds_the_one_that_was_meant),
        cmocka_unit_test(the_reserve_serves_when_the_heap_does_not),
        cmocka_unit_test_teardown(memory_is_counted_and_can_be_made_to_fail, nothing_leaked),
        cmocka_unit_test_teardown(a_buffer_grows_up_to_its_maximum_and_no_further, nothing_leaked),
        cmocka_unit_test(a_buffer_without_memory_leaks_nothing),
        cmocka_unit_test_teardown(a_map_finds_what_was_added_and_not_what_was_removed,
                                  nothing_leaked),
        cmocka_unit_test(the_hash_is_siphash_1_3),
        cmocka_unit_test(the_digest_is_siphash_1_3_of_128_bits),
        cmocka_unit_test(base64_is_strict_both_ways),
        cmocka_unit_test(codes_say_whether_to_come_back),
        cmocka_unit_test(slices_are_cut_and_trimmed),
        cmocka_unit_test(a_list_keeps_order_and_forgets_what_was_removed),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
