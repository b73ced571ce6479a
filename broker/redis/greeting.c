/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/redis/greeting.h"

#include <stdio.h>

#include "broker/redis/command.h"

enum { WORD_MAX = 24 };

static const char *const names[] = {
    [REDIS_STEP_AUTH] = "AUTH", [REDIS_STEP_NAME] = "CLIENT", [REDIS_STEP_SELECT] = "SELECT",
    [REDIS_STEP_INFO] = "INFO", [REDIS_STEP_ROLE] = "ROLE",   [REDIS_STEP_PING] = "PING",
};

static enum ff_err say(struct redis_greeting *greeting, enum redis_step step, struct ff_buf *out,
                       const char *const *words, uint32_t count)
{
    struct ff_slice argv[3];

    for (uint32_t i = 0; i < count; i++)
        argv[i] = ff_slice_of(words[i]);
    greeting->steps[greeting->count++] = step;
    return redis_command_write(out, count, argv);
}

#define SAY(step, ...)                                             \
    (err = say(greeting, step, out, (const char *[]){__VA_ARGS__}, \
               FF_COUNT(((const char *[]){__VA_ARGS__}))))

enum ff_err redis_greeting_write(struct redis_greeting *greeting, const struct redis_url *url,
                                 struct ff_buf *out)
{
    enum ff_err err = FF_OK;
    char db[16];

    *greeting = (struct redis_greeting){.count = 0};
    (void)snprintf(db, sizeof(db), "%u", (unsigned)url->db);
    if (url->password[0] && url->user[0])
        (void)SAY(REDIS_STEP_AUTH, "AUTH", url->user, url->password);
    else if (url->password[0])
        (void)SAY(REDIS_STEP_AUTH, "AUTH", url->password);
    if (!err)
        (void)SAY(REDIS_STEP_NAME, "CLIENT", "SETNAME", "fanfare");
    if (!err && url->db)
        (void)SAY(REDIS_STEP_SELECT, "SELECT", db);
    if (!err)
        (void)SAY(REDIS_STEP_INFO, "INFO", "server");
    if (!err)
        (void)SAY(REDIS_STEP_ROLE, "ROLE");
    if (!err)
        (void)SAY(REDIS_STEP_PING, "PING");
    return err;
}

/* Redis' first word is a code (NOAUTH, LOADING); what follows is for people, and may be long. */
static void take_word(struct ff_slice error, char word[WORD_MAX])
{
    size_t len = 0;

    while (len < error.len && len + 1 < WORD_MAX && error.at[len] > ' ' && error.at[len] < 0x7f) {
        word[len] = error.at[len];
        len++;
    }
    word[len] = '\0';
}

/* It has refused a step. A name is refused by proxies that know no CLIENT, and by rules (ACL). */
static bool is_of_no_matter(enum redis_step step, const char *word)
{
    return step == REDIS_STEP_NAME && (strcmp(word, "ERR") == 0 || strcmp(word, "NOPERM") == 0);
}

static enum redis_welcome refuse(struct redis_greeting *greeting, const char *why)
{
    (void)snprintf(greeting->why, sizeof(greeting->why), "%s", why);
    return REDIS_WELCOME_NOT;
}

static bool is_run_id(struct ff_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("0123456789abcdef", text.at[i]) || text.at[i] == '\0')
            return false;
    return text.len == REDIS_RUN_ID;
}

/* INFO is lines of "name:value", between them comments and empty lines. */
static bool take_info(struct redis_greeting *greeting, struct ff_slice info)
{
    while (info.at) {
        struct ff_slice value = ff_slice_cut(&info, '\n');
        struct ff_slice name;

        if (value.len && value.at[value.len - 1] == '\r')
            value.len--;
        name = ff_slice_cut(&value, ':');
        if (!ff_slice_is_equal(name, FF_SLICE("run_id")) || !is_run_id(value))
            continue;
        memcpy(greeting->run_id, value.at, REDIS_RUN_ID);
        return true;
    }
    return false;
}

static enum redis_welcome take_role(struct redis_greeting *greeting,
                                    const struct redis_reply *reply)
{
    struct ff_slice role = redis_text(reply, 1);

    if (redis_is(reply, 0, REDIS_ARRAY) && ff_slice_is_equal(role, FF_SLICE("master")))
        return REDIS_WELCOME_MORE;
    if (ff_slice_is_equal(role, FF_SLICE("slave")))
        return refuse(greeting, "it is a replica");
    return refuse(greeting, "it is no master");
}

static enum redis_welcome take_step(struct redis_greeting *greeting, enum redis_step step,
                                    const struct redis_reply *reply)
{
    if (step == REDIS_STEP_INFO && !take_info(greeting, redis_text(reply, 0)))
        return refuse(greeting, "its INFO has no run_id");
    if (step == REDIS_STEP_ROLE)
        return take_role(greeting, reply);
    if (step != REDIS_STEP_INFO && !redis_is(reply, 0, REDIS_STATUS))
        return refuse(greeting, "it does not answer as Redis does");
    return REDIS_WELCOME_MORE;
}

enum redis_welcome redis_greeting_take(struct redis_greeting *greeting,
                                       const struct redis_reply *reply)
{
    enum redis_step step;
    char word[WORD_MAX];

    FF_CHECK(greeting->next < greeting->count);
    step = greeting->steps[greeting->next++];
    if (redis_is(reply, 0, REDIS_ERROR)) {
        take_word(redis_text(reply, 0), word);
        if (!is_of_no_matter(step, word)) {
            (void)snprintf(greeting->why, sizeof(greeting->why), "it answers %s to %s", word,
                           names[step]);
            return REDIS_WELCOME_NOT;
        }
    } else if (take_step(greeting, step, reply) == REDIS_WELCOME_NOT) {
        return REDIS_WELCOME_NOT;
    }
    return greeting->next == greeting->count ? REDIS_WELCOME_DONE : REDIS_WELCOME_MORE;
}
