/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - the configuration: defaults, then the file, then FANFARE_
 * environment variables, then flags. Each later one wins.
 *
 * A configuration is made whole or not at all, and never changed afterwards: a
 * reload makes a new one and swaps it in. It owns all the texts it points to.
 * The options are in options.def.
 */
#ifndef APP_CONFIG_H
#define APP_CONFIG_H

#include <stdio.h>

#include "broker/session/settings.h"
#include "broker/topic/topic.h"

enum { CONFIG_ERROR_MAX = 512, CONFIG_OPTIONS_MAX = 64 };

struct config {
    struct settings settings; /* its lists are those below */
    struct text_list listen;
    struct text_list paths;
    struct text_list origins;
    struct text_list hosts;
    struct text_list proxies;
    struct topic_rule *rules; /* in file order */
    uint32_t rule_count;
    const char *tls_cert;
    const char *tls_key;
    const char *file; /* NULL: none */
    uint32_t workers;
    uint32_t outbox;
    uint32_t handshake_s;
    uint32_t close_s;
    uint32_t drain_s;
    uint32_t log_level;                    /* enum log_level */
    uint32_t log_format;                   /* 0 text, 1 JSON */
    bool is_listen_default;                /* nobody said where to listen */
    const char *where[CONFIG_OPTIONS_MAX]; /* of each option: where its value was said */
    struct config_block *blocks;
};

/* What the command line asks for beside options (--help and --version are main's). */
enum config_action {
    CONFIG_RUN,
    CONFIG_CHECK, /* --check-config [TOPIC] */
};

struct config_request {
    enum config_action action;
    const char *topic; /* of CHECK, or NULL */
};

/*
 * Makes a configuration out of everything. NULL: `error` says what is wrong,
 * where (file and line, flag or variable) and what to do. `argv` is borrowed
 * for as long as the configuration lives.
 */
struct config *config_new(int argc, char **argv, struct config_request *request,
                          char error[CONFIG_ERROR_MAX]);
void config_free(struct config *config);

/* `--help`. */
void config_print_help(FILE *out);

/* `--check-config`: what holds, in the file's own format; and the rule for a topic. */
void config_print(const struct config *config, const char *topic, FILE *out);

/* The names of options that need a restart to become what `wanted` says, separated by ", ". */
void config_find_restarts(const struct config *begun, const struct config *wanted, char *out,
                          size_t size);

#endif
