/* SPDX-License-Identifier: Apache-2.0 */
/* Epochs and offsets as the wire says them, and the payload found again in the frame that has it.
 */
#include "protocol/message/decode.h"
#include "protocol/message/encode.h"
#include "protocol/websocket/frame.h"
#include "tests/support/test.h"

static void an_epoch_is_read_back(void **state)
{
    static const uint64_t edges[] = {1, 63, 64, UINT64_MAX, UINT64_MAX / 2, 1ULL << 63};
    char text[FF_EPOCH_TEXT];

    (void)state;
    for (size_t i = 0; i < FF_COUNT(edges); i++) {
        ff_epoch_write(text, edges[i]);
        assert_true(ff_epoch_is_valid((struct ff_slice){text, sizeof(text)}));
        assert_true(ff_epoch_read((struct ff_slice){text, sizeof(text)}) == edges[i]);
    }
}

static void other_epochs_are_none_of_ours(void **state)
{
    static const char *const foreign[] = {"a",           "AAAAAAAAAA",  "AAAAAAAAAAAA",
                                          "-----------", "AAAAAAAAAA.", "AAAAAAAAAAQ"};
    static const char *const bad[] = {"", "a b", "\xc3\xa4", "a/b",
                                      "12345678901234567890123456789012345678901"};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(foreign); i++) {
        assert_true(ff_epoch_is_valid(ff_slice_of(foreign[i])));
        assert_true(ff_epoch_read(ff_slice_of(foreign[i])) == 0);
    }
    for (size_t i = 0; i < FF_COUNT(bad); i++)
        assert_false(ff_epoch_is_valid(ff_slice_of(bad[i])));
    assert_false(ff_epoch_is_valid((struct ff_slice){"a\0b", 3}));
}

static struct ff_message message;

static const struct ff_message *read_json(const char *text)
{
    struct ff_decoder decoder = {.encoding = FF_JSON, .sender = FF_CLIENT};
    const char *reason;
    size_t at;

    assert_int_equal(ff_decode_begin(&decoder, ff_slice_of(text), &reason, &at), FF_OK);
    assert_true(ff_decode_next(&decoder, &message));
    return &message;
}

static void since_is_a_position_or_a_number(void **state)
{
    const struct ff_message *m = read_json(
        "{\"type\":5,\"topic\":\"a\",\"since\":{\"offset\":7.0,\"epoch\":\"BAAAAAAAAA\\u0041\"}}");

    (void)state;
    assert_int_equal(m->error, FF_ERROR_NONE);
    assert_true(ff_message_has(m, FF_FIELD_SINCE) && m->since.is_position);
    assert_int_equal(m->since.position.epoch, 1);
    assert_int_equal(m->since.position.offset, 7);

    m = read_json("{\"type\":5,\"topic\":\"a\",\"since\":12}");
    assert_true(ff_message_has(m, FF_FIELD_SINCE) && !m->since.is_position);
    assert_int_equal(m->since.count, 12);

    m = read_json("{\"type\":5,\"topic\":\"a\",\"since\":{\"offset\":7,\"epoch\":\"a b\"}}");
    assert_int_equal(m->error, FF_ERROR_MALFORMED);
}

/* Every size of heads, offsets and names; the positions that a frame may have. */
static void a_payload_is_found_again(void **state)
{
    static const size_t sizes[] = {1, 5, 99, 130, 4000, 65500, 70000};
    static const uint64_t offsets[] = {0, 1, 127, 128, 65536, FF_INTEGER_MAX};
    static const char *const topics[] = {"a", "with \"quotes\" and \\",
                                         "a/topic of more than 31 octets, in all"};
    static char payload[70002];
    static uint8_t frame[80000];

    (void)state;
    for (size_t i = 0; i < FF_COUNT(sizes) * FF_COUNT(offsets) * FF_COUNT(topics) * 3; i++) {
        enum ff_payload_kind kind = (enum ff_payload_kind)(i % 3);
        enum ff_encoding encoding = kind == FF_PAYLOAD_MSGPACK ? FF_MSGPACK : FF_JSON;
        struct ff_delivery d = {.topic = ff_slice_of(topics[i / 3 % FF_COUNT(topics)]),
                                .offset = offsets[i / 9 % FF_COUNT(offsets)],
                                .payload = {kind, {payload, sizes[i / 54]}}};
        size_t size = ff_delivery_size(encoding, &d);
        struct ff_payload found;

        memset(payload, kind == FF_PAYLOAD_MSGPACK ? 7 : '4', sizeof(payload));
        ff_delivery_write(frame, encoding, &d, size);
        found = ff_delivery_payload(encoding, (struct ff_slice){(char *)frame, size}, d.topic,
                                    d.offset);
        assert_int_equal(found.kind, kind);
        assert_true(ff_slice_is_equal(found.bytes, d.payload.bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_is_read_back),
        cmocka_unit_test(other_epochs_are_none_of_ours),
        cmocka_unit_test(since_is_a_position_or_a_number),
        cmocka_unit_test(a_payload_is_found_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
