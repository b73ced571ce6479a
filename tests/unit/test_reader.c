/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer's octets become, however they are cut (S11 to S17). */
#include "protocol/websocket/reader.h"
#include "tests/support/test.h"

enum { MAX_MESSAGE = 1000, TRACE = 4096 };

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

struct stream {
    uint8_t bytes[8192];
    size_t len;
};

static void add(struct stream *s, uint8_t first, const void *payload, size_t len)
{
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t n = ff_frame_write_masked_head(head, FF_OP_TEXT, len, key);

    head[0] = first;
    memcpy(s->bytes + s->len, head, n);
    if (len)
        memcpy(s->bytes + s->len + n, payload, len);
    ff_frame_mask(s->bytes + s->len + n, len, key, 0);
    s->len += n + len;
}

static void add_text(struct stream *s, uint8_t first, const char *text)
{
    add(s, first, text, strlen(text));
}

/* All events as one line of text. */
static void note(char *trace, const struct ff_reader_event *e)
{
    static const char *const kinds[] = {"more", "message", "ping", "pong", "close", "fail"};
    size_t at = strlen(trace);

    if (e->kind == FF_READER_MORE)
        return;
    at += (size_t)snprintf(trace + at, TRACE - at, "%s", kinds[e->kind]);
    if (e->kind == FF_READER_FAIL || e->kind == FF_READER_CLOSE)
        at += (size_t)snprintf(trace + at, TRACE - at, ":%d", e->code);
    if (e->len)
        at +=
            (size_t)snprintf(trace + at, TRACE - at, "=%.*s", (int)e->len, (const char *)e->bytes);
    (void)snprintf(trace + at, TRACE - at, " ");
}

/* Reads the stream in pieces of `piece` octets, each flush against an unreadable page. */
static void read_pieces(const struct stream *s, size_t piece, char trace[TRACE])
{
    struct edge_page edge = edge_page_new(sizeof(s->bytes));
    struct ff_reader r;
    size_t at = 0;

    trace[0] = '\0';
    ff_reader_init(&r, FF_ROLE_SERVER, MAX_MESSAGE);
    while (at < s->len && !r.is_failed) {
        size_t len = s->len - at < piece ? s->len - at : piece;
        uint8_t *bytes = edge_page_put(edge, s->bytes + at, len);
        size_t done = 0;

        while (done < len && !r.is_failed) {
            struct ff_reader_event e;
            size_t used;

            ff_reader_next(&r, bytes + done, len - done, &used, &e);
            assert_true(used <= len - done);
            done += used;
            note(trace, &e);
            ff_reader_release(&r);
        }
        at += len;
    }
    ff_reader_deinit(&r);
    edge_page_free(edge);
}

static void expect(const struct stream *s, const char *wanted)
{
    static const size_t pieces[] = {8192, 1, 2, 3, 7, 13, 14, 15, 100};

    for (size_t i = 0; i < FF_COUNT(pieces); i++) {
        char trace[TRACE];

        read_pieces(s, pieces[i], trace);
        assert_string_equal(trace, wanted);
    }
}

static void messages_and_control_frames_arrive_in_order(void **state)
{
    struct stream s = {.len = 0};

    (void)state;
    add_text(&s, 0x81, "Hello");
    add_text(&s, 0x01, "fragment1");
    add_text(&s, 0x89, "ping payload");
    add_text(&s, 0x80, "fragment2");
    add_text(&s, 0x8a, "pong");
    add_text(&s, 0x82, "");
    add(&s, 0x88,
        "\x03\xe8"
        "bye",
        5);
    expect(&s, "message=Hello ping=ping payload message=fragment1fragment2 pong=pong message "
               "close:1000=bye ");
}

static void what_breaks_the_rules_fails_with_its_code(void **state)
{
    static const struct {
        const char *who;
        uint8_t first;
        const char *payload;
        size_t len;
        const char *sees;
    } cases[] = {
        {"reserved bit 1", 0xc1, "x", 1, "fail:1002 "},
        {"reserved bit 2", 0xa1, "x", 1, "fail:1002 "},
        {"reserved bit 3 on close", 0x98, "", 0, "fail:1002 "},
        {"opcode 3", 0x83, "", 0, "fail:1002 "},
        {"opcode 7", 0x87, "x", 1, "fail:1002 "},
        {"opcode 11", 0x8b, "", 0, "fail:1002 "},
        {"opcode 15", 0x8f, "", 0, "fail:1002 "},
        {"fragmented ping", 0x09, "x", 1, "fail:1002 "},
        {"orphan continuation", 0x80, "x", 1, "fail:1002 "},
        {"orphan continuation, not final", 0x00, "x", 1, "fail:1002 "},
        {"close of one octet", 0x88, "a", 1, "fail:1002 "},
        {"close 999", 0x88, "\x03\xe7", 2, "fail:1002 "},
        {"close 1004", 0x88, "\x03\xec", 2, "fail:1002 "},
        {"close 1005", 0x88, "\x03\xed", 2, "fail:1002 "},
        {"close 1006", 0x88, "\x03\xee", 2, "fail:1002 "},
        {"close 1015", 0x88, "\x03\xf7", 2, "fail:1002 "},
        {"close 5000", 0x88, "\x13\x88", 2, "fail:1002 "},
        {"close with a reason that is no UTF-8", 0x88, "\x03\xe8\xff", 3, "fail:1007 "},
        {"close 1014", 0x88, "\x03\xf6", 2, "close:1014 "},
        {"close 4999", 0x88, "\x13\x87", 2, "close:4999 "},
        {"close without a code", 0x88, "", 0, "close:0 "},
        {"text cut in a code point", 0x81, "\xc3", 1, "fail:1007 "},
        {"a surrogate", 0x81, "\xed\xa0\x80", 3, "fail:1007 "},
        {"binary may hold anything", 0x82, "\xff", 1, "message=\xff "},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct stream s = {.len = 0};

        print_message("    %s\n", cases[i].who);
        add(&s, cases[i].first, cases[i].payload, cases[i].len);
        expect(&s, cases[i].sees);
    }
}

static void a_new_message_inside_another_fails(void **state)
{
    struct stream s = {.len = 0};

    (void)state;
    add_text(&s, 0x01, "one");
    add_text(&s, 0x81, "two");
    expect(&s, "fail:1002 ");
}

static void an_unmasked_frame_fails(void **state)
{
    struct stream s = {.bytes = {0x81, 0x01, 'x'}, .len = 3};

    (void)state;
    expect(&s, "fail:1002 ");
}

static void lengths_are_judged_before_anything_is_done_with_them(void **state)
{
    static const struct {
        const char *who;
        uint8_t head[14];
        size_t len;
        const char *sees;
    } cases[] = {
        {"S11: top bit set", {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4}, 14, "fail:1002 "},
        {"2^63 - 1",
         {0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4},
         14,
         "fail:1009 "},
        {"2^32", {0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4}, 14, "fail:1009 "},
        {"0xffff in 64 bits",
         {0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4},
         14,
         "fail:1002 "},
        {"125 in 16 bits", {0x82, 0xfe, 0, 125, 1, 2, 3, 4}, 8, "fail:1002 "},
        {"one over the maximum", {0x82, 0xfe, 0x03, 0xe9, 1, 2, 3, 4}, 8, "fail:1009 "},
        {"a ping of 126", {0x89, 0xfe, 0, 126, 1, 2, 3, 4}, 8, "fail:1002 "},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct stream s = {.len = cases[i].len};

        print_message("    %s\n", cases[i].who);
        memcpy(s.bytes, cases[i].head, s.len);
        expect(&s, cases[i].sees);
    }
}

static void memory_grows_with_what_came_not_with_what_was_declared(void **state)
{
    struct ff_reader r;
    struct ff_reader_event e;
    size_t used;
    uint8_t head[FF_FRAME_HEAD_MAX + 1];
    size_t n = ff_frame_write_masked_head(head, FF_OP_BINARY, 1 << 20, key);

    (void)state; /* S12 */
    ff_reader_init(&r, FF_ROLE_SERVER, 1 << 20);
    ff_reader_next(&r, head, n + 1, &used, &e);
    assert_int_equal(e.kind, FF_READER_MORE);
    assert_true(ff_mem_live_bytes() < 1024);
    ff_reader_deinit(&r);
}

static void fragments_are_bounded_by_octets_and_empty_ones_by_number(void **state)
{
    struct stream s = {.len = 0};
    char wanted[TRACE];

    (void)state; /* S13 */
    add_text(&s, 0x01, "");
    for (int i = 0; i < 63; i++)
        add_text(&s, 0x00, "");
    add_text(&s, 0x80, "end");
    expect(&s, "message=end ");
    s.len = 0;
    add_text(&s, 0x01, "");
    for (int i = 0; i < 64; i++)
        add_text(&s, 0x00, "");
    expect(&s, "fail:1008 ");
    s.len = 0;
    add_text(&s, 0x01, "x");
    for (int i = 0; i < MAX_MESSAGE - 1; i++)
        add_text(&s, 0x00, "x");
    add_text(&s, 0x00, "x");
    expect(&s, "fail:1009 ");
    s.len = 0;
    memset(wanted, 0, sizeof(wanted));
    memcpy(wanted, "message=", 8);
    add_text(&s, 0x01, "x");
    for (int i = 0; i < MAX_MESSAGE - 1; i++)
        add_text(&s, i == MAX_MESSAGE - 2 ? 0x80 : 0x00, "x");
    memset(wanted + 8, 'x', MAX_MESSAGE);
    wanted[8 + MAX_MESSAGE] = ' ';
    expect(&s, wanted);
}

static void masking_agrees_with_the_naive_way_at_every_place(void **state)
{
    uint8_t plain[340];
    uint8_t masked[sizeof(plain) + 8];

    (void)state; /* S15 */
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 7);
    for (size_t align = 0; align < 8; align++) {
        for (size_t len = 0; len <= 300; len += len < 40 ? 1 : 13) {
            for (size_t cut = 0; cut <= len; cut += cut < 20 ? 1 : 11) {
                memcpy(masked + align, plain, len);
                ff_frame_mask(masked + align, cut, key, 0);
                ff_frame_mask(masked + align + cut, len - cut, key, cut);
                for (size_t i = 0; i < len; i++)
                    assert_int_equal(masked[align + i], plain[i] ^ key[i % 4]);
            }
        }
    }
}

static void a_long_close_reason_is_cut_at_a_code_point(void **state)
{
    uint8_t body[FF_CONTROL_MAX];
    char reason[140];

    (void)state;
    memset(reason, 'a', sizeof(reason));
    memcpy(reason + 122, "\xe2\x82\xac", 3);
    reason[139] = '\0';
    assert_int_equal(ff_frame_write_close(body, 1000, reason), 2 + 122);
    assert_int_equal(ff_frame_write_close(body, 0, "x"), 0);
}

static void read_something(void)
{
    struct stream s = {.len = 0};
    char trace[TRACE];

    add_text(&s, 0x01, "fragment1");
    add_text(&s, 0x89, "ping");
    add_text(&s, 0x80, "fragment2");
    read_pieces(&s, 3, trace);
}

static void without_memory_it_fails_and_leaks_nothing(void **state)
{
    (void)state;
    for_each_failing_allocation(read_something);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(messages_and_control_frames_arrive_in_order, nothing_leaked),
        cmocka_unit_test_teardown(what_breaks_the_rules_fails_with_its_code, nothing_leaked),
        cmocka_unit_test_teardown(a_new_message_inside_another_fails, nothing_leaked),
        cmocka_unit_test_teardown(an_unmasked_frame_fails, nothing_leaked),
        cmocka_unit_test_teardown(lengths_are_judged_before_anything_is_done_with_them,
                                  nothing_leaked),
        cmocka_unit_test_teardown(memory_grows_with_what_came_not_with_what_was_declared,
                                  nothing_leaked),
        cmocka_unit_test_teardown(fragments_are_bounded_by_octets_and_empty_ones_by_number,
                                  nothing_leaked),
        cmocka_unit_test(masking_agrees_with_the_naive_way_at_every_place),
        cmocka_unit_test(a_long_close_reason_is_cut_at_a_code_point),
        cmocka_unit_test(without_memory_it_fails_and_leaks_nothing),
    };

    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
