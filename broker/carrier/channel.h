/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.h - requests from one worker to another, and the answers to them.
 *
 * Between each two workers there is a channel each way: a ring of requests and
 * a ring of answers, made at first use. Who puts something into a ring tells the
 * other by a mail. A requester that finds no room is told when there is:
 *
 *   - the ring of requests is full: it says so in `requester_waits`, before the
 *     mail is posted, and the owner looks at that after it was opened, so nobody
 *     waits for what has happened already;
 *   - as much is unanswered as the ring of answers has room for: the next answer
 *     tells. So an owner can answer at any time, whenever its engine does, and
 *     never waits.
 *
 * Content of an answer that is larger than the answer itself crosses as a block.
 */
#ifndef CARRIER_CHANNEL_H
#define CARRIER_CHANNEL_H

#include "broker/carrier/carrier.h"
#include "broker/worker/mailbox.h"
#include "broker/worker/ring.h"

enum {
    CHANNEL_REQUESTS = 256 * 1024, /* octets of requests on their way */
    CHANNEL_ANSWERS = 128 * 1024,  /* and of answers */
    CHANNEL_BLOCKS = 16,           /* so many times the ring of requests may be in blocks */
};

enum request_kind {
    REQUEST_PUBLISH,
    REQUEST_LINK,
    REQUEST_UNLINK,
    REQUEST_LEAVE, /* of a member */
    REQUEST_LIST,  /* of members */
    REQUEST_TURN,
};

struct request {
    uint8_t kind;         /* enum request_kind */
    uint8_t payload_kind; /* enum ff_payload_kind */
    uint8_t topic_len;
    bool is_block;
    bool has_id;
    bool retain;
    uint16_t key_len;
    uint32_t payload_len;
    uint32_t place; /* of the session */
    uint64_t tag;
    union {
        uint64_t id;
        struct turn *turn;          /* the requester's, handed back when its turn has come */
        struct remote_link *remote; /* to be unlinked */
        struct question *question;  /* the requester's, handed back with the answer */
        uint64_t serial;            /* of who leaves */
    };
    union {
        struct waiter *waiter; /* of a link: the requester's, handed back with the answer */
        char *block;           /* the payload, the owner's to free */
    };
    char bytes[]; /* of a publish: topic, key, payload; of a turn or a leave: the name */
};

struct answer {
    enum request_kind kind; /* what was asked */
    uint32_t count;         /* requests that it answers: the last of them, and publishes before */
    union {
        struct {
            struct ticket ticket;
            struct engine_receipt receipt;
            bool is_complete; /* nothing that comes behind it may be counted with it */
        } publish;
        struct {
            struct waiter *waiter;
            struct remote_start at;
            struct engine_start start;
            char *content; /* of it: a block, the requester's to free, or NULL */
        } link;
        struct {
            struct question *question;
            struct engine_roll roll;
            char *items; /* of it: a block, the requester's to free, or NULL */
        } list;
        struct remote_link *remote; /* it is unlinked */
        struct turn *turn;
    };
};

/* From one worker, the requester, to another, the owner. */
struct channel {
    struct exchange *exchange;
    struct carrier *requester;
    struct carrier *owner;
    struct ring *requests; /* NULL until they are used first */
    struct ring *answers;
    struct mail requested;        /* in the owner's box: there are requests */
    struct mail answered;         /* in the requester's: there are answers, or there is room */
    _Atomic size_t block_bytes;   /* payloads on their way that are blocks of their own */
    _Atomic bool requester_waits; /* for room in the ring of requests */

    /* The requester's. */
    uint32_t unanswered;     /* requests, at most exchange->max_unanswered */
    bool is_refusing;        /* something was not taken */
    size_t unnotified_bytes; /* of requests since the owner was told */
    struct ff_list leaving;  /* remote links whose owner is to be told, */
    struct ff_list seats;    /* and members who left */

    /* The owner's. */
    bool was_used;       /* it knows the rings */
    struct answer *open; /* reserved and not committed: publishes may still be counted with it */
};

/* The channels of all workers. */
struct exchange {
    uint32_t count;
    uint32_t requests_size; /* of the rings */
    uint32_t answers_size;
    uint32_t max_unanswered;  /* answers that a ring has room for, wherever they begin in it */
    struct channel *channels; /* count x count, by requester, by owner */
};

/* For `count` workers, with rings of these sizes (see ring.h). NULL: out of memory. */
FF_MUST_CHECK struct exchange *exchange_new(uint32_t count, uint32_t requests, uint32_t answers);

/* Nobody uses it any more. NULL is allowed. */
void exchange_free(struct exchange *exchange);

static inline struct channel *exchange_channel(const struct exchange *exchange, uint32_t requester,
                                               uint32_t owner)
{
    return &exchange->channels[requester * exchange->count + owner];
}

/* A carrier's channel to an owner, as the requester. There are several workers. */
static inline struct channel *channel_to(const struct carrier *carrier, uint32_t owner)
{
    return exchange_channel(carrier->env.exchange, carrier->env.index, owner);
}

/* The requester: the rings are there from here on. False: out of memory. */
FF_MUST_CHECK bool channel_open(struct channel *channel);

/*
 * The requester: room for a request with `extra` octets in the ring and `block` in a
 * block. NULL: it is full; it is told when not. One block has always room.
 */
struct request *channel_reserve(struct channel *channel, size_t extra, size_t block);

/* The requester: is there room for two requests with nothing in the ring? As channel_reserve(). */
bool channel_has_room_for_two(struct channel *channel);

/* The requester: what was reserved is written. */
void channel_commit(struct channel *channel, size_t extra, size_t block);

/* The owner: a block was freed. */
void channel_release_block(struct channel *channel, size_t block);

/* The requester: the owner is told of requests, at the latest when the turn ends. */
void channel_notify(struct channel *channel);

#endif
