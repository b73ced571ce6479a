/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msgpack.h - a walker over MessagePack that builds nothing.
 *
 * It checks a value (depth, declared counts against the octets that are there,
 * UTF-8, what Fanfare carries) and hands on the range it stands in. Declared
 * lengths are compared before anything is done with them. No recursion.
 */
#ifndef MESSAGE_MSGPACK_H
#define MESSAGE_MSGPACK_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/buf.h"
#include "protocol/message/json.h"

enum ff_msgpack_kind {
    FF_MSGPACK_NIL,
    FF_MSGPACK_BOOL,
    FF_MSGPACK_UINT,   /* 0 or above, in any integer format */
    FF_MSGPACK_INT,    /* below 0 */
    FF_MSGPACK_DOUBLE, /* float32 as the double it equals */
    FF_MSGPACK_STR,
    FF_MSGPACK_BIN,
    FF_MSGPACK_ARRAY,
    FF_MSGPACK_MAP,
    FF_MSGPACK_EXT,
};

/* One element's head; `bytes` of str, bin and ext, `count` of array and map, size of a float. */
struct ff_msgpack_item {
    enum ff_msgpack_kind kind;
    uint32_t count;
    union {
        uint64_t u;
        int64_t i;
        double d;
        bool b;
    };
    struct ff_slice bytes;
};

struct ff_msgpack {
    const char *at;
    const char *end;
};

static inline struct ff_msgpack ff_msgpack_of(struct ff_slice bytes)
{
    return (struct ff_msgpack){bytes.at, bytes.at + bytes.len};
}

/*
 * Takes one head and the octets of a str, bin or ext. FF_OK, FF_EINVAL (cut
 * short, a count that cannot be, the octet c1).
 */
FF_MUST_CHECK enum ff_err ff_msgpack_take_item(struct ff_msgpack *m, struct ff_msgpack_item *item);

/*
 * Takes one whole value. FF_OK: `*value` is its range, faults are added to
 * `*faults`. FF_EINVAL: malformed. FF_ELIMIT: nested deeper than
 * FF_JSON_NESTING_MAX, not read on.
 */
FF_MUST_CHECK enum ff_err ff_msgpack_take(struct ff_msgpack *m, struct ff_slice *value,
                                          unsigned *faults);

/* Writes the head of a str, bin, array or map (5 octets of room); returns the end. */
char *ff_msgpack_write_head(char *out, enum ff_msgpack_kind kind, uint32_t count);

/* Writes an integer in its shortest form (9 octets of room); returns the end. */
char *ff_msgpack_write_uint(char *out, uint64_t u);

#endif
