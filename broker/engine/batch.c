/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/batch.h"

#include "broker/engine/parcel.h"
#include "protocol/base/mem.h"

enum {
    TEXTS_MAX = 64 * 1024 * 1024,
};

/* On its way: who is answered with the request. */
struct sent {
    struct batch *batch;
    uint32_t count;
    struct ask *asks[];
};

static struct errand *errand_of(struct ask *ask)
{
    return FF_CONTAINER(ask, struct errand, ask);
}

/* Is it one that Redis is asked about? */
static bool is_asked(struct ask *ask)
{
    return ask->kind == ASK_PUBLISH && !errand_of(ask)->receipt.err;
}

void batch_init(struct batch *batch, const struct batch_env *env)
{
    *batch = (struct batch){.env = *env};
    ff_buf_init(&batch->texts, TEXTS_MAX);
}

static void clear(struct batch *batch)
{
    batch->count = batch->argument_count = 0;
    batch->texts.len = 0;
}

/* All that are in it are answered; what was to be published with this error. */
static void finish(struct batch *batch, enum ff_err err)
{
    uint32_t count = batch->count;
    struct ask *asks[BATCH_PUBLISHES];

    for (uint32_t i = 0; i < count; i++)
        asks[i] = batch->asks[i];
    clear(batch);
    for (uint32_t i = 0; i < count; i++) {
        if (is_asked(asks[i]))
            errand_of(asks[i])->receipt.err = err;
        batch->env.done(batch->env.arg, asks[i]);
    }
}

void batch_deinit(struct batch *batch)
{
    FF_CHECK(!batch->count);
    ff_buf_deinit(&batch->texts);
}

struct errand *errand_new(const struct publication *p, struct ticket ticket)
{
    struct errand *errand = ff_mem_zalloc(sizeof(*errand) + p->topic.len);

    if (!errand)
        return NULL;
    errand->ticket = ticket;
    errand->name_len = (uint8_t)p->topic.len;
    memcpy(errand->name, p->topic.at, p->topic.len);
    errand->ask.kind = ASK_PUBLISH;
    return errand;
}

void errand_free(struct errand *errand)
{
    if (errand)
        ff_mem_free(errand->held);
    ff_mem_free(errand);
}

static struct ff_slice copy(char **to, struct ff_slice from)
{
    struct ff_slice copied = {*to, from.len};

    if (from.len)
        memcpy(*to, from.at, from.len);
    *to += from.len;
    return copied;
}

enum ff_err errand_hold(struct errand *errand, const struct publication *p)
{
    struct publication *held = ff_mem_alloc(sizeof(*held) + p->key.len + p->payload.bytes.len);
    char *room = held ? (char *)(held + 1) : NULL;

    if (!held)
        return FF_ENOMEM;
    *held = *p;
    held->topic = (struct ff_slice){errand->name, errand->name_len};
    held->key = copy(&room, p->key);
    held->payload.bytes = copy(&room, p->payload.bytes);
    errand->held = held;
    return FF_OK;
}

bool batch_follow(struct batch *batch, struct ask *ask)
{
    if (batch->count == BATCH_PUBLISHES)
        return false;
    batch->asks[batch->count++] = ask;
    return true;
}

static enum ff_err end_argument(struct batch *batch)
{
    batch->ends[batch->argument_count++] = batch->texts.len;
    return FF_OK;
}

static enum ff_err add_text(struct batch *batch, struct ff_slice text)
{
    enum ff_err err = ff_buf_append(&batch->texts, text.at, text.len);

    return err ? err : end_argument(batch);
}

static enum ff_err add_number(struct batch *batch, uint32_t number)
{
    enum ff_err err = ff_buf_printf(&batch->texts, "%u", number);

    return err ? err : end_argument(batch);
}

static enum ff_err add_parcel(struct batch *batch, const struct publication *p)
{
    enum ff_err err = parcel_write(&batch->texts, p, batch->env.node);

    return err ? err : end_argument(batch);
}

/* In the order in which redis.lua, publish_one(), takes them. */
static enum ff_err add_arguments(struct batch *batch, const struct publication *p,
                                 const struct batch_terms *terms)
{
    const uint32_t numbers[] = {PARCEL_SAID, terms->window.messages, terms->window.octets,
                                terms->window.seconds, batch_position_seconds(&terms->window)};
    enum ff_err err = add_text(batch, p->topic);

    if (!err)
        err = add_parcel(batch, p);
    for (uint32_t i = 0; i < sizeof(numbers) / sizeof(*numbers) && !err; i++)
        err = add_number(batch, numbers[i]);
    if (!err)
        err = add_text(batch, p->key);
    if (!err)
        err = add_number(batch, terms->dedup_seconds);
    if (err)
        return err;
    if (!p->retain)
        return add_text(batch, (struct ff_slice){NULL, 0});
    return publication_is_null(p) ? add_text(batch, FF_SLICE("-"))
                                  : add_number(batch, terms->max_retained);
}

enum ff_err batch_add(struct batch *batch, struct errand *errand, const struct publication *p,
                      const struct batch_terms *terms)
{
    uint32_t arguments = batch->argument_count;
    size_t len = batch->texts.len;
    enum ff_err err;

    FF_CHECK(batch->count < BATCH_PUBLISHES);
    err = add_arguments(batch, p, terms);
    if (err) {
        batch->argument_count = arguments;
        batch->texts.len = len;
        return FF_ENOMEM;
    }
    batch->asks[batch->count++] = &errand->ask;
    return FF_OK;
}

/* "EPOCH:OFFSET", with = before it if the key was known; OTHER; LIMIT; - and an error. */
static void read_answer(const struct batch *batch, struct ff_slice text,
                        struct engine_receipt *receipt)
{
    bool is_known = text.len && text.at[0] == '=';

    receipt->err = FF_EAWAY;
    if (ff_slice_is_equal(text, FF_SLICE("OTHER")))
        receipt->err = FF_EOTHER;
    if (ff_slice_is_equal(text, FF_SLICE("LIMIT")))
        receipt->err = FF_ELIMIT;
    if (text.len && text.at[0] == '-')
        batch->env.refused(batch->env.arg, (struct ff_slice){text.at + 1, text.len - 1});
    text.at += is_known;
    text.len -= is_known;
    if (parcel_take_number(&text, ':', &receipt->receipt.position.epoch) &&
        parcel_take_number(&text, '\0', &receipt->receipt.position.offset)) {
        receipt->err = FF_OK;
        receipt->is_duplicate = is_known;
    }
}

static void on_answer(void *context, const struct redis_reply *reply, bool was_sent)
{
    struct sent *sent = context;
    struct batch *batch = sent->batch;
    bool is_list = reply && redis_is(reply, 0, REDIS_ARRAY);
    uint32_t answered = 0;

    batch->outstanding--;
    if (reply && redis_is(reply, 0, REDIS_ERROR))
        batch->env.refused(batch->env.arg, redis_text(reply, 0));
    for (uint32_t i = 0; i < sent->count; i++) {
        struct ask *ask = sent->asks[i];

        if (is_asked(ask)) {
            errand_of(ask)->receipt.err = !reply && was_sent ? FF_ETIMEDOUT : FF_EAWAY;
            if (is_list)
                read_answer(batch, redis_text(reply, ++answered), &errand_of(ask)->receipt);
        }
        batch->env.done(batch->env.arg, ask);
    }
    ff_mem_free(sent);
}

/* False: it cannot go. */
static bool call_redis(const struct batch *batch, struct shard *shard,
                       const struct shard_call *call, struct sent *sent)
{
    struct ff_slice words[SHARD_WORDS + BATCH_PUBLISHES * BATCH_ARGUMENTS];
    size_t from = 0;

    memcpy(words, call->words, sizeof(call->words));
    for (uint32_t i = 0; i < batch->argument_count; i++) {
        words[SHARD_WORDS + i] = (struct ff_slice){batch->texts.data + from, batch->ends[i] - from};
        from = batch->ends[i];
    }
    return shard_call(shard, words, SHARD_WORDS + batch->argument_count, on_answer, sent);
}

void batch_refuse(struct batch *batch)
{
    finish(batch, FF_EAWAY);
}

void batch_send(struct batch *batch, struct shard *shard, const struct shard_call *call)
{
    size_t size = batch->count * sizeof(struct ask *);
    struct sent *sent = NULL;

    if (!batch->argument_count && !batch->outstanding) {
        finish(batch, FF_OK); /* nothing in it is for Redis, and nothing is to be waited for */
        return;
    }
    sent = ff_mem_alloc(sizeof(*sent) + size);
    if (sent) {
        *sent = (struct sent){.batch = batch, .count = batch->count};
        memcpy(sent->asks, batch->asks, size);
    }
    if (sent && call_redis(batch, shard, call, sent)) {
        batch->outstanding++;
        clear(batch);
        return;
    }
    ff_mem_free(sent);
    finish(batch, FF_EAWAY);
}
