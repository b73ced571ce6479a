/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the message floor are defined for every input, also for what a scanner refused. */
#include <math.h>

#include "protocol/message/json.h"
#include "protocol/message/number.h"
#include "protocol/message/transcode.h"
#include "protocol/websocket/handshake.h"
#include "tests/support/test.h"

static void escapes_that_are_none_stand_for_something(void **state)
{
    static const struct {
        const char *why;
        const char *raw;
        const char *text;
    } cases[] = {
        {"high half alone, then an escape of another kind", "\\ud800abcde\\\\x",
         "\xef\xbf\xbd"
         "abcde\\x"},
        {"high half at the end", "\\ud800", "\xef\xbf\xbd"},
        {"high half before a cut escape", "\\ud800\\u12", "\xef\xbf\xbd\\u12"},
        {"two high halves, then a low one", "\\ud83d\\ud83d\\ude00",
         "\xef\xbf\xbd\xf0\x9f\x98\x80"},
        {"low half alone", "\\udc00x", "\xef\xbf\xbdx"},
        {"no hex digits", "\\uzzzz", "\\uzzzz"},
        {"cut", "\\u", "\\u"},
        {"a backslash alone", "\\", "\\"},
        {"no such escape", "\\q\\x", "\\q\\x"},
        {"all there are", "\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9", "\"\\/\b\f\n\r\t\xc3\xa9"},
    };
    struct edge_page edge = edge_page_new(128);

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        size_t len = strlen(cases[i].raw);
        struct ff_slice raw = {(char *)edge_page_put(edge, cases[i].raw, len), len};
        char *out = ff_mem_alloc(len);
        size_t size = ff_json_unescape(out, raw);

        if (size != strlen(cases[i].text) || memcmp(out, cases[i].text, size) != 0)
            fail_msg("%s: %.*s", cases[i].why, (int)size, out);
        ff_mem_free(out);
    }
    edge_page_free(edge);
}

static void what_is_no_number_has_no_kind(void **state)
{
    static const char *const texts[] = {"",
                                        "-",
                                        ".",
                                        "1.",
                                        ".5",
                                        "01",
                                        "-01",
                                        "1e",
                                        "1e+",
                                        "--1",
                                        "+1",
                                        "abc",
                                        "1 ",
                                        "0x10",
                                        "1e5x",
                                        "\"1\"",
                                        "----------------------------------------1"};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(texts); i++) {
        struct ff_number number = ff_number_read(ff_slice_of(texts[i]));

        if (number.kind != FF_NUMBER_NONE || number.d != 0 || number.u != 0)
            fail_msg("%s", texts[i]);
        assert_true(ff_number_double(ff_slice_of(texts[i])) == 0);
    }
    assert_int_equal(ff_number_read((struct ff_slice){NULL, 0}).kind, FF_NUMBER_NONE);
}

static void numbers_that_json_has_not_are_written_as_null(void **state)
{
    static const double numbers[] = {NAN, INFINITY, -INFINITY};
    char out[32];

    (void)state;
    for (size_t i = 0; i < FF_COUNT(numbers); i++) {
        assert_int_equal(ff_number_write(out, numbers[i]), 4);
        assert_memory_equal(out, "null", 4);
    }
}

static void what_no_decoder_lets_through_is_not_rewritten(void **state)
{
    static const struct {
        const char *why;
        enum ff_payload_kind kind;
        struct ff_slice bytes;
    } cases[] = {
        {"nothing", FF_PAYLOAD_JSON, {"", 0}},
        {"no value", FF_PAYLOAD_JSON, {"nul", 3}},
        {"cut", FF_PAYLOAD_JSON, {"{\"a\":[1,", 8}},
        {"two values", FF_PAYLOAD_JSON, {"1 2", 3}},
        {"an overflow", FF_PAYLOAD_JSON, {"[1e999]", 7}},
        {"half a pair", FF_PAYLOAD_JSON, {"\"\\ud800\\\\x\"", 11}},
        {"25 levels", FF_PAYLOAD_JSON, {"[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]", 51}},
        {"no UTF-8", FF_PAYLOAD_JSON, {"\"\xff\"", 3}},
        {"no base64", FF_PAYLOAD_BASE64, {"====", 4}},
        {"nothing", FF_PAYLOAD_MSGPACK, {"", 0}},
        {"cut", FF_PAYLOAD_MSGPACK, {"\x92\x01", 2}},
        {"two values", FF_PAYLOAD_MSGPACK, {"\x01\x02", 2}},
        {"a key that is none", FF_PAYLOAD_MSGPACK, {"\x81\x80\x01", 3}},
        {"bin below the top", FF_PAYLOAD_MSGPACK, {"\x91\xc4\x01x", 4}},
        {"ext", FF_PAYLOAD_MSGPACK, {"\xd4\x01x", 3}},
        {"NaN", FF_PAYLOAD_MSGPACK, {"\xca\x7f\xc0\x00\x00", 5}},
        {"many elements that are not there", FF_PAYLOAD_MSGPACK, {"\xdd\xff\xff\xff\xff", 5}},
    };
    struct ff_buf out;

    (void)state;
    ff_buf_init(&out, 4096);
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_payload payload = {cases[i].kind, cases[i].bytes};
        enum ff_encoding other = payload.kind == FF_PAYLOAD_MSGPACK ? FF_JSON : FF_MSGPACK;

        if (ff_transcode(&payload, other, &out) != FF_EINVAL)
            fail_msg("%s", cases[i].why);
    }
    ff_buf_deinit(&out);
}

/* What a walk hands on is inside the text, and helpers live with whatever it is. */
static void use(struct ff_slice raw)
{
    static char room[256];
    struct ff_number number = ff_number_read(raw);
    struct ff_buf out;

    assert_true(ff_json_unescape(room, raw) <= raw.len);
    assert_true(number.kind == FF_NUMBER_NONE || ff_number_write(room, number.d) <= 32);
    for (int kind = FF_PAYLOAD_JSON; kind <= FF_PAYLOAD_BYTES; kind++) {
        for (int encoding = FF_JSON; encoding < FF_ENCODINGS; encoding++) {
            struct ff_payload payload = {(enum ff_payload_kind)kind, raw};

            ff_buf_init(&out, 4096);
            (void)!ff_transcode(&payload, (enum ff_encoding)encoding, &out);
            ff_buf_deinit(&out);
        }
    }
}

static void whatever_is_walked_stays_inside_the_text(void **state)
{
    static const char *const parts[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"",
                                        "\\",
                                        "\\u",
                                        "\\ud8",
                                        "00",
                                        "\\udc00",
                                        "\"a\":",
                                        "1e999",
                                        "-0",
                                        "null",
                                        "{\"type\":1}",
                                        " ",
                                        "\x80",
                                        "\xc1",
                                        "\xdf",
                                        "\xd9",
                                        "\xca\x7f\x80",
                                        "\x93"};
    struct edge_page edge = edge_page_new(256);
    struct dice dice = {20261126};

    (void)state;
    for (int round = 0; round < 30000; round++) {
        char text[160];
        size_t len = 0;
        struct ff_slice all;
        struct ff_slice key;
        struct ff_slice value;
        struct ff_json j;

        for (uint32_t n = dice_below(&dice, 20); n > 0; n--) {
            const char *part = parts[dice_below(&dice, FF_COUNT(parts))];

            memcpy(text + len, part, strlen(part));
            len += strlen(part);
        }
        all = (struct ff_slice){(char *)edge_page_put(edge, text, len), len};
        use(all);
        j = ff_json_enter(all);
        while (ff_json_next(&j, &key, &value)) {
            assert_true(value.at >= all.at && value.at + value.len <= all.at + len);
            use(value);
            if (key.at)
                use(key);
        }
    }
    edge_page_free(edge);
}

static void an_answer_needs_a_key(void **state)
{
    struct ff_handshake handshake = {.key = FF_SLICE("c2hvcnQ=")};
    struct ff_buf out;

    (void)state;
    ff_buf_init(&out, 512);
    assert_int_equal(ff_handshake_write_answer(&out, &handshake), FF_EINVAL);
    handshake.key = (struct ff_slice){NULL, 0};
    assert_int_equal(ff_handshake_write_answer(&out, &handshake), FF_EINVAL);
    assert_int_equal(out.len, 0);
    ff_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(escapes_that_are_none_stand_for_something, nothing_leaked),
        cmocka_unit_test(what_is_no_number_has_no_kind),
        cmocka_unit_test(numbers_that_json_has_not_are_written_as_null),
        cmocka_unit_test_teardown(what_no_decoder_lets_through_is_not_rewritten, nothing_leaked),
        cmocka_unit_test_teardown(whatever_is_walked_stays_inside_the_text, nothing_leaked),
        cmocka_unit_test_teardown(an_answer_needs_a_key, nothing_leaked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
