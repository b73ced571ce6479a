/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h - the system calls of the net floor, of OpenSSL and of libev, in the place of libc's.
 *
 * Who links this has its calls counted, and the k-th one made to fail; the clock
 * is the test's. What a test does as a client is exempt.
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
};

extern struct call_fault call_fault;
extern uint64_t call_count;          /* since the test set it to 0 */
extern bool call_is_exempt;          /* the calls of now are the test's own */
extern bool call_may_fail_reads;     /* those before are of libc and of files */
extern uint64_t call_clock_ahead_ns; /* of CLOCK_MONOTONIC */

#endif
