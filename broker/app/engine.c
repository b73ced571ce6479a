/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.c - the options that say which engine has the order of messages: what it needs, and what
 * it cannot do yet, is told at the start.
 */
#include <string.h>

#include "broker/app/option.h"
#include "broker/engine/redis.h"

bool config_check_engine(struct config *config, char error[CONFIG_ERROR_MAX])
{
    const struct settings *settings = &config->settings;
    struct redis_url url;
    char why[REDIS_WHY_MAX];

    if (settings->engine == ENGINE_MEMORY)
        return !settings->redis[0] ||
               config_complain(config, "redis", error,
                               "redis is set, but the engine is memory: add engine = redis");
    if (!settings->redis[0])
        return config_complain(config, "engine", error,
                               "engine = redis needs an address: redis = redis://localhost:6379");
    if (!redis_url_parse(&url, settings->redis, why))
        return config_complain(config, "redis", error, "redis: %s", why);
    if (settings->max_message > REDIS_MESSAGE_MAX)
        return config_complain(config, "max_message", error,
                               "max_message is %u, but with engine = redis it may be at most %uK",
                               settings->max_message, REDIS_MESSAGE_MAX / 1024);
    if (strlen(settings->redis_prefix) > REDIS_PREFIX_MAX)
        return config_complain(config, "redis_prefix", error,
                               "redis_prefix may have at most %d octets", REDIS_PREFIX_MAX);
    for (uint32_t i = 0; i < config->rule_count; i++)
        if (config->rules[i].has_presence)
            return config_complain(config, "engine", error,
                                   "topic \"%s\": presence is not there yet with engine = redis",
                                   config->rules[i].filter);
    return true;
}
