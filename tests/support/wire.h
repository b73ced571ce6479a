/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - a scripted transport: sockets, clock and event loop of a test's own.
 *
 * The linker puts these in the place of the system's calls (--wrap), so the
 * broker above is the real one, unchanged. A test writes what a peer sends, says
 * how much its socket takes, moves the clock and runs turns. All that the broker
 * sends is checked as it comes: a whole HTTP answer, then whole frames as a
 * server may send them, and nothing behind a close frame. A descriptor that is
 * closed twice, or used after it was closed, ends the program.
 */
#ifndef SUPPORT_WIRE_H
#define SUPPORT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/net/loop.h"

enum { WIRES = 12, WIRE_FIRST_FD = 100000, WIRE_INPUT = 16384 };

/* What the broker sent on one wire, as far as it is understood. */
struct wire_output {
    char head[13];   /* "HTTP/1.1 101" */
    unsigned at;     /* octets of the answer so far */
    unsigned line;   /* how much of the CRLFCRLF that ends it is there */
    bool is_open;    /* it was a 101: frames follow */
    bool is_closing; /* a close frame was seen */
    uint8_t frame[10];
    unsigned frame_at;
    uint64_t left;  /* octets of the present frame still to come */
    unsigned count; /* whole frames */
    uint64_t octets;
};

struct test_wire {
    ev_io *watcher; /* while the broker looks at it */
    uint8_t in[WIRE_INPUT];
    size_t in_at;
    size_t in_len;
    bool in_end;   /* behind the input is the end */
    size_t chop;   /* at most so many octets a call, 0: no limit */
    size_t window; /* octets that the socket still takes */
    size_t unsent; /* taken, but not gone */
    int failure;   /* errno of the next call, 0: none */
    bool is_used;
    struct wire_output out;
};

extern struct test_wire wires[WIRES];
extern uint64_t wire_now_ms;
extern bool wire_is_stopped; /* the loop was told to end */

/* Everything is new, the clock stands at an hour. */
void wire_reset(void);

/* A descriptor that nobody uses, or -1. */
int wire_open(size_t window);

/* Adds to what will be received; what does not fit is left out. */
void wire_write(struct test_wire *wire, const void *bytes, size_t len);

/* A turn: calls back all that is ready, beginning with the `first`-th wire. */
void wire_turn(struct loop *loop, unsigned first);

#endif
