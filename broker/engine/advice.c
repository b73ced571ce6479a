/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/advice.h"

#include <stdlib.h>

#include "broker/net/logger.h"

enum { NUMBER_MAX = 24, LEAST_BUFFER = 256 * 1024 * 1024 };

static void advise(const char *option, struct ff_slice value, const char *why, const char *better)
{
    LOG_EVENT(LOG_WARN, "redis_advice", LOG_TEXT("option", option), LOG_SLICE("value", value),
              LOG_TEXT("why", why), LOG_TEXT("better", better));
}

static void judge_policy(struct ff_slice value)
{
    if (value.len && !ff_slice_is_equal(value, FF_SLICE("noeviction")))
        advise("maxmemory-policy", value, "Redis may drop topics that clients come back to",
               "noeviction");
}

static void judge_persistence(struct ff_slice value)
{
    if (ff_slice_is_equal(value, FF_SLICE("no")) || ff_slice_is_equal(value, FF_SLICE("0")))
        advise("appendonly", value, "a restart of Redis ends all topics", "yes");
}

/* "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60": the hard limit, 0: none.
 */
static void judge_buffers(struct ff_slice value)
{
    struct ff_slice rest = value;
    char number[NUMBER_MAX];

    while (rest.len && !ff_slice_is_equal(ff_slice_cut(&rest, ' '), FF_SLICE("pubsub")))
        continue;
    if (!rest.len)
        return;
    rest = ff_slice_cut(&rest, ' ');
    if (rest.len >= sizeof(number))
        return;
    memcpy(number, rest.at, rest.len);
    number[rest.len] = '\0';
    if (strtoull(number, NULL, 10) - 1 < LEAST_BUFFER - 1ULL)
        advise("client-output-buffer-limit pubsub", rest,
               "a node that is busy for a moment is cut off", "256mb 64mb 60");
}

static void judge(struct ff_slice option, struct ff_slice value)
{
    if (ff_slice_is_equal(option, FF_SLICE("maxmemory-policy")) ||
        ff_slice_is_equal(option, FF_SLICE("maxmemory_policy")))
        judge_policy(value);
    else if (ff_slice_is_equal(option, FF_SLICE("appendonly")) ||
             ff_slice_is_equal(option, FF_SLICE("aof_enabled")))
        judge_persistence(value);
    else if (ff_slice_is_equal(option, FF_SLICE("client-output-buffer-limit")))
        judge_buffers(value);
}

/* Lines of "option:value". */
static void on_info(void *context, const struct redis_reply *reply, bool was_sent)
{
    struct ff_slice rest = reply ? redis_text(reply, 0) : (struct ff_slice){NULL, 0};

    (void)context;
    (void)was_sent;
    if (!reply || !redis_is(reply, 0, REDIS_TEXT))
        return;
    while (rest.len) {
        struct ff_slice line = ff_slice_trim(ff_slice_cut(&rest, '\n'));
        struct ff_slice option;

        if (line.len && line.at[line.len - 1] == '\r')
            line.len--;
        option = ff_slice_cut(&line, ':');
        judge(option, line);
    }
}

static void on_config(void *context, const struct redis_reply *reply, bool was_sent)
{
    static const struct ff_slice info[] = {
        {"INFO", 4},
        {"everything", 10},
    };

    (void)was_sent;
    if (!reply)
        return;
    if (redis_is(reply, 0, REDIS_ERROR)) {
        LOG_EVENT(LOG_WARN, "redis_advice", LOG_TEXT("option", "client-output-buffer-limit pubsub"),
                  LOG_SLICE("why", redis_text(reply, 0)),
                  LOG_TEXT("better", "not seen; it should be 256mb 64mb 60"));
        (void)!redis_link_command(context, 2, info, on_info, NULL);
        redis_link_flush(context);
        return;
    }
    for (uint32_t i = 1; i + 1 < reply->count; i += 2)
        judge(redis_text(reply, i), redis_text(reply, i + 1));
}

void advice_ask(struct redis_link *link)
{
    static const struct ff_slice config[] = {
        {"CONFIG", 6},
        {"GET", 3},
        {"maxmemory-policy", 16},
        {"appendonly", 10},
        {"client-output-buffer-limit", 26},
    };

    (void)!redis_link_command(link, 5, config, on_config, link);
}
