/* SPDX-License-Identifier: Apache-2.0 */
/* What Redis answers, in whatever pieces it comes, and what is no answer. */
#include "broker/redis/reply.h"
#include "tests/support/test.h"

enum { PICTURE = 512, MIB = 1024 * 1024 };

static const struct {
    const char *octets;
    const char *picture; /* of all replies, one behind the other */
} good[] = {
    {"+OK\r\n", "+OK "},
    {"+\r\n", "+ "},
    {"-ERR no such key\r\n", "-ERR_no_such_key "},
    {":0\r\n:-1\r\n:9223372036854775807\r\n:-9223372036854775808\r\n",
     ":0 :-1 :9223372036854775807 :-9223372036854775808 "},
    {"$0\r\n\r\n", "$ "},
    {"$5\r\na\r\nbc\r\n", "$a__bc "},
    {"$-1\r\n*-1\r\n", "nil nil "},
    {"*0\r\n", "*0 "},
    {"*2\r\n$1\r\na\r\n:7\r\n", "*2 $a :7 "},
    {"*3\r\n:1\r\n*2\r\n:2\r\n*1\r\n:3\r\n*0\r\n+x\r\n", "*3 :1 *2 :2 *1 :3 *0 +x "},
    {"*2\r\n*0\r\n*-1\r\n+PONG\r\n", "*2 *0 nil +PONG "},
    {"*8\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n-ERR x\r\n",
     "*8 :1 :2 :3 :4 :5 :6 :7 -ERR_x "},
    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "*1 *1 *1 *1 *1 *1 *1 *1 :1 "},
    {"*17\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n"
     ":1\r\n:1\r\n$2\r\n\n\n\r\n",
     "*17 :1 :1 :1 :1 :1 :1 :1 :1 :1 :1 :1 :1 :1 :1 :1 :1 $__ "},
};

static void feed(struct redis_reader *reader, const char *octets)
{
    redis_reader_feed(reader, octets, strlen(octets));
}

/* Appends it as the table above has it. */
static void draw(char picture[PICTURE], const struct redis_reply *reply)
{
    for (uint32_t i = 0; i < reply->count; i++) {
        const struct redis_value *value = &reply->values[i];
        struct ff_slice text = redis_text(reply, i);
        static const char signs[] = {'$', ':', 'n', '+', '-', '*'};
        char word[64];

        if (value->kind == REDIS_NIL)
            (void)snprintf(word, sizeof(word), "nil ");
        else if (value->kind == REDIS_INTEGER || value->kind == REDIS_ARRAY)
            (void)snprintf(word, sizeof(word), "%c%lld ", signs[value->kind],
                           value->kind == REDIS_ARRAY ? (long long)value->count
                                                      : (long long)value->integer);
        else
            (void)snprintf(word, sizeof(word), "%c%.*s ", signs[value->kind], (int)text.len,
                           text.at ? text.at : "");
        for (size_t k = 0; k + 1 < strlen(word); k++)
            if (word[k] <= ' ')
                word[k] = '_';
        (void)snprintf(picture + strlen(picture), PICTURE - strlen(picture), "%s", word);
    }
}

/* All that can be read now. */
static enum redis_reading read_all(struct redis_reader *reader, char picture[PICTURE])
{
    struct redis_reply reply;
    enum redis_reading reading;

    while ((reading = redis_reader_next(reader, &reply)) == REDIS_READER_REPLY) {
        assert_int_equal(redis_next(&reply, 0), reply.count);
        draw(picture, &reply);
    }
    assert_int_equal(reply.count, 0);
    return reading;
}

static enum redis_reading read_pieces(const void *octets, size_t len, size_t piece,
                                      char picture[PICTURE])
{
    struct edge_page edge = edge_page_new(4096);
    struct redis_reader reader;
    enum redis_reading reading = REDIS_READER_MORE;

    redis_reader_init(&reader);
    picture[0] = '\0';
    for (size_t at = 0; at < len && reading == REDIS_READER_MORE; at += piece) {
        size_t count = len - at < piece ? len - at : piece;

        redis_reader_feed(&reader, edge_page_put(edge, (const char *)octets + at, count), count);
        reading = read_all(&reader, picture);
    }
    redis_reader_deinit(&reader);
    edge_page_free(edge);
    return reading;
}

static void replies_are_the_same_in_any_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < FF_COUNT(good); i++) {
        size_t len = strlen(good[i].octets);
        char picture[PICTURE];

        print_message("    %s\n", good[i].picture);
        for (size_t piece = 1; piece <= len; piece++) {
            assert_int_equal(read_pieces(good[i].octets, len, piece, picture), REDIS_READER_MORE);
            assert_string_equal(picture, good[i].picture);
        }
    }
}

static const struct {
    const char *who;
    const char *octets;
    const char *why;
} bad[] = {
    {"not Redis", "HTTP/1.1 400 Bad Request\r\n", "does not speak"},
    {"an SSH server", "SSH-2.0-OpenSSH_9.2\r\n", "does not speak"},
    {"TLS", "\x15\x03\x01", "does not speak"},
    {"an empty line", "\r\n", "does not speak"},
    {"RESP3: a map", "%1\r\n+a\r\n:1\r\n", "does not speak"},
    {"RESP3: null", "_\r\n", "does not speak"},
    {"RESP3: a double", ",1.5\r\n", "does not speak"},
    {"RESP3: a push", ">1\r\n+a\r\n", "does not speak"},
    {"a number with letters", ":1x\r\n", "does not speak"},
    {"no number", ":\r\n", "does not speak"},
    {"a number that is too large", ":9223372036854775808\r\n", "does not speak"},
    {"a text of a negative length", "$-2\r\n", "does not speak"},
    {"a text without a length", "$\r\n\r\n", "does not speak"},
    {"a text that does not end where it says", "$3\r\nabcde\r\n", "does not speak"},
    {"a text of another end", "$3\r\nabc\n\r", "does not speak"},
    {"a text of half an end", "$3\r\nabc\rx", "does not speak"},
    {"a text of 64 MiB and 1", "$67108865\r\n", "larger than 64 MiB"},
    {"a text of 2^63-1", "$9223372036854775807\r\n", "larger than 64 MiB"},
    {"an array of a negative length", "*-2\r\n", "does not speak"},
    {"an array of 2^31-1", "*2147483647\r\n", "more than 1048576 values"},
    {"an array of 2^32+1", "*4294967297\r\n", ""},
    {"one that fits but for itself", "*1048576\r\n", "more than 1048576 values"},
    {"one within another", "*2\r\n*1048574\r\n", "more than 1048576 values"},
    {"eight within one", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", ""},
    {"a head without an end", "$11111111111111111111111111111111111111", "does not speak"},
    {"something wrong behind a good one", "+OK\r\n!\r\n", "does not speak"},
    {"something wrong within one", "*2\r\n:1\r\n!\r\n", "does not speak"},
};

static void what_is_no_answer_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < FF_COUNT(bad); i++) {
        size_t len = strlen(bad[i].octets);

        print_message("    %s\n", bad[i].who);
        for (size_t piece = 1; piece <= len; piece++) {
            struct redis_reader reader;
            struct redis_reply reply;
            char picture[PICTURE];

            assert_int_equal(read_pieces(bad[i].octets, len, piece, picture), REDIS_READER_BAD);
            redis_reader_init(&reader);
            redis_reader_feed(&reader, bad[i].octets, len);
            picture[0] = '\0';
            assert_int_equal(read_all(&reader, picture), REDIS_READER_BAD);
            if (!strstr(reader.why, bad[i].why))
                fail_msg("it says: %s", reader.why);
            /* For good: even if what follows is right. */
            feed(&reader, "+OK\r\n");
            assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_BAD);
            redis_reader_deinit(&reader);
        }
    }
}

/* A line without an end, a text that comes and comes, many small values: all of them end. */
static void nothing_grows_without_end(void **state)
{
    static const struct {
        const char *head;
        const char *more;
        size_t most;
    } cases[] = {
        {"+", "xxxxxxxxxxxxxxxx", REDIS_LINE_MAX},
        {"-", "\rxxxxxxxxxxxxxxx", REDIS_LINE_MAX},
        {"*1000000\r\n", "*0\r\n", SIZE_MAX / 2}, /* within all limits */
        {"*1000000\r\n",
         "$70\r\n0123456789012345678901234567890123456789012345678901234567890123456789\r\n",
         REDIS_REPLY_MAX},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct redis_reader reader;
        struct redis_reply reply;
        enum redis_reading reading = REDIS_READER_MORE;
        size_t len = strlen(cases[i].more);
        char piece[16384];
        size_t piece_len = 0;
        size_t fed = 0;

        while (piece_len + len <= sizeof(piece)) {
            memcpy(piece + piece_len, cases[i].more, len);
            piece_len += len;
        }
        redis_reader_init(&reader);
        redis_reader_feed(&reader, cases[i].head, strlen(cases[i].head));
        while (reading == REDIS_READER_MORE) {
            assert_true(fed < cases[i].most + 2 * sizeof(piece));
            redis_reader_feed(&reader, piece, piece_len);
            fed += piece_len;
            reading = redis_reader_next(&reader, &reply);
        }
        assert_int_equal(reading,
                         cases[i].most < SIZE_MAX / 2 ? REDIS_READER_BAD : REDIS_READER_REPLY);
        if (reading == REDIS_READER_REPLY)
            assert_int_equal(reply.count, 1000001);
        redis_reader_deinit(&reader);
    }
}

static void a_large_text_comes_whole_and_its_memory_goes(void **state)
{
    enum { LEN = 8 * MIB, PIECE = 16384 };
    static char piece[PIECE];
    size_t before = ff_mem_live_bytes();
    struct redis_reader reader;
    struct redis_reply reply;
    size_t at = 0;

    (void)state;
    redis_reader_init(&reader);
    feed(&reader, "*1\r\n$8388608\r\n");
    for (; at < LEN; at += PIECE) {
        for (size_t i = 0; i < PIECE; i++)
            piece[i] = (char)((at + i) * 31 % 251);
        redis_reader_feed(&reader, piece, PIECE);
        assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_MORE);
    }
    feed(&reader, "\r\n+OK\r\n");
    assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_REPLY);
    assert_int_equal(redis_text(&reply, 1).len, LEN);
    for (size_t i = 0; i < LEN; i += 4099)
        assert_int_equal((unsigned char)redis_text(&reply, 1).at[i], i * 31 % 251);
    assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_REPLY);
    assert_true(redis_is(&reply, 0, REDIS_STATUS));
    assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_MORE);
    assert_true(ff_mem_live_bytes() - before < 4096);
    assert_null(reader.parser); /* hiredis' buffer with it */
    feed(&reader, "+again\r\n");
    assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_REPLY);
    redis_reader_deinit(&reader);
}

static void what_is_allowed_to_one_reply_is_to_the_next(void **state)
{
    enum { CHILDREN = 600000, PIECE = 1000 };
    struct redis_reader reader;
    struct redis_reply reply;
    char piece[PIECE * 4 + 1];

    (void)state;
    for (size_t i = 0; i < PIECE; i++)
        memcpy(piece + i * 4, "+x\r\n", 4);
    piece[PIECE * 4] = '\0';
    redis_reader_init(&reader);
    for (int round = 0; round < 2; round++) {
        feed(&reader, "*600000\r\n");
        for (int i = 0; i < CHILDREN / PIECE; i++) {
            assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_MORE);
            feed(&reader, piece);
        }
        assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_REPLY);
        assert_int_equal(reply.count, CHILDREN + 1);
    }
    redis_reader_deinit(&reader);
}

static void a_warm_reader_allocates_nothing(void **state)
{
    static const char octets[] = "*3\r\n$7\r\nmessage\r\n$5\r\ntopic\r\n$5\r\nhello\r\n";
    struct redis_reader reader;
    struct redis_reply reply;
    uint64_t asked = 0;

    (void)state;
    redis_reader_init(&reader);
    for (int i = 0; i < 1000; i++) {
        if (i == 1)
            asked = ff_mem_count();
        redis_reader_feed(&reader, octets, sizeof(octets) - 1);
        assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_REPLY);
        assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_MORE);
    }
    assert_int_equal(ff_mem_count(), asked);
    redis_reader_deinit(&reader);
}

static void what_is_not_there_can_be_asked_for(void **state)
{
    struct redis_reader reader;
    struct redis_reply reply;

    (void)state;
    redis_reader_init(&reader);
    assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_MORE);
    assert_int_equal(redis_next(&reply, 0), 0);
    assert_null(redis_text(&reply, 0).at);
    feed(&reader, "*3\r\n*2\r\n$1\r\na\r\n:1\r\n$2\r\nbc\r\n-E\r\n");
    assert_int_equal(redis_reader_next(&reader, &reply), REDIS_READER_REPLY);
    assert_int_equal(redis_next(&reply, 0), 6);
    assert_int_equal(redis_next(&reply, 1), 4);
    assert_int_equal(redis_next(&reply, 2), 3);
    assert_int_equal(redis_next(&reply, 4), 5);
    assert_int_equal(redis_next(&reply, 5), 6);
    assert_int_equal(redis_next(&reply, 6), 6);
    assert_int_equal(redis_next(&reply, UINT32_MAX), 6);
    assert_null(redis_text(&reply, 0).at); /* an array has none */
    assert_null(redis_text(&reply, 3).at); /* nor a number */
    assert_null(redis_text(&reply, 6).at);
    assert_null(redis_text(&reply, UINT32_MAX).at);
    assert_true(ff_slice_is_equal(redis_text(&reply, 2), FF_SLICE("a")));
    assert_true(ff_slice_is_equal(redis_text(&reply, 4), FF_SLICE("bc")));
    assert_true(redis_is(&reply, 5, REDIS_ERROR) && !redis_is(&reply, 5, REDIS_TEXT));
    assert_false(redis_is(&reply, 6, REDIS_TEXT));
    redis_reader_deinit(&reader);
}

static void read_much(void)
{
    struct redis_reader reader;
    struct redis_reply reply;
    enum redis_reading reading;
    uint32_t seen = 0;

    redis_reader_init(&reader);
    feed(&reader, "*100\r\n");
    for (int i = 0; i < 100; i++)
        feed(&reader, "$10\r\n0123456789\r\n");
    reading = redis_reader_next(&reader, &reply);
    if (reading == REDIS_READER_REPLY)
        for (uint32_t i = 1; i < reply.count; i++)
            seen += (uint32_t)redis_text(&reply, i).len;
    else
        assert_non_null(strstr(reader.why, "memory"));
    assert_int_equal(seen, reading == REDIS_READER_REPLY ? 1000 : 0);
    assert_int_not_equal(reading, REDIS_READER_MORE);
    redis_reader_deinit(&reader);
}

static void a_failing_allocation_ends_the_reader_and_no_more(void **state)
{
    (void)state;
    for_each_failing_allocation(read_much);
}

#define NO_LEAK(test) cmocka_unit_test_teardown(test, nothing_leaked)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NO_LEAK(replies_are_the_same_in_any_pieces),
        NO_LEAK(what_is_no_answer_is_told),
        NO_LEAK(nothing_grows_without_end),
        NO_LEAK(a_large_text_comes_whole_and_its_memory_goes),
        NO_LEAK(what_is_allowed_to_one_reply_is_to_the_next),
        NO_LEAK(a_warm_reader_allocates_nothing),
        NO_LEAK(what_is_not_there_can_be_asked_for),
        NO_LEAK(a_failing_allocation_ends_the_reader_and_no_more),
    };

    return cmocka_run_group_tests_name("redis_reply", tests, NULL, NULL);
}
