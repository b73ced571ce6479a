/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crew.h - the clients of several workers, who do whatever comes into their heads.
 *
 * A crew is workers without sockets: a router, a carrier and a mailbox each, and
 * clients that subscribe, publish, stall, change their minds and go. What each of
 * them sees is held against the truth (truth.h), and what it is answered against
 * the book (book.h).
 */
#ifndef SUPPORT_CREW_H
#define SUPPORT_CREW_H

#include <pthread.h>

#include "broker/carrier/carrier.h"
#include "tests/support/book.h"
#include "tests/support/subscriber.h"
#include "tests/support/truth.h"

enum {
    PEERS = 6,         /* of a worker */
    SUBSCRIPTIONS = 4, /* of a peer */
    MAX_PAYLOAD = 40000,
    MAX_BUFFERED = 60000,
    BOUND_MOST = 70000, /* of one subscription in two */
    ROOM = 1 << 17,
    ROOMS = 2, /* so many of the names, the first, have members */
    KEYED = 8, /* keyed publishes that a worker's peers may repeat */
};

struct crew_run {
    uint64_t seed;
    uint32_t workers;
    uint32_t max_messages;
    bool in_threads;
    bool is_starving; /* a third of the simulated runs: allocations fail now and then */
    /* Negative controls: engines forget keys or positions at once, or begin one message too far. */
    bool without_keys;
    bool without_positions;
    bool without_recovery;
    _Atomic uint32_t last_id;
    _Atomic bool *is_taken; /* of each id: it has its place in its topic's order */
};

extern struct crew_run crew_run;

struct follower {
    struct subscription *cursors; /* NULL: free */
    struct stream streams[TRUTH_OWNERS];
    uint32_t topic;
    uint32_t told;      /* a gap whose message is still to come: it tells the cursor */
    uint32_t first_own; /* the first message that its own session published behind it */
    double rate;
    bool is_acked;
    bool has_since;
    struct ff_since since; /* what it asked for of the past */
    uint64_t born;         /* the request for it */
    bool is_deaf;          /* it wants to hear no more of members */
    uint32_t members;      /* as it was told last; UINT32_MAX: it does not listen */
};

/* What a publish is made of, each time that it is. */
struct crew_message {
    uint32_t id; /* 0: none */
    uint32_t topic;
    uint32_t pad;
    uint32_t place; /* of who published it first */
    bool is_keyed;
    bool is_retained;
};

struct peer {
    struct subscriber socket;
    struct worker_model *at;
    struct follower followers[SUBSCRIPTIONS];
    struct crew_message held; /* a publish that was not taken */
};

struct worker_model {
    uint32_t index;
    uint32_t phase;
    struct router router;
    struct pool pool;
    struct wheel wheel;
    struct mailbox box;
    struct carrier *carrier;
    bool is_late; /* its engine answers in later turns */
    uint64_t now_ms;
    struct dice dice;
    struct peer peers[PEERS];
    struct book book;
    uint64_t silent[PEERS]; /* publishes without an id that are not counted as taken yet */
    uint64_t seen;
    uint64_t gaps;
    uint64_t closed;
    uint64_t held;
    uint64_t slept;   /* of those that are there in the end */
    uint64_t starved; /* requests refused for want of memory */
    uint64_t repeats; /* that were answered as such */
    uint64_t news;    /* of members who came and went */
    struct crew_message keyed[KEYED];
    uint32_t keyed_count; /* so far */
    pthread_t thread;
    char payload[MAX_PAYLOAD + 64];
    /* As an owner: the last id of each publisher; a late engine keeps order by name. */
    uint32_t last_from[TRUTH_OWNERS * PEERS * 4][TRUTH_NAMES];
};

/*
 * Between these two the workers' allocations fail by chance; what a test needs for itself does not.
 */
void crew_starve(struct worker_model *at);
void crew_feed(void);

/* How many subscriptions in a row one to a topic is made of. */
uint32_t crew_cursors_of(uint32_t topic);

/*
 * crew_past.c: a subscription to a name, whose owner is `owner`, asks for the past in one of the
 * ways there are; and was told where it begins.
 */
void crew_ask_for_past(struct worker_model *at, struct follower *f, uint32_t owner,
                       struct engine_subscription *what);
void crew_note_retained(uint32_t topic, uint64_t offset);
void crew_forget_epochs(void);
void crew_check_start(struct follower *f, const struct engine_start *start);

/* How a client reads what a subscription brings. */
struct reading crew_reading_of(const struct peer *peer, const struct follower *f);

/* So many members all workers' clients are of a room. */
uint32_t crew_members_of(const struct worker_model *crew, uint32_t topic);

/* A client comes; `peer->at` is set. */
void crew_begin(struct peer *peer, enum ff_encoding encoding);

/* A subscription ends, without an answer. */
void crew_drop(struct peer *peer, struct follower *f);

/* One of a worker's clients does something. */
void crew_act(struct worker_model *at);

/* What the workers' routers and carriers are given. */
extern const struct router_ops crew_router_ops;
extern const struct carrier_events crew_events;

#endif
