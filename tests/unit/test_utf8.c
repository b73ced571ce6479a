/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 against a naive oracle, cut at every place, with one bad octet far in. */
#include "protocol/base/utf8.h"
#include "tests/support/test.h"

/* A decoder written the slow way, from RFC 3629's table. */
static bool is_valid_naive(const uint8_t *p, size_t len)
{
    size_t i = 0;

    while (i < len) {
        uint32_t c = p[i];
        size_t n = c < 0x80 ? 1 : (c & 0xe0) == 0xc0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : 4;
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

        if (c >= 0x80 && (c < 0xc0 || c > 0xf7))
            return false;
        if (i + n > len)
            return false;
        c = n == 1 ? c : c & (0x7fU >> n);
        for (size_t k = 1; k < n; k++) {
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
            c = c << 6 | (p[i + k] & 0x3f);
        }
        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return false;
        i += n;
    }
    return true;
}

static void all_short_sequences_agree_with_the_oracle(void **state)
{
    struct edge_page edge = edge_page_new(16);

    (void)state;
    for (uint32_t v = 0; v < 1U << 24; v += v < 1U << 16 ? 1 : 37) {
        uint8_t in[4] = {(uint8_t)(0xc0 | (v >> 18)), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
                         (uint8_t)v};
        size_t len = v < 1U << 16 ? 2 : 4;
        uint8_t *at = edge_page_put(edge, in + (4 - len), len);

        assert_int_equal(ff_utf8_is_valid(at, len), is_valid_naive(at, len));
    }
    edge_page_free(edge);
}

static void text_may_be_cut_anywhere(void **state)
{
    static const char text[] =
        "Hello-\xc2\xb5@\xc3\x9f \xe2\x82\xac \xf0\xa4\xad\xa2 "
        "and a long run of ASCII to take sixteen octets a step \xf4\x8f\xbf\xbf";
    size_t len = sizeof(text) - 1;

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        struct ff_utf8 s = {0};

        assert_true(ff_utf8_feed(&s, text, cut));
        assert_true(ff_utf8_feed(&s, text + cut, len - cut));
        assert_true(ff_utf8_is_whole(&s));
        assert_int_equal(ff_utf8_is_valid(text, cut), is_valid_naive((const uint8_t *)text, cut));
    }
}

static void one_bad_octet_is_found_wherever_it_is(void **state)
{
    enum { LEN = 300 };
    struct edge_page edge = edge_page_new(LEN);
    uint8_t text[LEN];

    (void)state;
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < LEN; i++) {
        for (size_t len = i + 1; len <= LEN; len += 61) {
            uint8_t *at;

            text[i] = 0xff;
            at = edge_page_put(edge, text, len);
            assert_false(ff_utf8_is_valid(at, len));
            text[i] = 'a';
        }
    }
    edge_page_free(edge);
}

static void it_fails_at_the_first_octet_that_cannot_be(void **state)
{
    struct ff_utf8 s = {0};

    (void)state;
    assert_true(ff_utf8_feed(&s, "\xf4", 1));
    assert_false(ff_utf8_feed(&s, "\x90", 1));
    s = (struct ff_utf8){0};
    assert_true(ff_utf8_feed(&s, "\xed", 1));
    assert_false(ff_utf8_feed(&s, "\xa0", 1));
    s = (struct ff_utf8){0};
    assert_true(ff_utf8_feed(&s, "\xe2\x82", 2));
    assert_false(ff_utf8_is_whole(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_short_sequences_agree_with_the_oracle),
        cmocka_unit_test(text_may_be_cut_anywhere),
        cmocka_unit_test(one_bad_octet_is_found_wherever_it_is),
        cmocka_unit_test(it_fails_at_the_first_octet_that_cannot_be),
    };

    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
