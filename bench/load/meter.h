/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meter.h - what a load costs: the server's CPU time and memory from /proc, and
 * whether this client or others on the machine stood in the way.
 */
#ifndef LOAD_METER_H
#define LOAD_METER_H

#include "bench/load/options.h"

struct reading {
    uint64_t at_ns;
    uint64_t server_ns;      /* CPU time of all its threads */
    uint64_t own_ns;         /* CPU time of this client */
    uint64_t preemptions;    /* of this client */
    uint64_t server_kib;     /* resident */
    uint64_t server_top_kib; /* the most that ever was */
};

void meter_read(struct reading *reading, const struct options *options);

#endif
