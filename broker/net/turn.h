/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.h - what one turn of a worker may spend, and on what.
 *
 * In the order of a turn (worker/worker.h). What is left over is the first of the
 * next turn, which does not block then:
 *
 *   accept       TURN_ACCEPTS sockets of a listener
 *   input        TURN_INPUT: 2 ms, or INPUT_OCTETS of input (input.h), of those that speak
 *                all the time
 *   newcomers    TURN_NEWCOMERS connections are read that have no conversation yet
 *   the others   what is left of TURN_INPUT; where some speak all the time TURN_OTHERS: 0.5 ms,
 *                or half as long as the rest of the turn
 *   handshakes   TURN_HANDSHAKES: 4 ms, TLS
 *   requests     TURN_REQUESTS of each other worker, about 1 ms
 *   output       TURN_OUTPUT: 4 ms, or as long as input took: what comes in must go out
 *   the past     TURN_LATE: 0.5 ms of output, or half as long as the rest of it took, to who is
 *                owed what was said before, however many they are: what is said now does not
 *                wait for it
 *
 * Within the output a connection sends at most TURN_SENT octets before the others
 * have their turn, in sends of at most its transport's `max_send`, with at most
 * RANGE_MAX octets of one subscription (session/delivery.c).
 */
#ifndef NET_TURN_H
#define NET_TURN_H

#include <stdint.h>

enum {
    TURN_ACCEPTS = 4, /* and one, while others wait to be read: the rest waits in the backlog */
    TURN_NEWCOMERS = 64,
    TURN_REQUESTS = 1024,
    TURN_LIST = TURN_REQUESTS / 4, /* so many of them a list of members or messages counts for, */
    TURN_LIST_OCTETS = 64 * 1024,  /* or for so much input, as a past does that is written again */
    TURN_SENT = 256 * 1024,
};

enum turn_share { TURN_INPUT, TURN_OTHERS, TURN_HANDSHAKES, TURN_OUTPUT, TURN_LATE };

/*
 * How long this share of the turn may take, in microseconds. `beside_us`: of output, what input
 * took; of the others and of the past, what the rest of the turn takes: a third of the time is
 * theirs where that is much.
 */
static inline uint64_t turn_slice_us(enum turn_share share, uint64_t beside_us)
{
    static const struct {
        uint16_t least;
        uint16_t most; /* where there is more beside it */
    } slices[] = {
        [TURN_INPUT] = {2000, 2000},      [TURN_OTHERS] = {500, 2000},
        [TURN_HANDSHAKES] = {4000, 4000}, [TURN_OUTPUT] = {4000, UINT16_MAX},
        [TURN_LATE] = {500, 4000},
    };
    uint64_t wanted = share == TURN_OUTPUT ? beside_us : beside_us / 2;

    if (wanted > slices[share].most)
        wanted = slices[share].most;
    return wanted > slices[share].least ? wanted : slices[share].least;
}

#endif
