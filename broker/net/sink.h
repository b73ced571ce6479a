/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink.h - lines for a descriptor that others may be slow to empty: a pipe that
 * nobody reads, a terminal that was stopped, journald's socket, a full disk.
 *
 * Who puts a line never waits: it is copied into a ring of SINK_SIZE octets, and
 * a thread writes it. What finds no room is lost and counted, and a line that
 * says how many were takes their place as soon as there is room. What cannot be
 * written for want of space is tried again once a second.
 *
 * The descriptor is its owner's and may be shared with other programs: it is only
 * written to, and its flags stay as they are.
 */
#ifndef NET_SINK_H
#define NET_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/base/check.h"

enum {
    SINK_SIZE = 64 * 1024,
    SINK_LINE_MAX =
        4096, /* so much goes into a pipe at once: lines of several writers stay whole */
};

struct sink;

/* Writes the line that says how many were lost, its end included; returns its size. */
typedef size_t sink_lost_fn(char *out, size_t size, uint64_t lost);

/* NULL: out of memory, or errno says why there is no thread. */
FF_MUST_CHECK struct sink *sink_new(int fd, sink_lost_fn *tell_lost);

/* Any thread: a line of at most SINK_LINE_MAX octets, its '\n' included. Does not wait. */
void sink_put(struct sink *sink, const char *line, size_t len);

/* Waits until all is written, at most so long. May be called by a signal's handler. */
bool sink_drain(const struct sink *sink, unsigned patience_ms);

/*
 * Writes what is left, for at most so long. A thread that still waits then is
 * left behind with its memory, until the program ends. NULL is allowed.
 */
void sink_free(struct sink *sink, unsigned patience_ms);

#endif
