/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/late_engine.h"

#include <stdlib.h>
#include <string.h>

#include "broker/engine/dedup.h"
#include "broker/engine/presence.h"
#include "broker/topic/bulletin.h"
#include "protocol/base/list.h"

uint32_t late_engine_content;

enum { REFUSED = 40 /* one of so many */, LOOKED_AT = 50 };

enum kind { PUBLISH, SUBSCRIBE, LIST, PASS };

struct job {
    struct ff_list node;
    enum kind kind;
    struct ff_slice name; /* or filter */
    struct publication p;
    struct ticket ticket;
    struct engine_subscription what;
    struct engine_listing listing;
    struct engine_caller caller;
    char bytes[];
};

struct late_engine {
    struct engine engine;
    struct router *router;
    struct dedup *dedup;
    struct presence *presence;
    struct ff_list jobs;
    bool is_stopped;
};

static struct late_engine *late_of(struct engine *engine)
{
    return FF_CONTAINER(engine, struct late_engine, engine);
}

/* What the tests starve the broker of it has. */
static struct job *add(struct engine *engine, enum kind kind, size_t size)
{
    struct job *job = calloc(1, sizeof(*job) + size);

    FF_CHECK(job);
    job->kind = kind;
    ff_list_init(&job->node);
    ff_list_append(&late_of(engine)->jobs, &job->node);
    return job;
}

static struct ff_slice copy(char *to, struct ff_slice from)
{
    if (from.len)
        memcpy(to, from.at, from.len);
    return (struct ff_slice){to, from.len};
}

static void publish(struct late_engine *late, struct job *job, enum ff_err err)
{
    struct engine_receipt receipt = {.err = err};

    if (!err && !dedup_answers(late->dedup, &job->p, &receipt)) {
        receipt.err = router_publish(late->router, &job->p, &receipt.receipt);
        dedup_note(late->dedup, &job->p, &receipt);
    }
    late->engine.events->published(late->engine.arg, job->ticket, &receipt);
}

/* Where it begins is judged when it is answered, in the order of what was asked about the name. */
static void start(struct late_engine *late, struct job *job, enum ff_err err)
{
    size_t len = job->what.name.len;
    struct engine_start start = {
        .err = err, .has_recovery = job->what.has_since && job->what.since.is_position};

    if (!err && job->what.joins)
        err = start.err = presence_join(late->presence, job->what.name, &job->what.member);
    if (!err && !job->what.is_filter && !bulletin_is(job->what.name))
        err = start.err =
            history_find_start(late->router, job->name, job->what.kind,
                               job->what.has_since ? &job->what.since : NULL, &start.from);
    if (!err && bulletin_is(job->what.name)) {
        presence_start(late->presence, &job->what, &start);
    } else if (!err && !job->what.is_filter && late_engine_content) {
        for (uint32_t i = 1; i < late_engine_content; i++)
            memcpy(job->bytes + i * len, job->bytes, len);
        start.content = (struct ff_slice){job->bytes, len * late_engine_content};
    }
    late->engine.events->started(late->engine.arg, job->caller, &start);
}

static void list(struct late_engine *late, struct job *job, enum ff_err err)
{
    struct engine_roll roll = {.err = err};

    if (!err)
        presence_list(late->presence, job->name, 0, job->listing, &roll);
    late->engine.events->listed(late->engine.arg, job->caller, &roll);
}

static struct job *job_of(struct ff_list *node)
{
    return FF_CONTAINER(node, struct job, node);
}

static void answer(struct late_engine *late, struct job *job, enum ff_err err)
{
    switch (job->kind) {
    case PUBLISH:
        publish(late, job, err);
        break;
    case SUBSCRIBE:
        start(late, job, err);
        break;
    case LIST:
        list(late, job, err);
        break;
    case PASS:
        late->engine.events->passed(late->engine.arg, job->caller);
        break;
    }
    free(job);
}

static void refuse_all(struct late_engine *late)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&late->jobs)))
        answer(late, job_of(node), FF_EAWAY);
}

static void refuse_if_stopped(struct engine *engine)
{
    if (late_of(engine)->is_stopped)
        refuse_all(late_of(engine));
}

static void late_publish(struct engine *engine, const struct publication *p, struct ticket ticket)
{
    struct job *job = add(engine, PUBLISH, p->topic.len + p->key.len + p->payload.bytes.len);

    job->p = *p;
    job->name = job->p.topic = copy(job->bytes, p->topic);
    job->p.key = copy(job->bytes + p->topic.len, p->key);
    job->p.payload.bytes = copy(job->bytes + p->topic.len + p->key.len, p->payload.bytes);
    job->ticket = ticket;
    refuse_if_stopped(engine);
}

static void late_subscribe(struct engine *engine, const struct engine_subscription *what,
                           struct engine_caller caller)
{
    size_t names = what->name.len * (size_t)(late_engine_content + 1);
    struct job *job = add(engine, SUBSCRIBE, names + what->member.user.len);

    job->what = *what;
    job->name = job->what.name = copy(job->bytes, what->name);
    job->what.member.user = copy(job->bytes + names, what->member.user);
    if (bulletin_is(job->name)) /* what is asked about it keeps the order of its topic's */
        job->name = bulletin_topic(job->name);
    job->caller = caller;
    refuse_if_stopped(engine);
}

/* Whoever leaves has been answered. */
static void late_leave(struct engine *engine, struct ff_slice name, uint64_t serial)
{
    (void)name;
    presence_leave(late_of(engine)->presence, serial);
}

static void late_list(struct engine *engine, struct ff_slice name, struct engine_listing listing,
                      struct engine_caller caller)
{
    struct job *job = add(engine, LIST, name.len);

    job->name = copy(job->bytes, name);
    job->listing = listing;
    job->caller = caller;
    refuse_if_stopped(engine);
}

static void late_pass(struct engine *engine, struct ff_slice name, struct engine_caller caller)
{
    struct job *job = add(engine, PASS, name.len);

    job->name = copy(job->bytes, name);
    job->caller = caller;
    refuse_if_stopped(engine);
}

/* Any of the oldest, or rather the first about the same name. NULL: there is none. */
static struct job *take(struct late_engine *late, struct dice *dice)
{
    uint32_t passed = dice ? dice_below(dice, LOOKED_AT) : 0;
    struct ff_list *node = late->jobs.next;
    struct ff_list *first = late->jobs.next;

    if (ff_list_is_empty(&late->jobs))
        return NULL;
    while (passed-- > 0 && node->next != &late->jobs)
        node = node->next;
    while (!ff_slice_is_equal(job_of(first)->name, job_of(node)->name))
        first = first->next;
    ff_list_remove(first);
    return job_of(first);
}

void late_engine_work(struct engine *engine, uint32_t most, struct dice *dice)
{
    struct late_engine *late = late_of(engine);
    struct job *job;

    while (most-- > 0 && (job = take(late, dice)))
        answer(late, job, dice && dice_below(dice, REFUSED) == 0 ? FF_EAWAY : FF_OK);
}

static struct engine_figures late_figures(const struct engine *engine)
{
    const struct late_engine *late = FF_CONTAINER_CONST(engine, struct late_engine, engine);

    return (struct engine_figures){.keys = dedup_count(late->dedup),
                                   .keys_forgotten = dedup_forgotten(late->dedup),
                                   .members = presence_count(late->presence)};
}

static void late_stop(struct engine *engine)
{
    late_of(engine)->is_stopped = true;
    refuse_all(late_of(engine));
}

static void late_free(struct engine *engine)
{
    FF_CHECK(ff_list_is_empty(&late_of(engine)->jobs));
    dedup_free(late_of(engine)->dedup);
    presence_free(late_of(engine)->presence);
    free(late_of(engine));
}

struct engine *late_engine_new(struct router *router)
{
    static const struct engine_ops ops = {.publish = late_publish,
                                          .subscribe = late_subscribe,
                                          .leave = late_leave,
                                          .list = late_list,
                                          .pass = late_pass,
                                          .figures = late_figures,
                                          .stop = late_stop,
                                          .free = late_free};
    struct late_engine *late = calloc(1, sizeof(*late));

    FF_CHECK(late);
    late->engine.ops = &ops;
    late->router = router;
    late->dedup = dedup_new(router);
    late->presence = presence_new(router);
    FF_CHECK(late->dedup && late->presence);
    ff_list_init(&late->jobs);
    return &late->engine;
}
