/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages in both encodings, by the vectors that every implementation runs
 * (protocol/vectors/messages.json), and what the vectors cannot say.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/message/decode.h"
#include "protocol/message/encode.h"
#include "protocol/message/json.h"
#include "protocol/message/msgpack.h"
#include "protocol/message/number.h"
#include "protocol/message/topic.h"
#include "protocol/message/transcode.h"
#include "tests/support/test.h"

static char vectors[65536];
static size_t vectors_len;

static int load(void **state)
{
    FILE *in = fopen("protocol/vectors/messages.json", "r");

    (void)state;
    if (!in)
        return -1;
    vectors_len = fread(vectors, 1, sizeof(vectors), in);
    (void)fclose(in);
    return 0;
}

/* The raw value of a member; {NULL, 0} if it is missing. */
static struct ff_slice member(struct ff_slice object, const char *name)
{
    struct ff_json j = ff_json_enter(object);
    struct ff_slice key;
    struct ff_slice value;

    while (ff_json_next(&j, &key, &value))
        if (ff_slice_is_equal(key, ff_slice_of(name)))
            return value;
    return (struct ff_slice){NULL, 0};
}

static struct ff_slice section(const char *name)
{
    struct ff_json j = {vectors, vectors + vectors_len};
    struct ff_slice whole;
    unsigned faults = 0;

    assert_int_equal(ff_json_take(&j, &whole, &faults), FF_OK);
    assert_int_equal(faults, 0);
    return member(whole, name);
}

static struct ff_slice text_of(struct ff_slice raw, char *out)
{
    return (struct ff_slice){out,
                             ff_json_unescape(out, (struct ff_slice){raw.at + 1, raw.len - 2})};
}

static struct ff_slice octets_of(struct ff_slice raw, char *out)
{
    size_t n = 0;

    for (size_t i = 1; i + 2 < raw.len; i += 2) {
        char pair[3] = {raw.at[i], raw.at[i + 1], '\0'};

        out[n++] = (char)strtoul(pair, NULL, 16);
    }
    return (struct ff_slice){out, n};
}

static void check_fields(const struct ff_message *m, struct ff_slice fields)
{
    struct ff_json j = ff_json_enter(fields);
    struct ff_slice key;
    struct ff_slice value;

    while (ff_json_next(&j, &key, &value)) {
        enum ff_field field = FF_FIELD_NONE;
        const struct ff_value *v;

        if (ff_slice_is_equal(key, FF_SLICE("type"))) {
            assert_int_equal(m->type, ff_number_read(value).u);
            continue;
        }
        for (int i = 1; i < FF_FIELDS; i++)
            if (ff_slice_is_equal(key, ff_field_name((enum ff_field)i)))
                field = (enum ff_field)i;
        assert_true(ff_message_has(m, field));
        v = &m->values[field];
        if (ff_field_kind(field) == FF_KIND_INTEGER)
            assert_int_equal(v->integer, ff_number_read(value).u);
        else if (ff_field_kind(field) == FF_KIND_NUMBER)
            assert_true(v->number == ff_number_read(value).d);
        else if (ff_field_kind(field) == FF_KIND_BOOL)
            assert_int_equal(v->flag, value.at[0] == 't');
        else
            assert_true(ff_slice_is_equal(v->text, (struct ff_slice){value.at + 1, value.len - 2}));
    }
}

static void decode_one(enum ff_encoding encoding, struct ff_slice frame, struct ff_message *m)
{
    struct edge_page edge = edge_page_new(8192);
    struct ff_buf spare;
    struct ff_decoder d = {.encoding = encoding, .sender = FF_CLIENT, .unescape_buf = &spare};
    uint8_t *at = edge_page_put(edge, frame.at, frame.len);
    const char *reason;
    size_t fault_at;

    ff_buf_init(&spare, 4096);
    assert_int_equal(
        ff_decode_begin(&d, (struct ff_slice){(char *)at, frame.len}, &reason, &fault_at), FF_OK);
    assert_true(ff_decode_next(&d, m));
    assert_false(ff_decode_next(&d, m) && m->error == FF_ERROR_NONE);
    ff_buf_deinit(&spare);
    edge_page_free(edge);
}

static void check_client(struct ff_slice vector, enum ff_encoding encoding, struct ff_slice frame)
{
    static struct ff_message m;
    struct ff_slice error = member(vector, "error");
    struct ff_buf spare;
    struct ff_decoder d = {.encoding = encoding, .sender = FF_CLIENT, .unescape_buf = &spare};
    const char *reason;
    size_t fault_at;

    ff_buf_init(&spare, 4096);
    assert_int_equal(ff_decode_begin(&d, frame, &reason, &fault_at), FF_OK);
    assert_true(ff_decode_next(&d, &m));
    assert_int_equal(m.error, error.at ? ff_number_read(error).u : 0);
    if (!error.at)
        check_fields(&m, member(vector, "fields"));
    assert_false(ff_decode_next(&d, &m));
    ff_buf_deinit(&spare);
}

static void messages_of_clients_are_read_in_both_encodings(void **state)
{
    struct ff_json j = ff_json_enter(section("client"));
    struct ff_slice key;
    struct ff_slice vector;
    char memory[4096];
    int count = 0;

    (void)state;
    while (ff_json_next(&j, &key, &vector)) {
        struct ff_slice raw = member(vector, "json");

        print_message("    %.*s\n", (int)raw.len, raw.at);
        check_client(vector, FF_JSON, text_of(raw, memory));
        check_client(vector, FF_MSGPACK, octets_of(member(vector, "msgpack"), memory));
        count++;
    }
    assert_true(count >= 18);
}

static void payloads_become_the_equivalent_value(void **state)
{
    struct ff_json j = ff_json_enter(section("payloads"));
    struct ff_slice key;
    struct ff_slice vector;
    char a[4096];
    char b[4096];

    (void)state;
    while (ff_json_next(&j, &key, &vector)) {
        struct ff_slice json = text_of(member(vector, "json"), a);
        struct ff_slice packed = octets_of(member(vector, "msgpack"), b);
        struct ff_payload payload = {FF_PAYLOAD_JSON, json};
        struct ff_buf spare;

        print_message("    %.*s\n", (int)json.len, json.at);
        ff_buf_init(&spare, 4096);
        assert_int_equal(ff_transcode(&payload, FF_MSGPACK, &spare), FF_OK);
        assert_true(ff_slice_is_equal(payload.bytes, packed));
        payload = (struct ff_payload){FF_PAYLOAD_MSGPACK, packed};
        assert_int_equal(ff_transcode(&payload, FF_JSON, &spare), FF_OK);
        assert_true(ff_slice_is_equal(payload.bytes, json));
        ff_buf_deinit(&spare);
    }
}

static void topics_are_judged_and_matched(void **state)
{
    static const char *const kinds[] = {"\"bad\"", "\"name\"", "\"filter\""};
    struct ff_json j = ff_json_enter(section("topics"));
    struct ff_slice key;
    struct ff_slice vector;
    char a[512];
    char b[512];

    (void)state;
    while (ff_json_next(&j, &key, &vector)) {
        struct ff_slice raw = member(vector, "text");

        print_message("    %.*s\n", (int)raw.len, raw.at);
        assert_true(ff_slice_is_equal(member(vector, "kind"),
                                      ff_slice_of(kinds[ff_topic_kind(text_of(raw, a))])));
    }
    j = ff_json_enter(section("matches"));
    while (ff_json_next(&j, &key, &vector)) {
        struct ff_slice filter = text_of(member(vector, "filter"), a);
        struct ff_slice name = text_of(member(vector, "name"), b);

        print_message("    %.*s %.*s\n", (int)filter.len, filter.at, (int)name.len, name.at);
        assert_int_equal(ff_topic_is_match(filter, name), member(vector, "matches").at[0] == 't');
    }
}

static void json_is_valid_or_not(void **state)
{
    static const struct {
        const char *text;
        bool is_valid;
    } cases[] = {
        {"0", true},           {"-0", true},
        {"1.5e-3", true},      {" [1 , 2] ", true},
        {"{}", true},          {"\"\\u00e9\\n\"", true},
        {"[[],{}]", true},     {"{\"a\":{\"b\":[]}}", true},
        {"", false},           {"01", false},
        {"-", false},          {"1.", false},
        {".5", false},         {"1e", false},
        {"+1", false},         {"[1,]", false},
        {"[1 2]", false},      {"{\"a\"}", false},
        {"{\"a\":1,}", false}, {"{a:1}", false},
        {"[1}", false},        {"\"\n\"", false},
        {"\"\\x\"", false},    {"\"\\u12\"", false},
        {"tru", false},        {"nul", false},
        {"\"abc", false},      {"[", false},
        {"{\"a\":", false},    {"NaN", true}, /* with a fault, as 1e400 */
        {"[-Infinity]", true}, {"Nan", false},
        {"-Inf", false},       {"'a'", false},
        {"[1]]", false},       {"\"\\ud83d\\ude00\"", true},
        {"1e400", true},       {"truefalse", false},
    };
    struct edge_page edge = edge_page_new(64);

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        size_t len = strlen(cases[i].text);
        struct ff_json j =
            ff_json_of((struct ff_slice){(char *)edge_page_put(edge, cases[i].text, len), len});
        struct ff_slice value;
        unsigned faults = 0;
        bool is_valid = ff_json_take(&j, &value, &faults) == FF_OK && j.at == j.end;

        print_message("    %s\n", cases[i].text);
        assert_int_equal(is_valid, cases[i].is_valid);
    }
    edge_page_free(edge);
}

/* What overflows a double is a fault, however it is written (strtod judges). */
static void numbers_that_overflow_are_found(void **state)
{
    static const char *const numbers[] = {
        "1e308",       "1e309",       "-1e309",       "0e999999",       "0.0000000001e318",
        "0.001e312",   "1e-999",      "17976e304",    "1797693134e300", "1.8e+308",
        "100000e304",  "0.1e310",     "12345e-5",     "1E300",          "1e99999999999999999999",
        "9e-99999999", "0.00001e313", "179769313e300"};
    char digits[400];

    (void)state;
    for (size_t i = 0; i < FF_COUNT(numbers); i++) {
        struct ff_json j = ff_json_of(ff_slice_of(numbers[i]));
        struct ff_slice value;
        unsigned faults = 0;

        assert_int_equal(ff_json_take(&j, &value, &faults), FF_OK);
        if ((faults != 0) != (bool)isinf(strtod(numbers[i], NULL)))
            fail_msg("%s", numbers[i]);
    }
    for (int len = 290; len < 330;
         len++) { /* digits alone, and digits that an exponent takes back */
        for (int exponent = -30; exponent <= 30; exponent += 10) {
            struct ff_slice value;
            struct ff_json j;
            unsigned faults = 0;

            memset(digits, '9', (size_t)len);
            (void)snprintf(digits + len, sizeof(digits) - (size_t)len, "e%d", exponent);
            j = ff_json_of(ff_slice_of(digits));
            assert_int_equal(ff_json_take(&j, &value, &faults), FF_OK);
            assert_int_equal(faults != 0, (bool)isinf(strtod(digits, NULL)));
        }
    }
}

static void random_bytes_never_read_past_the_end(void **state)
{
    struct edge_page edge = edge_page_new(128);
    struct dice dice = {42};
    static const char likely[] = "{}[]\",:\\u0123456789eE+-. truefalsn\x90\x81\xc0\xdc\xd9\xcb\xa1";

    (void)state;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[64];
        size_t len = 1 + dice_below(&dice, sizeof(bytes));
        struct ff_slice at;
        struct ff_slice value;
        unsigned faults = 0;
        struct ff_json j;
        struct ff_msgpack m;

        for (size_t i = 0; i < len; i++)
            bytes[i] = dice_below(&dice, 8) ? (uint8_t)likely[dice_below(&dice, sizeof(likely))]
                                            : (uint8_t)dice_roll(&dice);
        at = (struct ff_slice){(char *)edge_page_put(edge, bytes, len), len};
        j = ff_json_of(at);
        m = ff_msgpack_of(at);
        if (ff_json_take(&j, &value, &faults) == FF_OK)
            assert_true(value.at >= at.at && value.at + value.len <= at.at + len);
        if (ff_msgpack_take(&m, &value, &faults) == FF_OK)
            assert_true(value.at + value.len <= at.at + len);
    }
    edge_page_free(edge);
}

static void doubles_read_back_with_the_shortest_digits(void **state)
{
    struct dice dice = {7};
    static const struct {
        double d;
        const char *text;
    } cases[] = {{1, "1.0"},
                 {0.1, "0.1"},
                 {-0.0, "-0.0"},
                 {1e21, "1e+21"},
                 {5e-324, "5e-324"},
                 {5.684341886080802e-14, "5.684341886080802e-14"},
                 {1.7976931348623157e308, "1.7976931348623157e+308"}};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        char out[32];

        assert_int_equal(ff_number_write(out, cases[i].d), strlen(cases[i].text));
        assert_memory_equal(out, cases[i].text, strlen(cases[i].text));
    }
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = dice_roll(&dice);
        double d;
        char out[33];

        memcpy(&d, &bits, sizeof(d));
        if (d - d != 0) /* NaN or infinite */
            continue;
        out[ff_number_write(out, d)] = '\0';
        assert_true(strtod(out, NULL) == d);
        assert_true(strpbrk(out, ".e") != NULL);
    }
}

static void long_numbers_are_rounded_right(void **state)
{
    char text[1000];
    struct ff_slice raw = {text, 0};

    (void)state;
    memset(text, '0', sizeof(text));
    memcpy(text, "9007199254740993.", 17);
    raw.len = 808;
    assert_true(ff_number_read(raw).d == 9007199254740992.0);
    text[807] = '1';
    assert_true(ff_number_read(raw).d == 9007199254740994.0);
}

static void a_batch_is_checked_whole_before_its_first_message(void **state)
{
    static const struct {
        const char *text;
        int count; /* < 0: malformed as a whole */
    } cases[] = {
        {"[{\"type\":1},{\"type\":6,\"topic\":\"a\"}]", 2},
        {" [ {\"type\":1} ] ", 1},
        {"[]", -1},
        {"[{\"type\":1},]", -1},
        {"[{\"type\":1}", -1},
        {"[{\"type\":1}]x", -1},
        {"[{\"type\":1},{\"type\":6}]", -1},
        {"[[{\"type\":1}]]", -1},
        {"[{\"type\":77}]", 1},
    };
    static struct ff_message m;

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_decoder d = {.encoding = FF_JSON, .sender = FF_CLIENT};
        const char *reason;
        size_t fault_at;
        int count = 0;

        print_message("    %s\n", cases[i].text);
        if (ff_decode_begin(&d, ff_slice_of(cases[i].text), &reason, &fault_at)) {
            assert_int_equal(cases[i].count, -1);
            continue;
        }
        while (ff_decode_next(&d, &m))
            count++;
        assert_int_equal(count, cases[i].count);
    }
    decode_one(FF_JSON, FF_SLICE("{\"type\":1}"), &m);
}

static void a_delivery_is_as_large_as_it_said(void **state)
{
    static const char *const topics[] = {"a", "room/\"quoted\"/\\",
                                         "x/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    struct edge_page edge = edge_page_new(70000);
    static char payload[70000];

    (void)state;
    memset(payload, '1', sizeof(payload));
    for (size_t t = 0; t < FF_COUNT(topics); t++) {
        for (size_t len = 1; len < 66000; len = len * 3 + 1) {
            for (int encoding = FF_JSON; encoding <= FF_MSGPACK; encoding++) {
                for (int filtered = 0; filtered < 2; filtered++) {
                    struct ff_delivery d = {
                        .topic = ff_slice_of(topics[t]),
                        .filter = filtered ? FF_SLICE("+/#") : (struct ff_slice){NULL, 0},
                        .payload = {encoding == FF_JSON ? FF_PAYLOAD_JSON : FF_PAYLOAD_MSGPACK,
                                    {payload, len}},
                        .offset = filtered || encoding == FF_JSON ? len * len : 0,
                        .epoch = filtered ? UINT64_MAX - len : 0};
                    size_t size = ff_delivery_size((enum ff_encoding)encoding, &d);

                    /* One octet too many would hit the page behind. */
                    ff_delivery_write(edge.memory + edge.size - size, (enum ff_encoding)encoding,
                                      &d, size);
                    assert_int_equal(edge.memory[edge.size - 1], encoding == FF_JSON ? '}'
                                                                 : filtered          ? '#'
                                                                                     : '1');
                }
            }
        }
    }
    edge_page_free(edge);
}

static void transcode_something(void)
{
    struct ff_payload payload = {FF_PAYLOAD_JSON, FF_SLICE("{\"a\":[1,2,\"x\\n\"]}")};
    struct ff_buf spare;
    struct ff_buf other;

    ff_buf_init(&spare, 4096);
    ff_buf_init(&other, 4096);
    if (ff_transcode(&payload, FF_MSGPACK, &spare) == FF_OK)
        (void)!ff_transcode(&payload, FF_JSON, &other);
    ff_buf_deinit(&spare);
    ff_buf_deinit(&other);
}

static void without_memory_transcoding_leaks_nothing(void **state)
{
    (void)state;
    for_each_failing_allocation(transcode_something);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(messages_of_clients_are_read_in_both_encodings, nothing_leaked),
        cmocka_unit_test_teardown(payloads_become_the_equivalent_value, nothing_leaked),
        cmocka_unit_test(topics_are_judged_and_matched),
        cmocka_unit_test(json_is_valid_or_not),
        cmocka_unit_test(numbers_that_overflow_are_found),
        cmocka_unit_test(random_bytes_never_read_past_the_end),
        cmocka_unit_test(doubles_read_back_with_the_shortest_digits),
        cmocka_unit_test(long_numbers_are_rounded_right),
        cmocka_unit_test_teardown(a_batch_is_checked_whole_before_its_first_message,
                                  nothing_leaked),
        cmocka_unit_test(a_delivery_is_as_large_as_it_said),
        cmocka_unit_test(without_memory_transcoding_leaks_nothing),
    };

    return cmocka_run_group_tests_name("message", tests, load, NULL);
}
