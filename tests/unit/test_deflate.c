/* SPDX-License-Identifier: Apache-2.0 */
/* What compressed messages become, however they are cut (S18). */
#include <stdlib.h>

#include "protocol/websocket/deflater.h"
#include "protocol/websocket/reader.h"
#include "tests/support/test.h"

enum { MAX_MESSAGE = 100000, ROOM = 1 << 18 };

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* Frames of a client, and what they are to become. */
struct stream {
    uint8_t *bytes;
    size_t len;
};

static int make_stream(void **state)
{
    static struct stream s;

    s.bytes = malloc(ROOM);
    s.len = 0;
    *state = &s;
    return s.bytes ? 0 : -1;
}

static int free_stream(void **state)
{
    struct stream *s = *state;

    free(s->bytes);
    return ff_mem_live_blocks() == 0 ? 0 : -1;
}

static void add(struct stream *s, uint8_t first, const void *payload, size_t len)
{
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t n = ff_frame_write_masked_head(head, FF_OP_TEXT, len, key);

    assert_true(s->len + n + len < ROOM);
    head[0] = first;
    memcpy(s->bytes + s->len, head, n);
    if (len)
        memcpy(s->bytes + s->len + n, payload, len);
    ff_frame_mask(s->bytes + s->len + n, len, key, 0);
    s->len += n + len;
}

static void add_hex(struct stream *s, uint8_t first, const char *hex)
{
    uint8_t bytes[128];
    size_t len = 0;

    for (; *hex; hex += *hex == ' ') {
        unsigned octet;

        assert_int_equal(sscanf(hex, "%2x", &octet), 1);
        bytes[len++] = (uint8_t)octet;
        hex += 2;
    }
    add(s, first, bytes, len);
}

struct reading {
    bool may_lean;
    size_t piece;
    uint32_t max_message;
};

/* All events as one line: long messages by their length. */
static void read_stream(const struct stream *s, struct reading reading, char *trace, size_t room)
{
    struct ff_reader r;
    uint8_t *copy = malloc(reading.piece);
    size_t at = 0;

    assert_non_null(copy);
    trace[0] = '\0';
    ff_reader_init(&r, FF_ROLE_SERVER, reading.max_message);
    ff_reader_inflate(&r, 15, reading.may_lean);
    while (at < s->len && !r.is_failed) {
        size_t len = s->len - at < reading.piece ? s->len - at : reading.piece;
        size_t done = 0;

        memcpy(copy, s->bytes + at, len);
        while (done < len && !r.is_failed) {
            static const char *const kinds[] = {"", "message", "ping", "pong", "close", "fail"};
            struct ff_reader_event e;
            size_t used;
            size_t n = strlen(trace);

            ff_reader_next(&r, copy + done, len - done, &used, &e);
            done += used;
            if (e.kind == FF_READER_FAIL)
                (void)snprintf(trace + n, room - n, "fail:%d", e.code);
            else if (e.kind != FF_READER_MORE && e.len > 64)
                (void)snprintf(trace + n, room - n, "%s=(%zu) ", kinds[e.kind], e.len);
            else if (e.kind != FF_READER_MORE)
                (void)snprintf(trace + n, room - n, "%s=%.*s ", kinds[e.kind], (int)e.len,
                               (const char *)e.bytes);
            ff_reader_release(&r);
        }
        at += len;
    }
    ff_reader_deinit(&r);
    free(copy);
}

static void expect_leaning(const struct stream *s, bool may_lean, const char *wanted)
{
    static const size_t pieces[] = {ROOM, 1, 2, 3, 7, 100, 511, 4096};

    for (size_t i = 0; i < FF_COUNT(pieces); i++) {
        char trace[512];

        read_stream(s, (struct reading){may_lean, pieces[i], MAX_MESSAGE}, trace, sizeof(trace));
        assert_string_equal(trace, wanted);
    }
}

static void expect(const struct stream *s, const char *wanted)
{
    expect_leaning(s, false, wanted);
    expect_leaning(s, true, wanted);
}

/* The examples of RFC 7692, section 7.2.3. */
static void the_examples_of_the_rfc_are_read(void **state)
{
    struct stream *s = *state;

    add_hex(s, 0xc1, "f2 48 cd c9 c9 07 00"); /* 7.2.3.1 */
    add_hex(s, 0x41, "f2 48 cd");             /* the same in two fragments */
    add_hex(s, 0x80, "c9 c9 07 00");
    add_hex(s, 0xc1, "00 05 00 fa ff 48 65 6c 6c 6f 00");       /* 7.2.3.3, a stored block */
    add_hex(s, 0xc1, "f3 48 cd c9 c9 07 00 00");                /* 7.2.3.4, a last block */
    add_hex(s, 0xc1, "f2 48 05 00 00 00 ff ff ca c9 c9 07 00"); /* 7.2.3.5, two blocks */
    add_hex(s, 0xc1, "00");                                     /* 7.2.3.6, nothing */
    add_hex(s, 0xc2, "");
    add(s, 0x81, "plain", 5);
    expect(s, "message=Hello message=Hello message=Hello message=Hello message=Hello message= "
              "message= message=plain ");
}

static void a_message_may_lean_on_earlier_ones(void **state)
{
    struct stream *s = *state;

    add_hex(s, 0xc1, "f2 48 cd c9 c9 07 00");
    add_hex(s, 0xc1, "f2 00 11 00 00"); /* 7.2.3.2 */
    expect_leaning(s, true, "message=Hello message=Hello ");
    expect_leaning(s, false, "message=Hello fail:1007");
}

/* Plain ones between, pings, and a last block do not make it forget. */
static void what_it_may_lean_on_outlives_all_else(void **state)
{
    struct stream *s = *state;

    add_hex(s, 0xc1, "f3 48 cd c9 c9 07 00 00");
    add(s, 0x81, "plain", 5);
    add_hex(s, 0x41, "f2 00 11");
    add(s, 0x89, "ping", 4);
    add_hex(s, 0x80, "00 00");
    add_hex(s, 0xc1, "f3 00 11 00"); /* a last block, and nothing behind it */
    add_hex(s, 0xc1, "f2 00 11 00 00");
    expect_leaning(s, true,
                   "message=Hello message=plain ping=ping message=Hello message=Hello "
                   "message=Hello ");
}

static void what_breaks_the_rules_fails_with_its_code(void **state)
{
    static const struct {
        const char *who;
        uint8_t first;
        const char *hex;
        const char *sees;
    } cases[] = {
        {"RSV1 on a ping", 0xc9, "00", "fail:1002"},
        {"RSV1 on a close", 0xc8, "", "fail:1002"},
        {"RSV1 on a continuation", 0xc0, "00", "fail:1002"},
        {"RSV2", 0xa1, "00", "fail:1002"},
        {"RSV1 and RSV3", 0xd1, "00", "fail:1002"},
        {"a reserved block type", 0xc1, "ff", "fail:1007"},
        {"a stored block whose length does not match itself", 0xc1, "00 05 00 fa fe 48",
         "fail:1007"},
        {"cut in a block", 0xc1, "f2 48 cd", "fail:1007"},
        {"cut in a stored block", 0xc1, "00 10 00 ef ff 48 65", "fail:1007"},
        {"garbage behind a last block", 0xc1, "f3 48 cd c9 c9 07 00 ff ff", "fail:1007"},
        {"leans on nothing", 0xc1, "f2 00 11 00 00", "fail:1007"},
        {"text that is no UTF-8", 0xc1, "fa ff ff 07 00", "fail:1007"},
    };
    struct stream *s = *state;

    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        print_message("    %s\n", cases[i].who);
        s->len = 0;
        add_hex(s, cases[i].first, cases[i].hex);
        add(s, 0x81, "behind", 6);
        expect(s, cases[i].sees);
    }
}

static size_t compress(const void *bytes, size_t len, uint8_t *out, size_t room)
{
    struct ff_deflater *deflater = ff_deflater_new(15, 6);
    size_t size;

    assert_non_null(deflater);
    size = ff_deflater_run(deflater, out, room, bytes, len);
    ff_deflater_free(deflater);
    return size;
}

/* Octets of zeros, compressed, in frames of at most `fragment`. */
static void add_zeros(struct stream *s, size_t len, size_t fragment)
{
    uint8_t *zeros = calloc(1, len);
    uint8_t *out = malloc(ROOM);
    size_t size;

    assert_non_null(zeros);
    assert_non_null(out);
    size = compress(zeros, len, out, ROOM);
    assert_true(size > 0);
    for (size_t at = 0; at < size; at += fragment) {
        bool is_last = size - at <= fragment;

        add(s, (uint8_t)((is_last ? 0x80 : 0) | (at ? 0 : 0x42)), out + at,
            is_last ? size - at : fragment);
    }
    free(zeros);
    free(out);
}

/* S18: what a message may become is bounded, however small it comes. */
static void a_bomb_ends_at_max_message(void **state)
{
    struct stream *s = *state;

    add_zeros(s, MAX_MESSAGE, ROOM);
    add_zeros(s, MAX_MESSAGE, 10);
    expect(s, "message=(100000) message=(100000) ");
    s->len = 0;
    add_zeros(s, MAX_MESSAGE + 1, ROOM);
    expect(s, "fail:1009");
    s->len = 0;
    add_zeros(s, 64U << 20, ROOM);
    expect(s, "fail:1009");
}

/* A text that is none and too long is none, whether it comes in one piece or in many. */
static void the_first_fault_is_the_one_that_is_told(void **state)
{
    struct stream *s = *state;
    uint8_t *bad = malloc(MAX_MESSAGE + 1);
    uint8_t *out = malloc(ROOM);
    size_t size;

    assert_non_null(bad);
    assert_non_null(out);
    memset(bad, 0x88, MAX_MESSAGE + 1);
    size = compress(bad, MAX_MESSAGE + 1, out, ROOM);
    add(s, 0xc1, out, size);
    expect(s, "fail:1007");
    free(bad);
    free(out);
}

/* So much memory, and no more, and not so much in one go that nobody looks at the clock. */
static void a_bomb_costs_no_more_than_its_limit(void **state)
{
    enum { MOST_IN_A_CALL = 16384 + 512 * 1040 };
    struct stream *s = *state;
    struct ff_reader r;
    size_t at = 0;
    size_t before = ff_mem_live_bytes();

    add_zeros(s, 64U << 20, ROOM);
    ff_reader_init(&r, FF_ROLE_SERVER, MAX_MESSAGE * 10);
    ff_reader_inflate(&r, 15, true);
    while (!r.is_failed) {
        struct ff_reader_event e;
        size_t used;

        ff_reader_next(&r, s->bytes + at, s->len - at, &used, &e);
        at += used;
        assert_true(e.inflated <= MOST_IN_A_CALL);
        assert_true(ff_mem_live_bytes() - before <= MAX_MESSAGE * 10 + 50000);
        if (!r.is_failed) {
            assert_int_equal(e.kind, FF_READER_MORE);
            assert_true(e.inflated > 0);
            assert_true(ff_reader_held(&r) > 0);
        }
    }
    assert_true(at < 2048); /* 64 KiB of it were never looked at */
    ff_reader_deinit(&r);
}

/* Blocks that hold nothing make no message, and are bounded all the same. */
static void a_message_of_empty_blocks_ends(void **state)
{
    struct stream *s = *state;
    uint8_t empty[5000];

    for (size_t i = 0; i < sizeof(empty); i += 5)
        memcpy(empty + i, "\x00\x00\x00\xff\xff", 5);
    for (int i = 0; i < 40; i++)
        add(s, i ? 0x00 : 0x42, empty, sizeof(empty));
    expect(s, "fail:1009");
}

static void nothing_is_kept_of_a_message_but_what_may_be_leant_on(void **state)
{
    struct stream *s = *state;

    for (int may_lean = 0; may_lean < 2; may_lean++) {
        struct ff_reader_event e;
        struct ff_reader r;
        size_t used;
        size_t before = ff_mem_live_blocks();

        s->len = 0;
        add_hex(s, 0xc1, "f2 48 cd c9 c9 07 00");
        ff_reader_init(&r, FF_ROLE_SERVER, MAX_MESSAGE);
        ff_reader_inflate(&r, 15, may_lean);
        assert_int_equal(ff_mem_live_blocks(), before);
        ff_reader_next(&r, s->bytes, s->len, &used, &e);
        assert_int_equal(e.kind, FF_READER_MESSAGE);
        assert_true(ff_mem_live_blocks() > before);
        ff_reader_release(&r);
        assert_int_equal(ff_mem_live_blocks() > before, may_lean);
        assert_int_equal(ff_reader_held(&r), 0);
        ff_reader_deinit(&r);
    }
}

/* The UTF-8 of what comes out is judged as it comes out, in the midst of a message. */
static void inflated_text_fails_fast(void **state)
{
    struct stream *s = *state;
    struct ff_reader_event e;
    struct ff_reader r;
    size_t used;

    add_hex(s, 0x41, "00 04 00 fb ff 61 62 ff 63"); /* a stored block, and no end */
    ff_reader_init(&r, FF_ROLE_SERVER, MAX_MESSAGE);
    ff_reader_inflate(&r, 15, false);
    ff_reader_next(&r, s->bytes, s->len, &used, &e);
    assert_int_equal(e.kind, FF_READER_FAIL);
    assert_int_equal(e.code, 1007);
    ff_reader_deinit(&r);
}

static void what_was_compressed_comes_out_again(void **state)
{
    static uint8_t text[60000];
    static uint8_t out[sizeof(text)];
    struct stream *s = *state;

    for (unsigned bits = 9; bits <= 15; bits++) {
        struct ff_deflater *deflater = ff_deflater_new(bits, (int)(bits - 6));

        assert_non_null(deflater);
        for (size_t len = 0; len <= sizeof(text); len = len * 3 + 40) {
            size_t size;
            char trace[256];
            char wanted[64];

            for (size_t i = 0; i < len; i++)
                text[i] = (uint8_t)("abcdefgh0123"[(i * i / 7 + i / 3) % 12]);
            size = ff_deflater_run(deflater, out, len, text, len);
            assert_true(size < len || len == 0);
            if (!size)
                continue;
            s->len = 0;
            add(s, 0xc1, out, size);
            read_stream(s, (struct reading){false, 1000, MAX_MESSAGE}, trace, sizeof(trace));
            if (len > 64)
                (void)snprintf(wanted, sizeof(wanted), "message=(%zu) ", len);
            else
                (void)snprintf(wanted, sizeof(wanted), "message=%.*s ", (int)len, text);
            assert_string_equal(trace, wanted);
        }
        ff_deflater_free(deflater);
    }
}

static void what_becomes_no_smaller_is_left_alone(void **state)
{
    uint8_t noise[1000];
    uint8_t out[sizeof(noise)];
    uint32_t x = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(noise); i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t)(x >> 24);
    }
    assert_int_equal(compress(noise, sizeof(noise), out, sizeof(out)), 0);
    assert_int_equal(compress("", 0, out, 0), 0);
}

static void inflate_some(void)
{
    static const char frames[] = "\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0"
                                 "\x01\x81\0\0\0\0a\x89\x82\0\0\0\0bc";
    struct ff_reader r;
    struct ff_deflater *deflater = ff_deflater_new(15, 3);
    uint8_t bytes[sizeof(frames)];
    uint8_t out[100] = {0};
    size_t used;

    ff_reader_init(&r, FF_ROLE_SERVER, MAX_MESSAGE);
    ff_reader_inflate(&r, 15, true);
    memcpy(bytes, frames, sizeof(frames));
    for (size_t at = 0; at < sizeof(frames) - 1 && !r.is_failed; at += used) {
        struct ff_reader_event e;
        size_t len = sizeof(frames) - 1 - at;

        ff_reader_next(&r, bytes + at, len < 3 ? len : 3, &used, &e);
        if (e.kind == FF_READER_FAIL)
            assert_int_equal(e.code, 1011);
        ff_reader_release(&r);
    }
    ff_reader_deinit(&r);
    if (deflater)
        assert_true(ff_deflater_run(deflater, out, 50, out + 50, 50) > 0);
    ff_deflater_free(deflater);
}

static void running_out_of_memory_leaks_nothing(void **state)
{
    (void)state;
    for_each_failing_allocation(inflate_some);
}

#define WITH_STREAM(test) cmocka_unit_test_setup_teardown(test, make_stream, free_stream)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STREAM(the_examples_of_the_rfc_are_read),
        WITH_STREAM(a_message_may_lean_on_earlier_ones),
        WITH_STREAM(what_it_may_lean_on_outlives_all_else),
        WITH_STREAM(what_breaks_the_rules_fails_with_its_code),
        WITH_STREAM(a_bomb_ends_at_max_message),
        WITH_STREAM(the_first_fault_is_the_one_that_is_told),
        WITH_STREAM(a_bomb_costs_no_more_than_its_limit),
        WITH_STREAM(a_message_of_empty_blocks_ends),
        WITH_STREAM(nothing_is_kept_of_a_message_but_what_may_be_leant_on),
        WITH_STREAM(inflated_text_fails_fast),
        WITH_STREAM(what_was_compressed_comes_out_again),
        cmocka_unit_test(what_becomes_no_smaller_is_left_alone),
        cmocka_unit_test(running_out_of_memory_leaks_nothing),
    };

    return cmocka_run_group_tests_name("deflate", tests, NULL, NULL);
}
