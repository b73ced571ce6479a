/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.h - what the workers of a broker know in common: who they are, how many
 * connections there are in all and of each address, and the figures for $SYS.
 *
 * Nothing here is touched for a message. Counters are atomic, the rest is behind
 * one lock, taken when a connection comes or goes and once a second.
 */
#ifndef SESSION_SHARED_H
#define SESSION_SHARED_H

#include <pthread.h>
#include <stdatomic.h>

#include "broker/net/socket.h"
#include "broker/net/trimmer.h"
#include "broker/worker/qsbr.h"
#include "protocol/base/buf.h"
#include "protocol/base/map.h"

struct exchange;
struct gateway;

enum { SYS_ROWS = 100 };

/* Lists in $SYS. */
enum sys_list { SYS_TOPICS, SYS_SLOW, SYS_LISTS };

/* The largest that one worker has, each a JSON object in `text`. */
struct sys_share {
    struct {
        uint64_t score;
        size_t at; /* in `text` */
        size_t len;
    } rows[SYS_ROWS];
    uint32_t count;
    struct ff_buf text;
};

/* What the others see of one worker. */
struct worker_figures {
    _Atomic uint32_t closing;   /* of this turn: connections without a session, */
    _Atomic bool is_crowded;    /* and whether it has its share of handshakes, or is behind */
    _Atomic uint64_t published; /* for $SYS, a second old at most */
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t keys; /* of idempotent publishes: remembered, and gone too early */
    _Atomic uint64_t keys_forgotten;
    _Atomic uint64_t members;            /* of topics with presence */
    _Atomic bool is_counting[SYS_LISTS]; /* it has shared its part of that list */
};

struct shared {
    uint32_t workers;
    struct ff_hash_key key;
    char node[17];
    uint64_t life; /* of this process: no other one ever has the same */
    uint64_t started_ms;
    struct qsbr qsbr;
    struct trimmer trimmer;    /* of the heap, which they share, too */
    struct exchange *exchange; /* NULL: one worker */
    struct gateway *gateways[WORKERS_MAX];
    _Atomic uint32_t topics;
    _Atomic uint32_t retained; /* topics with a retained message */
    _Atomic uint32_t sessions;
    _Atomic uint64_t reload_failures;
    _Atomic bool is_wanted[SYS_LISTS]; /* somebody listens */
    struct worker_figures figures[WORKERS_MAX];

    pthread_mutex_t lock; /* of what follows */
    struct ff_map addresses;
    struct sys_share (*shares)[SYS_LISTS]; /* of each worker */
};

/* Draws a key and a node's name. FF_OK, FF_ENOMEM, FF_ESYS (no entropy). */
FF_MUST_CHECK enum ff_err shared_init(struct shared *shared, uint32_t workers);

/* All connections are gone. */
void shared_deinit(struct shared *shared);

/*
 * Counts one more connection of an address; false when that is over `limit` (it
 * is counted all the same), 0: none. `*entry`: for shared_release_address(),
 * NULL for an address that is not counted: loopback never is.
 */
struct address_count;
bool shared_count_address(struct shared *shared, const struct address *address, uint32_t limit,
                          struct address_count **entry);
void shared_release_address(struct shared *shared, struct address_count *entry);

#endif
