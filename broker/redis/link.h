/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - one connection to one Redis, in one worker's loop.
 *
 * It connects when it is made, and again whenever it is lost: at once where it had been up for
 * REDIS_STEADY_MS, else after a while that grows from 50 ms to 1 s, by chance (decorrelated
 * jitter: workers that lost the same Redis do not come back together). It is `up` when Redis has
 * let us in, has loaded its data and is a master (greeting.h).
 *
 * Commands are pipelined: what is appended in a turn goes out with one send() by
 * redis_link_flush(), and answers come in the order of the commands. Each command that was taken
 * is answered once: by a reply, or by NULL when the link is lost or freed.
 *
 * A link of the kind SUBSCRIBER is what a client of Redis is that has subscribed: there are no
 * answers, everything that comes is handed on as it comes.
 *
 * Redis is given up when the oldest command waits for REDIS_DEADLINE_MS: it may be stalled, or
 * the network gone without a word. A link with nothing to wait for sends a PING each
 * REDIS_QUIET_MS, so that this is noticed in quiet times, too. (On a SUBSCRIBER link anything that
 * comes counts as an answer.) Time is the loop's, which does not count what the process slept
 * through.
 *
 * Callbacks come from the loop: from the events of its socket, a timer or a mail, never from
 * within redis_link_new, _command, _flush or _drop; from redis_link_free only answers with NULL.
 * In a callback every function of this header may be called, redis_link_free among them.
 *
 * Memory: at most REDIS_OUT_MAX octets and REDIS_UNANSWERED_MAX commands under way, and the
 * reader's (reply.h). An allocation that fails makes redis_link_command answer false, or costs the
 * connection, which is then made again.
 */
#ifndef REDIS_LINK_H
#define REDIS_LINK_H

#include "broker/redis/reply.h"
#include "broker/redis/url.h"

struct mailbox;
struct net;

enum {
    REDIS_OUT_MAX = 4 * 1024 * 1024,
    REDIS_UNANSWERED_MAX = 64 * 1024,
    REDIS_DEADLINE_MS = 2000, /* for an answer */
    REDIS_CONNECT_MS = 1000,  /* for a connection, and again for all of the greeting */
    REDIS_QUIET_MS = 1000,
    REDIS_STEADY_MS = 1000,
    REDIS_LOOK_MS = 250,      /* how often it is looked whether Redis is silent */
    REDIS_RETRY_MS = 50,      /* the first pause, */
    REDIS_RETRY_MAX_MS = 1000 /* and the longest */
};

/*
 * One for each command, in order. `reply` is borrowed until the callback returns; NULL: there will
 * be none. `was_sent` is then whether Redis may have executed the command: all of it was handed to
 * the kernel; else it never will be.
 */
typedef void redis_answer_fn(void *context, const struct redis_reply *reply, bool was_sent);

struct redis_link_events {
    /* Commands are taken from now on; again after each loss. */
    void (*up)(void *arg);
    /* After `up`, once: all that was unanswered has been answered with NULL before. `why` is for a
     * log. */
    void (*down)(void *arg, const char *why);
    /*
     * Of a SUBSCRIBER, while it is up: subscribe, unsubscribe, message, errors, and pong, of its
     * own PING as well: ["pong", ""], or the status PONG where nothing is subscribed. NULL on any
     * other link.
     */
    void (*pushed)(void *arg, const struct redis_reply *reply);
};

struct redis_link_env {
    struct net *net;
    struct mailbox *box;         /* of the same worker: what a host name is comes by mail */
    const struct redis_url *url; /* copied */
    bool is_subscriber;
    uint32_t out_max;                       /* octets not yet sent; 0: REDIS_OUT_MAX */
    uint32_t unanswered_max;                /* commands; 0: REDIS_UNANSWERED_MAX */
    uint64_t seed;                          /* of the jitter */
    const struct redis_link_events *events; /* outlive the link */
    void *arg;
};

struct redis_link;

/* The caller owns it. Begins to connect. NULL: out of memory. */
FF_MUST_CHECK struct redis_link *redis_link_new(const struct redis_link_env *env);

/*
 * Answers all that is unanswered with NULL, calls nothing afterwards, and frees it. NULL is
 * allowed. While a name is being resolved its thread goes on and frees what it has when it ends;
 * the mailbox has to be opened once more if the mail lies in it.
 */
void redis_link_free(struct redis_link *link);

/* From just before `up` is called until the connection is lost: `down` may follow a moment later.
 */
bool redis_link_is_up(const struct redis_link *link);

/*
 * Appends a command (argc > 0; any octets) to what goes out with the next flush; it is copied.
 * False: not up, out of memory, or more than may be under way: nothing was done, and `answer` is
 * not called. `answer` is NULL on a SUBSCRIBER link, and only there.
 */
FF_MUST_CHECK bool redis_link_command(struct redis_link *link, uint32_t argc,
                                      const struct ff_slice *argv, redis_answer_fn *answer,
                                      void *context);

/* Sends what was appended. What the socket does not take follows by itself. */
void redis_link_flush(struct redis_link *link);

/*
 * The caller knows better: it is lost. It is not up any more when this returns; answers with NULL
 * and `down` come from the loop, in its next ticks. Where it is not up nothing is done.
 */
void redis_link_drop(struct redis_link *link, const char *why);

/* Which run of Redis that is: 40 hex digits, as INFO had it when the link last came up; "" before.
 */
const char *redis_link_run_id(const struct redis_link *link);

#endif
