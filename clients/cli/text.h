/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - text from the network, printed so that it can do nothing but be read.
 *
 * Taken out, and shown as an escape instead, is all that could steer a terminal
 * (C0, DEL, C1), begin a line of its own (newlines, U+2028, U+2029) or turn the
 * order of what stands there around (bidirectional controls).
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdio.h>

#include "protocol/base/buf.h"

/* `\n`, `\x1b`, `\u202e` in their place. One event stays one line. */
void text_print(FILE *out, struct ff_slice text);

/*
 * A raw JSON value, still the same value: line breaks between its elements
 * become spaces. For a terminal what could steer it becomes `\u001b` in its
 * string; a pipe gets every other octet as it was.
 */
void text_print_json(FILE *out, struct ff_slice json, bool is_for_terminal);

/* As text_print(), into a buffer. False: out of memory. */
FF_MUST_CHECK bool text_append(struct ff_buf *out, struct ff_slice text);

/* The time of day, `18:41:57.123`, or with the date as JSON has it, in UTC. */
enum { TEXT_TIME_SIZE = 32 };
void text_time(char out[TEXT_TIME_SIZE], bool is_iso);

#endif
