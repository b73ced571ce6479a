/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.h - numbers of JSON: raw text to a value, a double to text, both exactly.
 *
 * Raw numbers may be of any length, and any text may be given: what is no number
 * of JSON (RFC 8259, section 6) is of kind NONE and has the value 0.
 */
#ifndef MESSAGE_NUMBER_H
#define MESSAGE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/bytes.h"

/* What a raw number is. An integer fits int64 or uint64 and has no fraction or exponent. */
enum ff_number_kind { FF_NUMBER_NONE, FF_NUMBER_INT, FF_NUMBER_UINT, FF_NUMBER_DOUBLE };

struct ff_number {
    enum ff_number_kind kind;
    int64_t i;  /* kind INT: below 0 */
    uint64_t u; /* kind UINT */
    double d;   /* of each kind; an infinity where it overflows */
};

struct ff_number ff_number_read(struct ff_slice raw);

/*
 * An integer as envelopes have them, 0 to FF_INTEGER_MAX, however it is written: 7, 7.0, 7e0.
 * False: it is none.
 */
bool ff_number_read_integer(struct ff_slice raw, uint64_t *out);

/* The nearest double; an infinity where it overflows; of what is no number 0. */
double ff_number_double(struct ff_slice raw);

/*
 * The octets of the number that `text` begins with, 0: it begins with none.
 * `*magnitude`: its digits before the point and its exponent, added up and bounded
 * far beyond any double's range: from 309 on it may overflow a double.
 */
size_t ff_number_scan(struct ff_slice text, long *magnitude);

/*
 * Writes a double with the shortest digits that read back, always with a `.` or
 * an exponent (32 octets of room); returns the size. NaN and infinities, which
 * JSON has not, are written as null.
 */
size_t ff_number_write(char *out, double d);

#endif
