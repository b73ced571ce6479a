/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option.h - the table of options, and how the text of one becomes a value.
 *
 * Inside the app floor only.
 */
#ifndef APP_OPTION_H
#define APP_OPTION_H

#include "broker/app/config.h"
#include "protocol/base/guess.h"

enum option_kind {
    OPTION_COUNT,  /* uint32_t */
    OPTION_SIZE,   /* uint32_t, with K, M, G */
    OPTION_SIZE64, /* uint64_t, with K, M, G */
    OPTION_BOOL,
    OPTION_TEXT,
    OPTION_LIST,   /* struct text_list */
    OPTION_CHOICE, /* uint32_t: the index of a word */
};

struct option {
    const char *name;
    const char *value; /* the default, as text; NULL for a rule's */
    const char *help;
    size_t offset; /* in struct config, or in struct topic_rule */
    uint64_t least;
    uint64_t most;
    enum option_kind kind;
    bool can_reload;
};

extern const struct option option_table[];
extern const size_t option_count;
extern const struct option option_rule_table[];
extern const size_t option_rule_count;

/* The option whose name is nearest to a word that is none (base/guess.h). */
struct ff_guess option_guess(const char *word);

/* NULL: there is none of that name. `-` counts as `_`. */
const struct option *option_find(const char *name, size_t len);

/*
 * Sets the value in `base` (a struct config, or a rule). False: `why` says what
 * is wrong with it. Lists are not set here.
 */
bool option_set(const struct option *option, void *base, struct config *owner, const char *text,
                char *why, size_t why_size);

/* Sets a list from texts; false: out of memory. */
bool option_set_list(const struct option *option, struct config *config, const char *const *texts,
                     uint32_t count);

/* Writes the value as the file would have it. */
void option_print(const struct option *option, const void *base, FILE *out);

/* A copy that the configuration owns, or NULL. */
char *config_keep(struct config *config, const void *bytes, size_t size);

/* An error about the value of an option, with the place where it was said before it. Says false. */
__attribute__((format(printf, 4, 5))) bool config_complain(const struct config *config,
                                                           const char *name, char *error,
                                                           const char *format, ...);

/* reach.c: listen, path, origins, hosts, proxies, proxy_header; their lists in `settings` are set.
 */
bool config_check_reach(struct config *config, char error[CONFIG_ERROR_MAX]);

/* In engine.c: the same of which engine it is. */
bool config_check_engine(struct config *config, char error[CONFIG_ERROR_MAX]);

/* Reads the file into the configuration. False: `error` says what and where. */
bool config_read_file(struct config *config, const char *file, char error[CONFIG_ERROR_MAX]);

/* The same of a text of `size` octets; behind them stands CONFIG_LAST_LINE with its zero. */
#define CONFIG_LAST_LINE "\nfanfare_end_of_file = yes\n"
bool config_read_text(struct config *config, const char *file, char *text, size_t size,
                      char error[CONFIG_ERROR_MAX]);

#endif
