/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain.h - how a worker's connections end: nobody is cut off without a word.
 *
 * It stops accepting, sends GOODBYE to every client with a time to come back
 * that is spread over all of them, lets what is owed go out, and closes with
 * 1012, some at a time, within `drain_seconds`.
 */
#ifndef APP_DRAIN_H
#define APP_DRAIN_H

#include "broker/session/gateway.h"

struct drain {
    struct wheel_timer timer;
    struct gateway *gateway;
    void (*done)(void *arg);
    void *arg;
    const char *reason; /* of GOODBYE and of the close frame; static */
    uint64_t begin_ms;
    uint64_t end_ms;
    uint64_t shut_ms; /* since when nothing is left but peers that do not end their side */
    uint32_t total;   /* sessions when it began, */
    uint32_t all;     /* and of all workers */
    uint32_t visited;
    uint32_t to_close; /* how many of them should be closed by now */
    uint32_t next_slot;
    bool is_running;
};

/* `done` is called once, when nobody is left or the time is up. */
void drain_init(struct drain *drain, struct gateway *gateway, void (*done)(void *arg), void *arg);

/* Begins; the listeners are closed already. `reason` is static text, what clients are told. */
void drain_begin(struct drain *drain, uint32_t seconds, const char *reason);

#endif
