/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h - a validating JSON scanner (RFC 8259) that builds nothing.
 *
 * A value is checked and handed on as the raw slice it stands in, so that a
 * payload reaches subscribers byte for byte. Whether it is UTF-8 is not looked
 * at here (text frames are checked as they arrive). No recursion: nesting is a
 * stack of bits. Every function is defined for every input, whatever was said of
 * it before: what others call validated may still have faults.
 *
 * Two kinds of wrong: malformed (it is no JSON), and faults: legal JSON that
 * Fanfare refuses as a payload because the other encoding could not carry it.
 */
#ifndef MESSAGE_JSON_H
#define MESSAGE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/buf.h"

#define FF_DEPTH_MAX 24 /* levels of a payload: `[[1]]` has two */

enum { FF_JSON_NESTING_MAX = 1024 }; /* beyond it the scanners do not read on */

/* Faults, as bits. */
enum {
    FF_FAULT_SURROGATE = 1, /* an escape of a lone surrogate */
    FF_FAULT_OVERFLOW = 2,  /* a number that overflows a double */
    FF_FAULT_DEEP = 4,      /* more than FF_DEPTH_MAX levels */
    FF_FAULT_EXT = 8,       /* MessagePack only, from here on: an ext type */
    FF_FAULT_BIN = 16,      /* `bin` below the top */
    FF_FAULT_KEY = 32,      /* a map's key that is no string */
    FF_FAULT_UTF8 = 64,     /* a `str` that is no UTF-8 */
    FF_FAULT_FINITE = 128, /* NaN or an infinity (in JSON written as the words, which it has not) */
};

/* A reason for the first fault in `faults`. Static. */
const char *ff_fault_text(unsigned faults);

struct ff_json {
    const char *at;
    const char *end;
};

static inline struct ff_json ff_json_of(struct ff_slice text)
{
    return (struct ff_json){text.at, text.at + text.len};
}

/*
 * Takes one value with the white space around it. FF_OK: `*value` is its raw
 * text, without that space, and faults are added to `*faults`. FF_EINVAL:
 * malformed, at `j->at` (ff_json_malformed_text() says how). FF_ELIMIT: nested deeper than
 * FF_JSON_NESTING_MAX, not read on.
 */
FF_MUST_CHECK enum ff_err ff_json_take(struct ff_json *j, struct ff_slice *value, unsigned *faults);

/* Behind a byte order mark, which some encoders put before a text. */
struct ff_slice ff_json_without_mark(struct ff_slice text);

/* What is wrong where a text is malformed. Static. */
const char *ff_json_malformed_text(const struct ff_json *j);

/* Takes `c` and the white space behind it, if it is next. */
bool ff_json_take_char(struct ff_json *j, char c);

/* Takes a string and the white space behind it: `*raw` is what stands between the quotes. */
FF_MUST_CHECK enum ff_err ff_json_take_string(struct ff_json *j, struct ff_slice *raw,
                                              unsigned *faults);

void ff_json_skip_space(struct ff_json *j);

/*
 * Walks the members of an object, or the elements of an array (key.at NULL).
 * False at the end, and where a text that ff_json_take() would not accept stops
 * to make sense.
 */
bool ff_json_next(struct ff_json *j, struct ff_slice *key, struct ff_slice *value);

/* Begins such a walk at a raw object or array. */
struct ff_json ff_json_enter(struct ff_slice value);

/*
 * The text that a string's inside stands for, at most raw.len octets, written to
 * `out`; returns the size. Of any text: the half of a surrogate pair alone
 * becomes U+FFFD, and a backslash that begins no escape stands for itself.
 */
size_t ff_json_unescape(char *out, struct ff_slice raw);

/* Is there a backslash in it? If not, the raw text is the text. */
static inline bool ff_json_has_escape(struct ff_slice raw)
{
    return raw.len && memchr(raw.at, '\\', raw.len);
}

/* How long `text` is as a JSON string, quotes included. */
size_t ff_json_quoted_size(struct ff_slice text);

/* Writes it, escaping only `"`, `\` and controls; returns the end. */
char *ff_json_write_quoted(char *out, struct ff_slice text);

#endif
