/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scene.h - the real broker and its clients in one process, for tests that make
 * something fail at every place in turn.
 *
 * The script is one conversation of some sixty steps: plain and TLS connections,
 * both encodings, filters, a reader that stalls and is overrun, closes, reloads,
 * a drain. Sockets are real, on loopback; time is the test's. The k-th allocation
 * or the k-th system call of the broker can be made to fail; what the clients do
 * is exempt. Afterwards a new client must be served, and nothing may be left.
 *
 * With io_uring there is another script, as short as that flush allows: a crowd
 * that is sent to by one call, TLS among it, readers that stall among it, a drain.
 */
#ifndef SUPPORT_SCENE_H
#define SUPPORT_SCENE_H

#include <stdbool.h>
#include <stdint.h>

struct scene_fault {
    uint64_t allocation; /* which allocation fails, 0: none */
    uint64_t one_in;     /* about one allocation in so many fails, by `seed`; 0: none */
    uint64_t seed;
    uint64_t call;        /* which system call of the net floor fails, 0: none */
    int error;            /* with this errno, or CALL_SHORT (calls.h) */
    bool is_always_short; /* every call moves one octet at most */
    bool is_of_ring;      /* of io_uring's own calls, and of what they ask for */
    bool is_strict;       /* all the same nothing may be lost */
    bool by_uring;        /* the script with io_uring */
};

struct scene_counts {
    uint64_t allocations;
    uint64_t calls;
    unsigned steps;
};

/* Makes certificate and configuration; once. */
void scene_set_up(void);

/* Removes them. */
void scene_tear_down(void);

/* Plays the whole script; fails the test if the broker hangs, leaks or serves no more. */
struct scene_counts scene_play(const struct scene_fault *fault);

#endif
