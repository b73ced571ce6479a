/* SPDX-License-Identifier: Apache-2.0 */
/* What goes through Redis comes back as it was, and nothing else is taken for a message. */
#include "broker/engine/parcel.h"
#include "tests/support/test.h"

static struct ff_buf buf;

/* As redis.lua makes it of what a node hands over. */
static struct ff_slice wrap(const char *place, struct ff_payload payload)
{
    const struct publication p = {.topic = FF_SLICE("t"), .payload = payload, .publisher = 77};

    ff_buf_deinit(&buf);
    ff_buf_init(&buf, 1 << 20);
    assert_int_equal(ff_buf_append(&buf, place, strlen(place)), FF_OK);
    assert_int_equal(parcel_write(&buf, &p, 0x1122334455667788), FF_OK);
    return ff_buf_slice(&buf);
}

static void each_kind_comes_back(void **state)
{
    static const struct ff_payload payloads[] = {
        {FF_PAYLOAD_JSON, {"{\"a\":[1,\"\\u00e9\"]}", 18}},
        {FF_PAYLOAD_BASE64, {"AAEC", 4}},
        {FF_PAYLOAD_MSGPACK, {"\x93\x01\x02\x03", 4}},
        {FF_PAYLOAD_BYTES, {"\0\xff\n", 3}},
        {FF_PAYLOAD_BYTES, {"", 0}},
    };
    struct parcel parcel;

    (void)state;
    for (size_t i = 0; i < sizeof(payloads) / sizeof(*payloads); i++) {
        struct ff_slice text =
            wrap("18446744073709551615:9007199254740991:1795761000000:", payloads[i]);

        assert_int_equal(parcel_read(text, &parcel), PARCEL_GOOD);
        assert_true(parcel.at.epoch == UINT64_MAX && parcel.at.offset == 9007199254740991);
        assert_int_equal(parcel.wall_ms, 1795761000000);
        assert_true(parcel.node == 0x1122334455667788 && parcel.session == 77);
        assert_int_equal(parcel.payload.kind, payloads[i].kind);
        assert_true(ff_slice_is_equal(parcel.payload.bytes, payloads[i].bytes));
        for (size_t len = 0; len + payloads[i].bytes.len < text.len; len++)
            assert_int_not_equal(parcel_read((struct ff_slice){text.at, len}, &parcel),
                                 PARCEL_GOOD);
    }
}

static void what_is_no_message_is_none(void **state)
{
    static const char *const places[] = {"",
                                         ":1:1:",
                                         "1:1:",
                                         "1:0:1:",
                                         "1:9007199254740992:1:",
                                         "18446744073709551616:1:1:",
                                         "-1:1:1:",
                                         "1:1:x:",
                                         " 1:1:1:"};
    static const struct ff_payload payloads[] = {
        {FF_PAYLOAD_JSON, {"", 0}},
        {FF_PAYLOAD_JSON, {"{", 1}},
        {FF_PAYLOAD_JSON, {"1 2", 3}},
        {FF_PAYLOAD_JSON, {"\"\xff\"", 3}},
        {FF_PAYLOAD_JSON, {"\"\\ud800\"", 8}},
        {FF_PAYLOAD_BASE64, {"AA", 2}},
        {FF_PAYLOAD_MSGPACK, {"\x93\x01", 2}},
        {FF_PAYLOAD_MSGPACK, {"\x01\x01", 2}},
        {(enum ff_payload_kind)9, {"1", 1}},
    };
    const struct ff_payload good = {FF_PAYLOAD_JSON, {"1", 1}};
    struct parcel parcel;

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
        assert_int_equal(parcel_read(wrap(places[i], good), &parcel), PARCEL_BAD);
    for (size_t i = 0; i < sizeof(payloads) / sizeof(*payloads); i++)
        assert_int_equal(parcel_read(wrap("1:1:1:", payloads[i]), &parcel), PARCEL_BAD);
}

/* A newer head is longer: what is behind ours is passed over; unless we cannot read it at all. */
static void newer_versions_are_told(void **state)
{
    static const char longer[] = "1:1:1:\x02\x01\x17\0nodenodesessions\0??5";
    static const char unreadable[] = "1:1:1:\x02\x02\x17\0nodenodesessions\0??5";
    struct parcel parcel;

    (void)state;
    assert_int_equal(parcel_read((struct ff_slice){longer, sizeof(longer) - 1}, &parcel),
                     PARCEL_GOOD);
    assert_true(ff_slice_is_equal(parcel.payload.bytes, FF_SLICE("5")));
    assert_int_equal(parcel_read((struct ff_slice){unreadable, sizeof(unreadable) - 1}, &parcel),
                     PARCEL_NEWER);
}

static void a_name_comes_before_it(void **state)
{
    static const char *const names[] = {"3:a/", "2:a/", "0:", "3:a/#", "999:a", "1:", "x:"};
    struct parcel parcel;
    struct ff_slice topic;

    (void)state;
    assert_int_equal(
        parcel_read_named(wrap("3:a/b1:1:1:", (struct ff_payload){FF_PAYLOAD_JSON, {"1", 1}}),
                          &topic, &parcel),
        PARCEL_GOOD);
    assert_true(ff_slice_is_equal(topic, FF_SLICE("a/b")));
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        assert_int_equal(parcel_read_named(ff_slice_of(names[i]), &topic, &parcel), PARCEL_BAD);
    ff_buf_deinit(&buf);
}

/* Up to a separator, or to the end; as many octets as a number may have. */
static void numbers_end_where_they_are_said_to(void **state)
{
    static const struct {
        const char *text;
        char separator;
        bool is_one;
        size_t left;
    } cases[] = {
        {"12:3", ':', true, 1},
        {"12:", ':', true, 0},
        {"12", ':', false, 2},
        {"12", '\0', true, 0},
        {"12:", '\0', false, 3},
        {"", '\0', false, 0},
        {":", ':', false, 1},
        {"18446744073709551615", '\0', true, 0},
        {"18446744073709551616", '\0', false, 20},
        {"000000000000000000001", '\0', true, 0},
        {"0000000000000000000001", '\0', false, 22},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ff_slice rest = ff_slice_of(cases[i].text);
        uint64_t number;

        assert_int_equal(parcel_take_number(&rest, cases[i].separator, &number), cases[i].is_one);
        assert_int_equal(rest.len, cases[i].left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_comes_back),
        cmocka_unit_test(what_is_no_message_is_none),
        cmocka_unit_test(newer_versions_are_told),
        cmocka_unit_test(a_name_comes_before_it),
        cmocka_unit_test(numbers_end_where_they_are_said_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
