/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h - the system calls of the net floor, of OpenSSL and of libev, in the place of libc's.
 *
 * Who links this has its calls counted, and the k-th one made to fail. What a test
 * does as a client is exempt. The clock is the test's alone: real time does not
 * count, however busy the machine is. What goes through sockets is counted, so that
 * a test can wait for what is under way instead of for a while.
 */
#ifndef SUPPORT_CALLS_H
#define SUPPORT_CALLS_H

#include <stdbool.h>
#include <stdint.h>

/* How a call fails, besides by an errno: it moves one octet. */
enum { CALL_SHORT = -1 };

struct call_fault {
    uint64_t call;        /* the k-th fails, 0: none */
    int error;            /* with this errno, or CALL_SHORT */
    bool is_always_short; /* every call moves one octet at most */
    bool is_of_ring;      /* only io_uring's calls count, and what they ask for (uring_calls.c) */
};

/* What went through a socket. */
struct call_flow {
    uint64_t sent;
    uint64_t received;
    uint16_t peer_port; /* of one that was accepted, as the network has it; 0: of none */
    int listener;       /* and where */
    bool is_over;       /* its side was shut, or it was closed */
};

enum { CALL_FDS = 256 };

extern struct call_fault call_fault;
extern uint64_t call_count;          /* of those that may fail, since the test set it to 0 */
extern uint64_t call_total;          /* of all: does anything happen? */
extern bool call_is_exempt;          /* the calls of now are the test's own */
extern bool call_may_fail_reads;     /* those before are of libc and of files */
extern uint64_t call_clock_ahead_ns; /* of CLOCK_MONOTONIC: how far the test has moved it */
extern struct call_flow call_flows[CALL_FDS]; /* by descriptor */

/* For more calls than stand here. One is made: 0 it goes on, else an errno or CALL_SHORT. */
int call_next(bool is_of_ring);

#endif
