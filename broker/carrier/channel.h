/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.h - requests from one worker to another, and the answers to them.
 *
 * Between each two workers there is a channel each way: a ring of requests and
 * a ring of answers, made at first use. Who puts something into a ring tells the
 * other by a mail; who finds it full says so in `requester_waits` or `owner_waits` and is
 * told when there is room. The flag is set before the mail is posted and looked
 * at after it was opened, so nobody waits for what has happened already.
 */
#ifndef CARRIER_CHANNEL_H
#define CARRIER_CHANNEL_H

#include "broker/carrier/carrier.h"
#include "broker/worker/ring.h"

enum {
    CHANNEL_REQUESTS = 256 * 1024, /* octets of requests on their way */
    CHANNEL_ANSWERS = 64 * 1024,   /* and of answers */
    CHANNEL_BLOCKS = 16,           /* so many times the ring of requests may be in blocks */
};

enum request_kind { REQUEST_PUBLISH, REQUEST_LINK, REQUEST_UNLINK, REQUEST_TURN };

struct request {
    uint8_t kind;         /* enum request_kind */
    uint8_t payload_kind; /* enum ff_payload_kind */
    uint8_t topic_len;
    bool is_block;
    bool has_id;
    uint32_t payload_len;
    uint32_t place; /* of the session */
    uint64_t tag;
    union {
        uint64_t id;
        struct waiter *waiter; /* of a link: the requester's, handed back with the answer */
        struct turn *turn;     /* the same of an answer that waits for its turn */
    };
    union {
        struct remote_link *remote;
        char *block; /* the payload, the owner's to free */
    };
    char bytes[]; /* topic, payload */
};

struct answer {
    enum request_kind kind; /* what was asked */
    enum ff_err err;
    union {
        struct {
            struct ticket ticket;
            struct receipt receipt;
            uint32_t count; /* of publishes: carrier.h */
        } publish;
        struct {
            struct remote_link *remote;
            struct waiter *waiter;
            struct cursor start;
        } link;
        struct turn *turn;
    };
};

struct sharded;
struct exchange;
struct turn;
struct waiter;

/* From one worker, the requester, to another, the owner. */
struct channel {
    struct exchange *exchange;
    struct sharded *requester;
    struct router *owner_router;
    struct mailbox *requester_box;
    struct mailbox *owner_box;
    struct ring *requests; /* NULL until they are used first */
    struct ring *answers;
    struct mail requested;        /* in the owner's box: there are requests */
    struct mail answered;         /* in the requester's: there are answers, or there is room */
    _Atomic size_t block_bytes;   /* payloads on their way that are blocks of their own */
    _Atomic bool requester_waits; /* the requester waits for room */
    _Atomic bool owner_waits;     /* the owner waits for room */
    bool was_used;                /* the owner's: it knows the rings */
    bool is_refusing;             /* the requester's: something was not taken */
    struct ff_list leaving;       /* the requester's: remote links whose owner is to be told */
    size_t unnotified_bytes;      /* octets of requests since the owner was told */
};

/* The channels of all workers. */
struct exchange {
    uint32_t count;
    uint32_t requests_size; /* of the rings */
    uint32_t answers_size;
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

/* The requester: the rings are there from here on. False: out of memory. */
FF_MUST_CHECK bool channel_open(struct channel *channel);

/*
 * The requester: room for a request with `extra` octets in the ring and `block` in a
 * block. NULL: it is full; it is told when not. One block has always room.
 */
struct request *channel_reserve(struct channel *channel, size_t extra, size_t block);

/* The requester: what was reserved is written. */
void channel_commit(struct channel *channel, size_t extra, size_t block);

/* The owner: a block was freed. */
void channel_release_block(struct channel *channel, size_t block);

/* The requester: the owner is told of requests, at the latest when the turn ends. */
void channel_notify(struct channel *channel);

#endif
