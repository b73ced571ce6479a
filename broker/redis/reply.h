/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.h - what Redis answers (RESP2), as one flat array of values.
 *
 * A value that is an array is followed by its children, each with its own behind it (pre-order):
 * [1, [2, 3], 4] is ARRAY(3) 1 ARRAY(2) 2 3 4. Texts lie in one buffer, one behind the other.
 * Values and buffer are the reader's and are used again for the next reply: a reader that is
 * warm allocates nothing. What a large reply needed beyond REDIS_KEPT is given back after it.
 *
 * hiredis parses. It keeps what it was fed and could not parse yet in memory of its own, by
 * malloc: that is not in the count of live bytes, no test can make it fail, and when it fails the
 * reader is BAD as with any other failing allocation. There is never more of it than
 * REDIS_REPLY_MAX and what is fed at once. It moves what is left to the front each 1 KiB that it
 * has parsed: who feeds it pieces of 16 KiB pays little for that.
 *
 * Whatever the octets are a reader ends: with BAD at the latest when a maximum is passed. An array
 * that announces many children costs nothing until they come (CVE-2021-32765 was about that).
 */
#ifndef REDIS_REPLY_H
#define REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/buf.h"
#include "protocol/base/bytes.h"
#include "protocol/base/check.h"

enum {
    REDIS_REPLY_MAX = 64 * 1024 * 1024, /* octets of one reply, and so of one text */
    REDIS_LINE_MAX = 64 * 1024,         /* octets of a status or an error */
    REDIS_VALUES_MAX = 1024 * 1024,     /* values in one reply */
    REDIS_DEPTH_MAX = 7,                /* arrays within arrays */
    REDIS_KEPT = 1024 * 1024,           /* octets of each buffer that a reader keeps */
};

enum redis_kind {
    REDIS_TEXT,
    REDIS_INTEGER,
    REDIS_NIL,
    REDIS_STATUS,
    REDIS_ERROR,
    REDIS_ARRAY,
};

struct redis_value {
    enum redis_kind kind;
    uint32_t count;  /* ARRAY: its children, which follow it with their own */
    int64_t integer; /* INTEGER */
    size_t at;       /* TEXT, STATUS, ERROR: where in the reply's texts, */
    size_t len;      /* and how many octets */
};

/* Borrowed from the reader, until it is fed or asked for the next one. */
struct redis_reply {
    const struct redis_value *values;
    uint32_t count; /* at least 1 */
    const char *texts;
};

/* The octets of value `i`, no NUL behind them; an empty slice where it has none or is not there. */
struct ff_slice redis_text(const struct redis_reply *reply, uint32_t i);

/* The value behind `i` and all that is in it; at most `count`, which is behind all of them. */
uint32_t redis_next(const struct redis_reply *reply, uint32_t i);

/* Is value `i` there, and of this kind? */
bool redis_is(const struct redis_reply *reply, uint32_t i, enum redis_kind kind);

enum redis_reading {
    REDIS_READER_MORE,  /* all was parsed, or it needs more octets */
    REDIS_READER_REPLY, /* there is one */
    REDIS_READER_BAD,   /* for good: `why` of the reader says what is wrong */
};

struct redisReader; /* hiredis' own */

struct redis_reader {
    struct redisReader *parser; /* NULL until something is fed */
    struct redis_value *values;
    uint32_t count;
    uint32_t room;
    uint32_t awaited; /* values that arrays have announced, and these arrays themselves */
    struct ff_buf texts;
    uint64_t fed;    /* octets, since there is this parser */
    uint64_t parsed; /* of these, those of whole replies */
    size_t most;     /* octets that lay unparsed at once, since there is this parser */
    bool is_taken;   /* a reply was handed out */
    const char *why; /* it is BAD */
};

/* Allocates nothing. */
void redis_reader_init(struct redis_reader *reader);

/* Frees all memory; the reader can be used again, and knows nothing of what it was fed. */
void redis_reader_deinit(struct redis_reader *reader);

/* Gives it a copy of more octets. Where it cannot take them the next redis_reader_next() is BAD. */
void redis_reader_feed(struct redis_reader *reader, const void *bytes, size_t len);

/* The next reply of what was fed. */
FF_MUST_CHECK enum redis_reading redis_reader_next(struct redis_reader *reader,
                                                   struct redis_reply *reply);

#endif
