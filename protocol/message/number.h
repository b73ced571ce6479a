/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.h - numbers of JSON: raw text to a value, a double to text, both exactly.
 *
 * Raw numbers are such as the scanner (json.h) accepts, of any length.
 */
#ifndef MESSAGE_NUMBER_H
#define MESSAGE_NUMBER_H

#include <stdint.h>

#include "protocol/base/bytes.h"

/* What a raw number is. An integer fits int64 or uint64 and has no fraction or exponent. */
enum ff_number_kind { FF_NUMBER_INT, FF_NUMBER_UINT, FF_NUMBER_DOUBLE };

struct ff_number {
    enum ff_number_kind kind;
    int64_t i;  /* kind INT: below 0 */
    uint64_t u; /* kind UINT */
    double d;   /* always */
};

struct ff_number ff_number_read(struct ff_slice raw);

/* The nearest double; an infinity where it overflows. */
double ff_number_double(struct ff_slice raw);

/* Of "e-5" -5, of nothing 0; bounded far beyond any double's range. */
long ff_number_exponent(struct ff_slice raw);

/*
 * Writes a finite double with the shortest digits that read back, always with
 * a `.` or an exponent (32 octets of room); returns the size.
 */
size_t ff_number_write(char *out, double d);

#endif
