/* SPDX-License-Identifier: Apache-2.0 */
/* crowd.h - many connections that are opened together. */
#ifndef LOAD_CROWD_H
#define LOAD_CROWD_H

#include "bench/load/hub.h"

struct member {
    struct peer peer;
    uint32_t topic;
    bool is_ready;  /* subscribed, and the server said so */
    uint32_t *next; /* the number that is next, of each publisher */
};

struct crowd {
    struct member *members;
    uint32_t count;
    uint32_t begun;
    uint32_t ready;
    uint32_t gone;
    bool is_publishing;
};

/* The name of the i-th topic. */
struct ff_slice topic_of(uint32_t i, char room[32]);

/* Ends the program when there is no memory. */
void crowd_init(struct crowd *crowd, uint32_t count, bool is_publishing);
void crowd_deinit(struct hub *hub, struct crowd *crowd);

/* Opens all, `concurrency` at a time, and waits until each is ready or gone. */
void crowd_open(struct hub *hub, struct crowd *crowd, const struct options *options);

/* For the hub's callbacks. */
void crowd_opened(struct hub *hub, struct peer *peer);
void crowd_answered(struct peer *peer);
void crowd_lost(struct peer *peer);

static inline struct member *member_of(struct peer *peer)
{
    return FF_CONTAINER(peer, struct member, peer);
}

#endif
