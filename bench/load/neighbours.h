/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neighbours.h - publishers beside a load, to whom nobody listens and who never
 * wait: each keeps its socket full, so that the server has always input.
 */
#ifndef LOAD_NEIGHBOURS_H
#define LOAD_NEIGHBOURS_H

#include "bench/load/crowd.h"

struct neighbours {
    struct crowd crowd;
    struct ff_buf batch; /* messages, ready to be sent again and again */
};

/* `options->flood` of them, 0: none. The hub's owner must hand crowd_answered() their answers. */
void neighbours_init(struct neighbours *neighbours, struct hub *hub, const struct options *options);
void neighbours_deinit(struct neighbours *neighbours, struct hub *hub);

/* Fills the sockets that have room. */
void neighbours_send(struct neighbours *neighbours, struct hub *hub);

#endif
