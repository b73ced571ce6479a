/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reach.c - the options that say where the broker is reached, through whom, and for whose
 * pages: each is checked at the start, so that what could never match anything is no
 * riddle later.
 */
#include "broker/app/option.h"
#include "broker/net/endpoint.h"
#include "broker/session/site.h"

static bool check_endpoint(struct config *config, const char *text, char *error)
{
    struct endpoint endpoint;
    char why[ENDPOINT_WHY_MAX];

    if (!endpoint_parse(&endpoint, text, why))
        return config_complain(config, "listen", error, "listen: \"%.100s\" %s", text, why);
    if (endpoint.is_tls && (!config->tls_cert[0] || !config->tls_key[0]))
        return config_complain(config, "listen", error,
                               "listen: \"%.100s\" needs a certificate: set tls_cert and tls_key",
                               text);
    if (endpoint.is_proxied && config->proxies.count == 0)
        return config_complain(
            config, "listen", error,
            "listen: \"%.100s\" needs to know whom to believe: set proxies to the "
            "addresses of those who speak the PROXY protocol",
            text);
    config->settings.is_loopback_only &= address_is_loopback(&endpoint.address);
    return true;
}

static bool check_addresses(struct config *config, char *error)
{
    config->settings.is_loopback_only = true;
    for (uint32_t i = 0; i < config->listen.count; i++)
        if (!check_endpoint(config, config->listen.at[i], error))
            return false;
    for (uint32_t i = 0; i < config->proxies.count; i++)
        if (!address_is_network(config->proxies.at[i]))
            return config_complain(
                config, "proxies", error,
                "proxies: \"%s\" is no network: write 10.0.0.0/8, an address, or unix:",
                config->proxies.at[i]);
    return true;
}

/* Puts the normal forms of a list's texts in the place of them. */
static bool normalize(struct config *config, const char *name, struct text_list *list,
                      bool (*read)(char out[SITE_TEXT_MAX], const char *text,
                                   char why[SITE_WHY_MAX]),
                      char *error)
{
    const struct option *option = option_find(name, strlen(name));
    uint32_t count = list->count;
    char *memory = config_keep(config, NULL, (count + 1U) * sizeof(const char *));
    const char **texts = (void *)memory;

    if (!memory)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        char text[SITE_TEXT_MAX];
        char why[SITE_WHY_MAX];

        if (!read(text, list->at[i], why))
            return config_complain(config, name, error, "%s: \"%.100s\" %s", name, list->at[i],
                                   why);
        texts[i] = config_keep(config, text, strlen(text));
        if (!texts[i])
            return false;
    }
    return option_set_list(option, config, texts, count);
}

static bool check_sites(struct config *config, char *error)
{
    return normalize(config, "origins", &config->origins, site_read_origin_entry, error) &&
           normalize(config, "hosts", &config->hosts, site_read_host_entry, error);
}

static bool check_proxy_header(struct config *config, char *error)
{
    const char *name = config->settings.proxy_header;

    if (name[0] && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789-_")] == '\0')
        return true;
    return config_complain(config, "proxy_header", error,
                           "proxy_header: \"%.100s\" is no header's name: write X-Forwarded-For, "
                           "Forwarded or X-Real-IP",
                           name);
}

static bool check_paths(struct config *config, char *error)
{
    for (uint32_t i = 0; i < config->paths.count; i++) {
        const char *path = config->paths.at[i];

        if (path[0] != '/' || strcspn(path, "?# ") < strlen(path))
            return config_complain(
                config, "path", error,
                "path: \"%s\" is none: it begins with / and ends before any ?, for "
                "example /ws",
                path);
    }
    return true;
}

bool config_check_reach(struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct settings *settings = &config->settings;

    if (!check_addresses(config, error) || !check_paths(config, error) ||
        !check_sites(config, error) || !check_proxy_header(config, error))
        return false;
    settings->paths = config->paths;
    settings->origins = config->origins;
    settings->hosts = config->hosts;
    settings->proxies = config->proxies;
    return true;
}
