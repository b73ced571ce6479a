/* SPDX-License-Identifier: Apache-2.0 */
/*
 * asks.h - what is asked of the Redis engine, and its answers in their order.
 *
 * Asks about one name are answered in the order in which they were made: they stand in the list of
 * its mirror, where there is one, and whatever is done goes when all before it is. A publish is not
 * sent before questions about its name that came before are answered, so that who subscribes and
 * then publishes hears himself. About a name without a mirror only publishes can be under way,
 * which Redis answers in their order; what comes behind them follows in their batch. Asks about
 * filters stand in one list for all of them.
 */
#ifndef ENGINE_ASKS_H
#define ENGINE_ASKS_H

#include "broker/engine/batch.h"
#include "broker/engine/mirror.h"
#include "broker/engine/redis.h"

struct redis_engine {
    struct engine engine;
    struct redis_engine_env env;
    struct shard shard;
    struct mirrors mirrors;
    struct batch batch;
    struct wheel_timer second;
    struct ff_list filter_asks;
    enum { FILTERS_OFF, FILTERS_ASKED, FILTERS_ON } filters;
    bool has_lost_filters; /* the link was lost since they were on */
    size_t held_bytes;     /* of publishes that wait for a question about their name */
    uint64_t away_since;   /* ms of the router's clock; 0: both links are there */
    bool had_links;        /* a second ago, and since */
    bool is_stopped;
};

/* Any ask but a publish. */
struct question {
    struct ask ask;
    struct redis_engine *engine;
    struct engine_caller caller;
    struct engine_subscription what;
    struct engine_listing listing;
    char name[];
};

/* NULL: out of memory. The name is copied. */
struct question *asks_make(struct redis_engine *redis, int kind, struct ff_slice name,
                           struct engine_caller caller);

/* It is answered in this step, whatever is under way. */
void asks_answer(struct question *question, enum ff_err err);

/* A name's first question is not answered before publishes to it that are on their way. */
void asks_add_barrier(struct redis_engine *redis, struct mirror *mirror);

/*
 * A publish is on its way from here on; what cannot be is answered behind those that are. False: it
 * cannot even stand behind them: it is done, out of order, since memory is short or Redis away.
 */
FF_MUST_CHECK bool asks_dispatch(struct redis_engine *redis, struct errand *errand,
                                 const struct publication *p);

/* For batch.h: it is done, and answered when its turn has come. */
void asks_done(void *arg, struct ask *ask);

/* For mirror.h, and whenever something was asked: what can be answered is; `err`: what needs the
 * mirror cannot be done. */
void asks_answer_due(void *arg, struct mirror *mirror, enum ff_err err);

/* All about filters. */
void asks_answer_filters(struct redis_engine *redis, enum ff_err err);

/* What was gathered goes to Redis, if it is there; */
void asks_send(struct redis_engine *redis);

/* at the end of a turn not before those who asked for filters are answered. */
void asks_flush(struct redis_engine *redis);

#endif
