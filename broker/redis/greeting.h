/* SPDX-License-Identifier: Apache-2.0 */
/*
 * greeting.h - what is said first on a connection to Redis, and what has to be answered.
 *
 *   AUTH [user] password   where the URL has a password
 *   CLIENT SETNAME         so that CLIENT LIST names us; Redis may refuse it
 *   SELECT db              where it is not 0
 *   INFO server            for the run id: after a failover or a restart it is another one
 *   ROLE                   has to be "master": a replica would refuse what is written
 *   PING                   refused while Redis loads its data, which INFO and ROLE are not
 *
 * All of it goes out in one write. No sockets: octets out, replies in.
 */
#ifndef REDIS_GREETING_H
#define REDIS_GREETING_H

#include "broker/redis/reply.h"
#include "broker/redis/url.h"

enum { REDIS_RUN_ID = 40, REDIS_STEPS_MAX = 6 };

enum redis_step {
    REDIS_STEP_AUTH,
    REDIS_STEP_NAME,
    REDIS_STEP_SELECT,
    REDIS_STEP_INFO,
    REDIS_STEP_ROLE,
    REDIS_STEP_PING,
};

enum redis_welcome {
    REDIS_WELCOME_MORE, /* there are replies to come */
    REDIS_WELCOME_DONE,
    REDIS_WELCOME_NOT, /* `why` says it, with Redis' own first word; the connection is of no use */
};

struct redis_greeting {
    enum redis_step steps[REDIS_STEPS_MAX]; /* as they went out */
    uint32_t count;
    uint32_t next; /* whose reply is to come */
    char run_id[REDIS_RUN_ID + 1];
    char why[REDIS_WHY_MAX];
};

/* Begins anew: appends it to `out`. FF_OK; FF_ENOMEM, FF_ELIMIT: perhaps a part of it. */
FF_MUST_CHECK enum ff_err redis_greeting_write(struct redis_greeting *greeting,
                                               const struct redis_url *url, struct ff_buf *out);

/* The next reply. */
FF_MUST_CHECK enum redis_welcome redis_greeting_take(struct redis_greeting *greeting,
                                                     const struct redis_reply *reply);

#endif
