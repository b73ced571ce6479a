/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file, by libconfuse. 3.3 accepts a section that is left
 * open at the file's end, lets a doubled title replace the first in silence,
 * and expands ${HOME}: so it parses from memory with a last option appended
 * that must arrive, doubled titles are errors, and `${` is refused.
 */
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/app/option.h"
#include "protocol/base/mem.h"

enum { FILE_MAX = 1024 * 1024, MAX_OPTIONS = 64, MAX_RULES = 16 };

static const char last_option[] = "fanfare_end_of_file";
static const char last_line[] = CONFIG_LAST_LINE;

/* libconfuse's callbacks take no argument of ours; start-up and reload are on one thread. */
struct parse {
    struct config *config;
    const char *file;
    char *error;
};
static _Thread_local struct parse *current;

/* The nearest rule (of a topic section) or option, where libconfuse says "no such option 'x'". */
static struct ff_guess guess_option(cfg_t *cfg, const char *what)
{
    const char *quoted = strstr(what, "no such option") ? strchr(what, '\'') : NULL;
    char word[FF_GUESS_MAX + 1] = "";
    struct ff_guess guess;

    if (quoted)
        (void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(quoted + 1, "'"), quoted + 1);
    if (!cfg || strcmp(cfg_name(cfg), "topic") != 0)
        return option_guess(word);
    guess = ff_guess_of(word);
    for (size_t i = 0; i < option_rule_count; i++)
        ff_guess_consider(&guess, option_rule_table[i].name);
    return guess;
}

static void explain_error(cfg_t *cfg, const char *what)
{
    const char *meant = guess_option(cfg, what).best;

    (void)snprintf(current->error, CONFIG_ERROR_MAX,
                   meant ? "%s:%d: %s: did you mean %s?" : "%s:%d: %s", current->file,
                   cfg ? cfg->line : 0, what, meant);
}

static void on_error(cfg_t *cfg, const char *format, va_list args)
{
    char what[CONFIG_ERROR_MAX / 2];

    if (current->error[0])
        return; /* the first one is the cause */
    (void)vsnprintf(what, sizeof(what), format, args);
    if (strstr(what, last_option))
        (void)snprintf(current->error, CONFIG_ERROR_MAX,
                       "%s: a section is not closed at the end of the file: a } is missing",
                       current->file);
    else
        explain_error(cfg, what);
}

/* Called for each value while its line is known. */
static int check_value(cfg_t *cfg, cfg_opt_t *opt)
{
    const struct option *option = option_find(opt->name, strlen(opt->name));
    const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    char why[CONFIG_ERROR_MAX / 2] = "";

    char where[CONFIG_ERROR_MAX / 2];

    if (!option)
        return 0;
    (void)snprintf(where, sizeof(where), "%s:%d", current->file, cfg->line);
    current->config->where[option - option_table] =
        config_keep(current->config, where, strlen(where));
    if (option->kind == OPTION_LIST || !text)
        return 0;
    if (option_set(option, current->config, current->config, text, why, sizeof(why)))
        return 0;
    cfg_error(cfg, "%s", why);
    return -1;
}

static int check_rule_value(cfg_t *cfg, cfg_opt_t *opt)
{
    struct topic_rule rule;
    const char *text = cfg_opt_getnstr(opt, 0);
    char why[CONFIG_ERROR_MAX / 2] = "";

    for (size_t i = 0; i < option_rule_count; i++) {
        if (strcmp(option_rule_table[i].name, opt->name) != 0 || !text)
            continue;
        if (!option_set(&option_rule_table[i], &rule, current->config, text, why, sizeof(why))) {
            cfg_error(cfg, "%s", why);
            return -1;
        }
    }
    return 0;
}

/* A regular file; a pipe would make a reload wait for its writer. */
static FILE *open_regular(const char *file, const char **why)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    FILE *in = NULL;

    if (fd < 0 || fstat(fd, &status))
        *why = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        *why = S_ISDIR(status.st_mode) ? strerror(EISDIR) : "not a regular file";
    else
        in = fdopen(fd, "r");
    if (fd >= 0 && !in)
        (void)close(fd);
    return in;
}

/* The whole file, with `last_line` behind it. */
static char *read_whole(const char *file, size_t *size, char *error)
{
    const char *why = "out of memory";
    FILE *in = open_regular(file, &why);
    char *text = ff_mem_alloc(FILE_MAX + sizeof(last_line));

    if (!in || !text) {
        (void)snprintf(error, CONFIG_ERROR_MAX, "cannot read the configuration file %s: %s", file,
                       why);
        goto fail;
    }
    *size = fread(text, 1, FILE_MAX, in);
    if (ferror(in) || !feof(in)) {
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       ferror(in) ? "cannot read the configuration file %s"
                                  : "the configuration file %s is over 1 MiB",
                       file);
        goto fail;
    }
    (void)fclose(in);
    memcpy(text + *size, last_line, sizeof(last_line));
    return text;
fail:
    if (in)
        (void)fclose(in);
    ff_mem_free(text);
    return NULL;
}

static bool has_expansion(const char *file, const char *text, char *error)
{
    const char *found = strstr(text, "${");
    int line = 1;

    if (!found)
        return false;
    for (; text < found; text++)
        line += *text == '\n';
    (void)snprintf(error, CONFIG_ERROR_MAX,
                   "%s:%d: ${ is not taken: write the value, or set it as a FANFARE_ variable",
                   file, line);
    return true;
}

static bool take_lists(struct config *config, cfg_t *cfg)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        unsigned count = option->kind == OPTION_LIST ? cfg_size(cfg, option->name) : 0;
        const char **texts;
        bool is_done;

        if (!count)
            continue;
        texts = ff_mem_alloc(count * sizeof(*texts));
        for (unsigned k = 0; texts && k < count; k++)
            texts[k] = cfg_getnstr(cfg, option->name, k);
        is_done = texts && option_set_list(option, config, texts, count);
        ff_mem_free(texts);
        if (!is_done)
            return false;
    }
    return true;
}

static bool take_rules(struct config *config, cfg_t *cfg, const char *file, char *error)
{
    unsigned count = cfg_size(cfg, "topic");
    char why[CONFIG_ERROR_MAX / 2];

    if (!count)
        return true;
    config->rules = (void *)config_keep(config, NULL, count * sizeof(*config->rules));
    if (!config->rules)
        return false;
    config->rule_count = count;
    for (unsigned i = 0; i < count; i++) {
        cfg_t *section = cfg_getnsec(cfg, "topic", i);
        const char *title = cfg_title(section);
        struct topic_rule *rule = &config->rules[i];

        if (ff_topic_kind(ff_slice_of(title)) == FF_TOPIC_BAD) {
            (void)snprintf(error, CONFIG_ERROR_MAX, "%s:%d: topic \"%s\": %s", file, section->line,
                           title, ff_topic_fault(ff_slice_of(title)));
            return false;
        }
        rule->filter = config_keep(config, title, strlen(title));
        rule->history = rule->history_bytes = rule->history_seconds = RULE_DEFAULT;
        for (size_t k = 0; k < option_rule_count; k++) {
            const char *text = cfg_getstr(section, option_rule_table[k].name);

            if (text)
                (void)option_set(&option_rule_table[k], rule, config, text, why, sizeof(why));
        }
        if (!rule->filter)
            return false;
    }
    return true;
}

/* The options as libconfuse wants them; all are texts, so that we say what is wrong with one. */
static void fill_options(cfg_opt_t *opts, cfg_opt_t *rule_opts)
{
    const cfg_opt_t end = CFG_END();
    size_t n = 0;

    for (size_t i = 0; i < option_rule_count; i++) {
        const cfg_opt_t opt = CFG_STR(option_rule_table[i].name, NULL, CFGF_NONE);

        memcpy(&rule_opts[i], &opt, sizeof(opt));
    }
    memcpy(&rule_opts[option_rule_count], &end, sizeof(end));
    for (size_t i = 0; i < option_count; i++) {
        const cfg_opt_t list = CFG_STR_LIST(option_table[i].name, NULL, CFGF_NODEFAULT);
        const cfg_opt_t text = CFG_STR(option_table[i].name, NULL, CFGF_NODEFAULT);

        memcpy(&opts[n++], option_table[i].kind == OPTION_LIST ? &list : &text, sizeof(text));
    }
    {
        const cfg_opt_t topic =
            CFG_SEC("topic", rule_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
        const cfg_opt_t last = CFG_STR("fanfare_end_of_file", NULL, CFGF_NODEFAULT);

        memcpy(&opts[n++], &topic, sizeof(topic));
        memcpy(&opts[n++], &last, sizeof(last));
    }
    memcpy(&opts[n], &end, sizeof(end));
}

static bool parse(struct config *config, const char *file, char *text, char *error)
{
    cfg_opt_t opts[MAX_OPTIONS];
    cfg_opt_t rule_opts[MAX_RULES];
    struct parse state = {config, file, error};
    char path[64];
    cfg_t *cfg;
    bool is_good = false;

    FF_CHECK(option_count + 3 <= MAX_OPTIONS && option_rule_count < MAX_RULES);
    fill_options(opts, rule_opts);
    cfg = cfg_init(opts, CFGF_NONE);
    if (!cfg)
        return false;
    current = &state;
    (void)cfg_set_error_function(cfg, on_error);
    for (size_t i = 0; i < option_count; i++)
        (void)cfg_set_validate_func(cfg, option_table[i].name, check_value);
    for (size_t i = 0; i < option_rule_count; i++) {
        (void)snprintf(path, sizeof(path), "topic|%s", option_rule_table[i].name);
        (void)cfg_set_validate_func(cfg, path, check_rule_value);
    }
    if (cfg_parse_buf(cfg, text) == CFG_SUCCESS && !error[0]) {
        if (!cfg_getstr(cfg, last_option))
            (void)snprintf(error, CONFIG_ERROR_MAX,
                           "%s: something is not closed at the end of the file", file);
        else
            is_good = take_lists(config, cfg) && take_rules(config, cfg, file, error);
    }
    (void)cfg_free(cfg);
    current = NULL;
    if (!is_good && !error[0])
        (void)snprintf(error, CONFIG_ERROR_MAX, "%s: it could not be read", file);
    return is_good;
}

bool config_read_file(struct config *config, const char *file, char error[CONFIG_ERROR_MAX])
{
    size_t size = 0;
    char *text;
    bool is_good;

    error[0] = '\0';
    text = read_whole(file, &size, error);
    if (!text)
        return false;
    is_good = config_read_text(config, file, text, size, error);
    ff_mem_free(text);
    return is_good;
}

/* A file of nothing is one that was cut off while it was written: not a wish for all defaults. */
static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r\n", text[i]))
            return false;
    return true;
}

bool config_read_text(struct config *config, const char *file, char *text, size_t size,
                      char error[CONFIG_ERROR_MAX])
{
    error[0] = '\0';
    if (memchr(text, '\0', size))
        (void)snprintf(error, CONFIG_ERROR_MAX, "%s: there is a zero byte in it", file);
    else if (is_blank(text, size))
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "the configuration file %s is empty: was it cut off? One with a comment "
                       "alone means all defaults",
                       file);
    else
        return !has_expansion(file, text, error) && parse(config, file, text, error);
    return false;
}
