/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grammar.h - random JSON, MessagePack and envelopes, by their grammar and beside it.
 *
 * Octets that are changed at random hardly ever get behind a scanner: escapes,
 * halves of surrogate pairs, numbers of every shape, nests, names that mean
 * something. Here each is as likely as any other, and one in some is wrong.
 */
#ifndef FUZZ_GRAMMAR_H
#define FUZZ_GRAMMAR_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct grammar {
    uint64_t state; /* of the dice; never 0 */
    char *at;
    char *end;
};

static inline struct grammar grammar_begin(uint32_t seed, char *out, size_t size)
{
    return (struct grammar){((uint64_t)seed << 32 | seed) ^ 0x9e3779b97f4a7c15U, out, out + size};
}

static inline uint32_t grammar_below(struct grammar *g, uint32_t limit)
{
    g->state ^= g->state << 13; /* xorshift64 (Marsaglia, 2003) */
    g->state ^= g->state >> 7;
    g->state ^= g->state << 17;
    return (uint32_t)(g->state >> 32) % limit;
}

static inline void grammar_put(struct grammar *g, const void *bytes, size_t len)
{
    if (len > (size_t)(g->end - g->at))
        len = (size_t)(g->end - g->at);
    memcpy(g->at, bytes, len);
    g->at += len;
}

static inline void grammar_text(struct grammar *g, const char *text)
{
    grammar_put(g, text, strlen(text));
}

#define GRAMMAR_PICK(g, array) ((array)[grammar_below((g), sizeof(array) / sizeof((array)[0]))])

/* What stands in a string: plain text, escapes, pairs and their halves, now and then what is none.
 */
static inline void grammar_inside(struct grammar *g)
{
    static const char *const parts[] = {"a",
                                        "type",
                                        "xyz",
                                        "\xc3\xa9",
                                        "\xf0\x9f\x98\x80",
                                        "\\n",
                                        "\\\"",
                                        "\\\\",
                                        "\\/",
                                        "\\u0041",
                                        "\\u00e9",
                                        "\\ud83d\\ude00",
                                        "\\ud800",
                                        "\\udc00",
                                        "\\ud83d\\ud83d",
                                        "\\ud800abcde\\\\x",
                                        "\\uD8",
                                        "\\u",
                                        "\\x",
                                        "\\",
                                        "\x01",
                                        "\x7f",
                                        "\\u0000",
                                        "\\u001f",
                                        "\\udbff\\udfff",
                                        "/",
                                        "+",
                                        "#"};

    for (uint32_t n = grammar_below(g, 5); n > 0; n--)
        grammar_text(g, GRAMMAR_PICK(g, parts));
}

static inline void grammar_string(struct grammar *g)
{
    static const char *const words[] = {
        "type",   "id",        "topic",    "message", "data",  "token",    "since",
        "epoch",  "offset",    "overflow", "rate",    "echo",  "presence", "key",
        "retain", "heartbeat", "user",     "client",  "limit", "reverse",  "buffered",
        "a",      "b",         "a/b",      "a/#",     "+",     "#",        "skip",
        "latest", "close",     "lobby",    "YQ==",    "YR=="};

    grammar_text(g, "\"");
    if (grammar_below(g, 3))
        grammar_text(g, GRAMMAR_PICK(g, words));
    else
        grammar_inside(g);
    if (grammar_below(g, 64))
        grammar_text(g, "\"");
}

static inline void grammar_number(struct grammar *g)
{
    static const char *const shapes[] = {"0",
                                         "-0",
                                         "1",
                                         "7",
                                         "7.0",
                                         "7e0",
                                         "-1",
                                         "2.5",
                                         "100",
                                         "9007199254740991",
                                         "9007199254740992",
                                         "18446744073709551615",
                                         "18446744073709551616",
                                         "-9223372036854775808",
                                         "1e308",
                                         "1e309",
                                         "-1e999",
                                         "1e-400",
                                         "0.1",
                                         "1E+5",
                                         "01",
                                         "1.",
                                         ".5",
                                         "-",
                                         "1e",
                                         "5e-324",
                                         "0.30000000000000004"};
    char digits[64];
    uint32_t n = grammar_below(g, 60);

    if (grammar_below(g, 4)) {
        grammar_text(g, GRAMMAR_PICK(g, shapes));
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        digits[i] = "0123456789..e-+"[grammar_below(g, 15)];
    grammar_put(g, digits, n);
}

static inline void grammar_space(struct grammar *g)
{
    static const char *const spaces[] = {"", "", "", "", " ", "\n\t", "\r\n"};

    grammar_text(g, GRAMMAR_PICK(g, spaces));
}

/* A value of JSON, at most so deep. */
static inline void grammar_json(struct grammar *g, unsigned depth)
{
    static const char *const words[] = {"null", "true",     "false", "nul",
                                        "NaN",  "Infinity", "{}",    "[]"};
    uint32_t kind = grammar_below(g, depth ? 8 : 4);
    bool is_object = kind > 5;

    grammar_space(g);
    if (kind < 2) {
        grammar_string(g);
    } else if (kind == 2) {
        grammar_number(g);
    } else if (kind == 3) {
        grammar_text(g, GRAMMAR_PICK(g, words));
    } else {
        uint32_t count = grammar_below(g, 5);

        grammar_text(g, is_object ? "{" : "[");
        for (uint32_t i = 0; i < count; i++) {
            if (i)
                grammar_text(g, grammar_below(g, 50) ? "," : ",,");
            if (is_object) {
                grammar_string(g);
                grammar_text(g, grammar_below(g, 50) ? ":" : " ");
            }
            grammar_json(g, depth - 1);
        }
        if (grammar_below(g, 50))
            grammar_text(g, is_object ? "}" : "]");
    }
    grammar_space(g);
}

/* A nest that is deeper than payloads, or scanners, go. */
static inline void grammar_nest(struct grammar *g)
{
    static const uint32_t depths[] = {23, 24, 25, 26, 1023, 1024, 1025};
    uint32_t depth = GRAMMAR_PICK(g, depths);
    bool is_object = grammar_below(g, 2);

    for (uint32_t i = 0; i < depth; i++)
        grammar_text(g, is_object ? "{\"a\":" : "[");
    grammar_number(g);
    for (uint32_t i = 0; i < depth; i++)
        grammar_text(g, is_object ? "}" : "]");
}

static inline void grammar_member(struct grammar *g, const char *name)
{
    grammar_text(g, ",\"");
    grammar_text(g, name);
    grammar_text(g, "\":");
    if (grammar_below(g, 20) == 0)
        grammar_nest(g);
    else
        grammar_json(g, 4);
}

/* A message with the fields that messages have, in any order, with values of any kind. */
static inline void grammar_message(struct grammar *g)
{
    static const char *const names[] = {"id",        "topic", "message",  "data", "token", "since",
                                        "overflow",  "rate",  "presence", "echo", "key",   "retain",
                                        "heartbeat", "user",  "buffered", "type"};
    static const char *const keys[] = {"\"k\"", "\"l\""};
    static const char *const topics[] = {"\"a\"",   "\"b\"", "\"a/b\"",
                                         "\"a/#\"", "\"+\"", "\"$SYS/broker\""};
    char head[32];

    (void)snprintf(head, sizeof(head), "{\"type\":%u", grammar_below(g, 15));
    grammar_text(g, head);
    if (grammar_below(g, 2))
        grammar_text(g, ",\"id\":1");
    if (grammar_below(g, 3)) {
        grammar_text(g, ",\"topic\":");
        grammar_text(g, GRAMMAR_PICK(g, topics));
    }
    if (grammar_below(g, 4) == 0)
        grammar_text(g, ",\"presence\":true");
    if (grammar_below(g, 4) == 0) { /* one that comes again */
        grammar_text(g, ",\"key\":");
        grammar_text(g, GRAMMAR_PICK(g, keys));
    }
    for (uint32_t n = grammar_below(g, 4); n > 0; n--)
        grammar_member(g, GRAMMAR_PICK(g, names));
    grammar_text(g, "}");
}

/* One message, several in a batch, or any value. */
static inline void grammar_envelope(struct grammar *g)
{
    uint32_t kind = grammar_below(g, 8);

    if (kind == 0) {
        grammar_json(g, 6);
    } else if (kind == 1) {
        grammar_text(g, "[");
        for (uint32_t n = 1 + grammar_below(g, 4); n > 0; n--) {
            grammar_message(g);
            grammar_text(g, n > 1 ? "," : "]");
        }
    } else {
        grammar_message(g);
    }
}

/* A value of MessagePack by its formats, at most so deep; counts and lengths now and then lie. */
static inline void grammar_msgpack(struct grammar *g, unsigned depth)
{
    static const uint8_t formats[] = {0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
                                      0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf,
                                      0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7,
                                      0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf};
    uint32_t kind = grammar_below(g, 6);
    uint32_t count = grammar_below(g, 5);
    uint8_t octets[24];

    for (size_t i = 0; i < sizeof(octets); i++)
        octets[i] = (uint8_t)(grammar_below(g, 3) ? grammar_below(g, 8) : grammar_below(g, 256));
    if (kind == 0) {
        octets[0] = GRAMMAR_PICK(g, formats);
        grammar_put(g, octets, 1 + grammar_below(g, 16));
    } else if (kind == 1) {
        octets[0] = (uint8_t)grammar_below(g, 256);
        grammar_put(g, octets, 1);
    } else if (kind == 2) {
        octets[0] = (uint8_t)(0xa0 | count);
        memcpy(octets + 1, "a/#+b", 5);
        grammar_put(g, octets, 1 + count);
    } else if (depth) {
        bool is_map = kind == 3;

        octets[0] = (uint8_t)((is_map ? 0x80 : 0x90) | count);
        grammar_put(g, octets, 1);
        count -= count && grammar_below(g, 20) == 0;
        for (uint32_t i = 0; i < count * (is_map ? 2 : 1); i++) {
            if (is_map && i % 2 == 0 && grammar_below(g, 10))
                grammar_text(g, "\xa1k");
            else
                grammar_msgpack(g, depth - 1);
        }
    }
}

/* A message as its layout has it: type, id, topic, and anything behind. */
static inline void grammar_packed_envelope(struct grammar *g)
{
    static const char *const topics[] = {"\xa1"
                                         "a",
                                         "\xa1"
                                         "b",
                                         "\xa3"
                                         "a/b",
                                         "\xa3"
                                         "a/#",
                                         "\xa1+",
                                         "\xc0"};
    uint32_t more = grammar_below(g, 6);
    uint8_t head[3] = {(uint8_t)(0x93 + more), (uint8_t)grammar_below(g, 15),
                       grammar_below(g, 3) ? 7 : 0xc0};

    if (grammar_below(g, 10) == 0)
        grammar_text(g, "\x91");
    grammar_put(g, head, sizeof(head));
    grammar_text(g, GRAMMAR_PICK(g, topics));
    for (uint32_t i = 0; i < more; i++)
        grammar_msgpack(g, 4);
}

/* libFuzzer's own mutation; in a replay of the corpus there is none. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));

/* A piece by the grammar in the place of others, a new text, or what libFuzzer thinks of. */
static inline size_t grammar_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed,
                                    void (*make)(struct grammar *g))
{
    static char piece[8192];
    struct grammar g = grammar_begin(seed, piece, sizeof(piece));
    size_t from = size ? grammar_below(&g, (uint32_t)size + 1) : 0;
    size_t gone = size > from ? grammar_below(&g, (uint32_t)(size - from) + 1) : 0;
    uint32_t how = grammar_below(&g, 4);
    size_t len;

    if (how == 0 && LLVMFuzzerMutate)
        return LLVMFuzzerMutate(data, size, max_size);
    if (how == 1)
        from = 0, gone = size;
    make(&g);
    len = (size_t)(g.at - piece);
    if (len > max_size - (size - gone))
        len = max_size - (size - gone);
    memmove(data + from + len, data + from + gone, size - from - gone);
    memcpy(data + from, piece, len);
    return size - gone + len;
}

#endif
