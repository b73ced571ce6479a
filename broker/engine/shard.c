/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/shard.h"

#include <stdio.h>

#include "broker/engine/advice.h"
#include "broker/net/logger.h"
#include "protocol/base/mem.h"

extern const char redis_script[];
extern const unsigned long redis_script_len;

enum {
    WORD_EVALSHA,
    WORD_SHA,
    WORD_KEYS,
    WORD_WHAT,
    WORD_KEY_PREFIX,
    WORD_CHANNEL_PREFIX,
    WORD_GENERATION,
    WORD_FRESH
};

static const char *const kinds[CHANNEL_KINDS] = {
    [CHANNEL_TOPIC] = "c:", [CHANNEL_ALL] = "f:*", [CHANNEL_PROBE] = "p:"};

struct ff_slice shard_number(char out[SHARD_NUMBER], uint64_t number)
{
    return (struct ff_slice){
        out, (size_t)snprintf(out, SHARD_NUMBER, "%llu", (unsigned long long)number)};
}

/* Calls. */

void shard_begin_call(struct shard *shard, struct shard_call *call, const char *what)
{
    struct ff_slice *words = call->words;

    words[WORD_EVALSHA] = FF_SLICE("EVALSHA");
    words[WORD_SHA] = (struct ff_slice){shard->sha, SHARD_SHA};
    words[WORD_KEYS] = FF_SLICE("0");
    words[WORD_WHAT] = ff_slice_of(what);
    words[WORD_KEY_PREFIX] = ff_slice_of(shard->keys);
    words[WORD_CHANNEL_PREFIX] = ff_slice_of(shard->names);
    words[WORD_GENERATION] = ff_slice_of(shard->generation);
    words[WORD_FRESH] = shard_number(call->fresh, shard->env.random(shard->env.arg));
}

bool shard_call(struct shard *shard, const struct ff_slice *words, uint32_t count,
                redis_answer_fn *answer, void *context)
{
    return shard->is_ready && redis_link_command(shard->commands, count, words, answer, context);
}

void shard_distrust(struct shard *shard, const char *why)
{
    if (shard->commands)
        redis_link_drop(shard->commands, why);
}

static bool cut_prefix(struct ff_slice *name, const char *prefix, size_t len)
{
    if (name->len < len || memcmp(name->at, prefix, len) != 0)
        return false;
    *name = (struct ff_slice){name->at + len, name->len - len};
    return true;
}

bool shard_judge(struct shard *shard, struct ff_slice error)
{
    static const char *const of_the_connection[] = {"NOSCRIPT", "REFENCE", "READONLY"};

    LOG_EVENT(LOG_WARN, "redis_refused", LOG_SLICE("why", error));
    for (size_t i = 0; i < sizeof(of_the_connection) / sizeof(*of_the_connection); i++) {
        if (!cut_prefix(&error, of_the_connection[i], strlen(of_the_connection[i])))
            continue;
        shard_distrust(shard, of_the_connection[i]);
        return true;
    }
    return false;
}

/* Channels. */

static struct ff_slice channel_of(const struct shard *shard, enum channel channel,
                                  struct ff_slice name, char room[SHARD_CHANNEL_MAX])
{
    size_t prefix = shard->names_len;
    size_t kind = strlen(kinds[channel]);

    memcpy(room, shard->names, prefix);
    memcpy(room + prefix, kinds[channel], kind);
    if (name.len)
        memcpy(room + prefix + kind, name.at, name.len);
    return (struct ff_slice){room, prefix + kind + name.len};
}

/* In the room for so many words, and for so many names. */
static bool join(struct shard *shard, enum channel channel, const struct ff_slice *names,
                 uint32_t count, struct ff_slice *words, char *room)
{
    words[0] = FF_SLICE("SUBSCRIBE");
    for (uint32_t i = 0; i < count; i++, room += SHARD_CHANNEL_MAX)
        words[i + 1] = channel_of(shard, channel, names[i], room);
    return redis_link_command(shard->channels, count + 1, words, NULL, NULL);
}

bool shard_join(struct shard *shard, enum channel channel, const struct ff_slice *names,
                uint32_t count)
{
    struct ff_slice *words = ff_mem_alloc((count + 1) * sizeof(*words));
    char *rooms = words ? ff_mem_alloc((size_t)count * SHARD_CHANNEL_MAX) : NULL;
    bool is_taken = rooms && shard->channels && join(shard, channel, names, count, words, rooms);

    ff_mem_free(words);
    ff_mem_free(rooms);
    return is_taken;
}

bool shard_leave(struct shard *shard, enum channel channel, struct ff_slice name)
{
    char room[SHARD_CHANNEL_MAX];
    struct ff_slice words[] = {FF_SLICE("UNSUBSCRIBE"), channel_of(shard, channel, name, room)};

    return shard->channels && redis_link_command(shard->channels, 2, words, NULL, NULL);
}

/* The link for requests. */

static bool refuses(const struct redis_reply *reply, const char *what)
{
    if (reply && redis_is(reply, 0, REDIS_ERROR))
        LOG_EVENT(LOG_WARN, "redis_refused", LOG_TEXT("what", what),
                  LOG_SLICE("why", redis_text(reply, 0)));
    return !reply || redis_is(reply, 0, REDIS_ERROR);
}

static void on_fenced(void *context, const struct redis_reply *reply, bool was_sent)
{
    struct shard *shard = context;
    struct ff_slice text = reply ? redis_text(reply, 0) : (struct ff_slice){NULL, 0};

    (void)was_sent;
    if (refuses(reply, "fence") || !text.len || text.len >= SHARD_GENERATION) {
        shard_distrust(shard, "it does not say which generation it is in");
        return;
    }
    memcpy(shard->generation, text.at, text.len);
    shard->generation[text.len] = '\0';
    shard->is_ready = true;
    shard->env.events->ready(shard->env.arg, true);
}

/* Which generation Redis is in; a new one, where it is another Redis than before. */
static void fence(struct shard *shard)
{
    struct ff_slice words[SHARD_WORDS + 3];
    struct shard_call call;
    char top[SHARD_NUMBER];

    shard_begin_call(shard, &call, "fence");
    memcpy(words, call.words, sizeof(call.words));
    words[WORD_GENERATION] = FF_SLICE("");
    words[SHARD_WORDS] = ff_slice_of(redis_link_run_id(shard->commands));
    words[SHARD_WORDS + 1] = ff_slice_of(shard->generation);
    words[SHARD_WORDS + 2] = shard_number(top, shard->env.events->top(shard->env.arg));
    if (!redis_link_command(shard->commands, SHARD_WORDS + 3, words, on_fenced, shard))
        shard_distrust(shard, "out of memory");
    redis_link_flush(shard->commands);
}

static void on_script(void *context, const struct redis_reply *reply, bool was_sent)
{
    struct shard *shard = context;
    struct ff_slice sha = reply ? redis_text(reply, 0) : (struct ff_slice){NULL, 0};

    (void)was_sent;
    if (refuses(reply, "SCRIPT LOAD") || sha.len != SHARD_SHA) {
        shard_distrust(shard, "it does not take the script");
        return;
    }
    memcpy(shard->sha, sha.at, SHARD_SHA);
    fence(shard);
}

static void load_script(struct shard *shard)
{
    struct ff_slice words[] = {
        FF_SLICE("SCRIPT"), FF_SLICE("LOAD"), {redis_script, redis_script_len}};

    if (!redis_link_command(shard->commands, 3, words, on_script, shard))
        shard_distrust(shard, "out of memory");
    if (shard->env.advises && redis_link_is_up(shard->commands))
        advice_ask(shard->commands);
    redis_link_flush(shard->commands);
}

/* Both links of a node speak with one Redis, or none of them is good for anything. */
static void compare_links(struct shard *shard)
{
    if (!redis_link_is_up(shard->commands) || !redis_link_is_up(shard->channels) ||
        strcmp(redis_link_run_id(shard->commands), redis_link_run_id(shard->channels)) == 0)
        return;
    redis_link_drop(shard->commands, "the other link is to another Redis");
    redis_link_drop(shard->channels, "the other link is to another Redis");
}

static void on_commands_up(void *arg)
{
    struct shard *shard = arg;

    compare_links(shard);
    load_script(shard);
}

static void on_commands_down(void *arg, const char *why)
{
    struct shard *shard = arg;
    bool was_ready = shard->is_ready;

    (void)why; /* the link has logged it */
    shard->is_ready = false;
    if (was_ready)
        shard->env.events->ready(shard->env.arg, false);
}

/* The link that subscribes. */

static void on_channels_up(void *arg)
{
    struct shard *shard = arg;

    shard->probes = 0;
    compare_links(shard);
    if (shard_join(shard, CHANNEL_PROBE, &(struct ff_slice){shard->probe, strlen(shard->probe)}, 1))
        shard->env.events->open(shard->env.arg, true);
    else
        redis_link_drop(shard->channels, "out of memory");
    redis_link_flush(shard->channels);
}

static void on_channels_down(void *arg, const char *why)
{
    struct shard *shard = arg;

    (void)why;
    shard->env.events->open(shard->env.arg, false);
}

/* Cuts the prefix and the kind off a channel's name. False: it is none of ours. */
static bool read_channel(const struct shard *shard, struct ff_slice *name, enum channel *channel)
{
    if (!cut_prefix(name, shard->names, shard->names_len))
        return false;
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        *channel = (enum channel)i;
        if (cut_prefix(name, kinds[i], strlen(kinds[i])))
            return true;
    }
    return false;
}

static void on_pushed(void *arg, const struct redis_reply *reply)
{
    struct shard *shard = arg;
    struct ff_slice what = redis_text(reply, 1);
    struct ff_slice name = redis_text(reply, 2);
    bool is_message = ff_slice_is_equal(what, FF_SLICE("message"));
    bool has_left = ff_slice_is_equal(what, FF_SLICE("unsubscribe"));
    enum channel channel;

    if (refuses(reply, "SUBSCRIBE")) { /* whatever it was about is not told: begin anew */
        redis_link_drop(shard->channels, "it refuses to subscribe");
        return;
    }
    if ((!is_message && !has_left && !ff_slice_is_equal(what, FF_SLICE("subscribe"))) ||
        !read_channel(shard, &name, &channel))
        return;
    if (channel == CHANNEL_PROBE)
        shard->probes = 0;
    else if (is_message)
        shard->env.events->message(shard->env.arg, channel, name, redis_text(reply, 3));
    else if (has_left)
        shard->env.events->left(shard->env.arg, channel, name);
    else
        shard->env.events->joined(shard->env.arg, channel, name);
}

static void swallow(void *context, const struct redis_reply *reply, bool was_sent)
{
    (void)context;
    (void)reply;
    (void)was_sent;
}

void shard_probe(struct shard *shard)
{
    char room[SHARD_CHANNEL_MAX];
    struct ff_slice words[] = {FF_SLICE("PUBLISH"),
                               channel_of(shard, CHANNEL_PROBE, ff_slice_of(shard->probe), room),
                               FF_SLICE("?")};

    if (!shard->is_ready || !shard_is_open(shard)) {
        shard->probes = 0;
        return;
    }
    if (shard->probes >= SHARD_PROBES)
        redis_link_drop(shard->channels, "messages do not come back by it");
    else if (redis_link_command(shard->commands, 3, words, swallow, shard))
        shard->probes++;
}

/* Life. */

void shard_flush(struct shard *shard)
{
    if (!shard->commands)
        return;
    redis_link_flush(shard->commands);
    redis_link_flush(shard->channels);
}

void shard_close(struct shard *shard)
{
    struct redis_link *commands = shard->commands;
    struct redis_link *channels = shard->channels;

    shard->is_ready = false;
    shard->commands = shard->channels = NULL;
    redis_link_free(commands);
    redis_link_free(channels);
}

static struct redis_link *make_link(struct shard *shard, bool is_subscriber)
{
    static const struct redis_link_events of_commands = {.up = on_commands_up,
                                                         .down = on_commands_down};
    static const struct redis_link_events of_channels = {
        .up = on_channels_up, .down = on_channels_down, .pushed = on_pushed};
    const struct redis_link_env env = {.net = shard->env.net,
                                       .box = shard->env.box,
                                       .url = &shard->url,
                                       .is_subscriber = is_subscriber,
                                       .seed = shard->env.random(shard->env.arg),
                                       .events = is_subscriber ? &of_channels : &of_commands,
                                       .arg = shard};

    return redis_link_new(&env);
}

enum ff_err shard_init(struct shard *shard, const struct shard_env *env)
{
    *shard = (struct shard){.env = *env, .url = *env->url};
    (void)snprintf(shard->keys, sizeof(shard->keys), "%s", env->prefix);
    (void)snprintf(shard->probe, sizeof(shard->probe), "%016llx:%u", (unsigned long long)env->node,
                   env->index);
    shard->names_len =
        (size_t)snprintf(shard->names, sizeof(shard->names), "%s%u:", shard->keys, shard->url.db);
    shard->commands = make_link(shard, false);
    shard->channels = shard->commands ? make_link(shard, true) : NULL;
    if (shard->channels)
        return FF_OK;
    shard_close(shard);
    return FF_ENOMEM;
}
