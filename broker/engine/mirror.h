/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror.h - the topics that a node follows in Redis, each in a log of its own.
 *
 * A mirror is begun by the first who subscribes to a name or asks for its past, and makes the
 * node's log of it the same as the stream in Redis:
 *
 *   1. its channel is subscribed to; what comes from then on is held back;
 *   2. the stream is read, page by page, from where the log ends, or from its beginning;
 *   3. what was held back follows, by its offset: what is there already is left out.
 *
 * So a join loses and repeats nothing, however much is published meanwhile (S41), and a hundred
 * who join at once cost one reading. The same is done again whenever a message comes that is not
 * the next one, and when the link was lost: readers notice nothing but where messages are gone
 * from the stream, too (a GAP "expired"), or the topic goes on in another epoch (redis.lua): a GAP
 * "rollback" with what they heard that is no part of it, or "lost" where nothing of the epoch
 * before is known.
 *
 * Filters hear what comes by the channels, in the order in which it comes, and nothing from the
 * stream: of a name with a mirror what its channel brings, of others what the channel of all
 * messages does.
 *
 * What is held back has one bound for all mirrors; past it it is read from the stream, later.
 */
#ifndef ENGINE_MIRROR_H
#define ENGINE_MIRROR_H

#include "broker/engine/parcel.h"
#include "broker/redis/reply.h"
#include "broker/topic/router.h"

enum {
    MIRROR_FORKS = 8,                   /* former epochs that are known, as in redis.lua */
    MIRRORS_HELD_MAX = 8 * 1024 * 1024, /* octets held back */
};

enum mirror_state {
    MIRROR_OFF,         /* nothing is under way */
    MIRROR_SUBSCRIBING, /* the channel is asked for */
    MIRROR_LOADING,     /* it is subscribed to, and the stream is read */
    MIRROR_LIVE,        /* the log is what the stream was when it last said something */
    MIRROR_ENDING,      /* the channel is to be left: until it is, filters hear what it brings */
};

struct mirror {
    struct ff_map_node node;
    struct ff_list all;     /* among all of them */
    struct ff_list waiting; /* among those whose channel is to be subscribed to */
    struct ff_list to_look; /* and among those whose stream is to be read */
    uint32_t questions;     /* the engine's: asks that need it live, */
    bool is_answering;      /* they are being answered, */
    bool is_due;            /* and are to be, */
    int8_t due_err;         /* what needs the mirror cannot be done, for this */
    struct ff_list asks;    /* the engine's: what is asked about the name, in order */
    struct ff_list held;    /* what came while the stream was read */
    uint64_t wanted;        /* an offset that Redis is known to have, though the log may not yet */
    uint64_t retained_ms;   /* when what is retained was published: of a topic without history */
    struct mirrors *mirrors;
    struct ff_position at; /* where the log ends; epoch 0: nowhere yet, or no history */
    struct ff_position former[MIRROR_FORKS]; /* epochs before, each with its last offset */
    struct ff_position left; /* where a topic stood that has lost its history since */
    uint32_t former_count;
    uint8_t state;    /* enum mirror_state */
    bool is_looking;  /* an answer of Redis is awaited */
    bool looks_again; /* and is not the last one that is needed */
    bool was_live;
    bool has_overrun; /* what came could not be held */
    bool has_lost;    /* the link was lost since it was live */
    uint8_t idle_sweeps;
    uint8_t waited_sweeps;
    uint16_t sweeps; /* since it was live */
    uint8_t name_len;
    char name[];
};

struct mirrors_ops {
    /* Appends a command to subscribe to these channels, or to leave one. False: not now. */
    bool (*subscribe)(void *arg, const struct ff_slice *names, uint32_t count);
    bool (*unsubscribe)(void *arg, const struct mirror *mirror);
    /* Reads the stream behind a position: mirror_looked() follows, once. False: not now. */
    bool (*look)(void *arg, struct mirror *mirror, struct ff_position after);
    /* It is live, or it cannot be (err): what waits for that can be answered. */
    void (*settled)(void *arg, struct mirror *mirror, enum ff_err err);
};

struct mirrors {
    struct router *router;
    struct ff_map map;
    struct ff_list all;
    struct ff_list waiting;
    struct ff_list to_look;
    uint32_t looking; /* answers that are awaited */
    size_t held_bytes;
    uint64_t node; /* this node's life, as parcels have it */
    bool can_subscribe;
    bool can_look;
    bool is_patient; /* who asks waits for the links, which have not been away for long */
    const struct mirrors_ops *ops;
    void *arg;
};

/* FF_OK, FF_ENOMEM. */
FF_MUST_CHECK enum ff_err mirrors_init(struct mirrors *mirrors, struct router *router,
                                       uint64_t node, const struct mirrors_ops *ops, void *arg);

/* No mirror has asks any more. */
void mirrors_deinit(struct mirrors *mirrors);

static inline struct ff_slice mirror_name(const struct mirror *mirror)
{
    return (struct ff_slice){mirror->name, mirror->name_len};
}

/* NULL: there is none. */
struct mirror *mirrors_find(const struct mirrors *mirrors, struct ff_slice name);

/* Finds or makes it; NULL: out of memory. */
struct mirror *mirrors_get(struct mirrors *mirrors, struct ff_slice name);

/* Somebody needs it live: it is begun, if it is off and the links are there. */
void mirror_want(struct mirror *mirror);

/* Is the log what Redis is known to have? */
static inline bool mirror_is_live(const struct mirror *mirror)
{
    return mirror->state == MIRROR_LIVE && mirror->at.offset >= mirror->wanted;
}

/*
 * Somebody was told of this position, perhaps by another node, and asks: whoever is answered next
 * has it, too. What Redis publishes may come later than its answers, and at each node later.
 */
void mirror_note(struct mirror *mirror, struct ff_position position);

/* The end of a turn: channels that are waited for are asked for, in few commands. */
void mirrors_flush(struct mirrors *mirrors);

/* The subscribing link is up, or lost: then nothing comes from the channels any more. */
void mirrors_can_subscribe(struct mirrors *mirrors, bool can);

/* The link for commands is up and fenced, or lost. */
void mirrors_can_look(struct mirrors *mirrors, bool can);

/* The links are away for too long: who waits for them is told so, and who comes is. */
void mirrors_lose_patience(struct mirrors *mirrors);

/* Redis says that the channel of a name is subscribed to. */
void mirrors_confirmed(struct mirrors *mirrors, struct ff_slice name);

/* And that it was left. */
void mirrors_left(struct mirrors *mirrors, struct ff_slice name);

/* What look() was answered, no error; NULL: nothing. */
void mirror_looked(struct mirror *mirror, const struct redis_reply *reply);

/* A message came by its topic's channel. */
void mirrors_deliver(struct mirrors *mirrors, struct ff_slice name, struct ff_slice text);

/* A message came by the channel of all messages; `owners` workers share the names out. */
void mirrors_deliver_to_filters(struct mirrors *mirrors, struct ff_slice text, uint32_t index,
                                uint32_t owners);

/* Once a second: those that nobody needs for long end. */
void mirrors_sweep(struct mirrors *mirrors);

/* The highest offset that any of them has told. */
uint64_t mirrors_top(const struct mirrors *mirrors);

/* The last offset of a former epoch, as Redis knows it. False: it does not know the epoch. */
bool mirror_find_former(const struct mirror *mirror, uint64_t epoch, uint64_t *last);

/* Where somebody's position is now: the same in an epoch that its own one went over into. */
struct ff_position mirror_translate(const struct mirror *mirror, struct ff_position position);

#endif
