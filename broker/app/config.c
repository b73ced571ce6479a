/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - from the option table, a file, the environment and flags to one
 * configuration: later ones win, and each value is checked once, whatever it came
 * from. Errors name the source, the option and what would be right.
 */
#include "broker/app/config.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/app/environment.h"
#include "broker/app/option.h"
#include "broker/net/endpoint.h"
#include "broker/worker/qsbr.h"
#include "protocol/base/mem.h"

enum {
    MAX_LIST = 256,
    RESERVED_DESCRIPTORS = 64, /* or more: */
    DESCRIPTORS_A_WORKER = 8,
    COMMON_BUFFERED = 1024 * 1024,
    LEAST_MEMORY = 4 * 1024 * 1024, /* serves somebody; and beside it: */
    MEMORY_A_WORKER = 512 * 1024,   /* half a MiB is what an idle one has */
    VARIABLE_MAX = 64,
};

struct config_block {
    struct config_block *next;
    char bytes[];
};

char *config_keep(struct config *config, const void *bytes, size_t size)
{
    struct config_block *block = ff_mem_zalloc(sizeof(*block) + size + 1);

    if (!block)
        return NULL;
    if (bytes && size)
        memcpy(block->bytes, bytes, size);
    block->next = config->blocks;
    config->blocks = block;
    return block->bytes;
}

void config_free(struct config *config)
{
    while (config && config->blocks) {
        struct config_block *block = config->blocks;

        config->blocks = block->next;
        ff_mem_free(block);
    }
    ff_mem_free(config);
}

/* A list as "a,b,c". */
static bool set_list_text(struct config *config, const struct option *option, const char *text)
{
    struct ff_slice rest = ff_slice_of(text);
    const char *items[MAX_LIST];
    uint32_t count = 0;

    while (rest.at && count < MAX_LIST) {
        struct ff_slice item = ff_slice_trim(endpoint_cut(&rest));

        if (item.len == 0)
            continue;
        items[count] = config_keep(config, item.at, item.len);
        if (!items[count++])
            return false;
    }
    return option_set_list(option, config, items, count);
}

/*
 * `where: why` for people. What is wrong begins with the option's name and a colon where
 * it is about the whole value; a flag or a variable has said that name already.
 */
static void explain(const char *name, const char *where, const char *why, char *error)
{
    size_t len = strlen(name);
    bool is_named =
        (where[0] == '-' || strncmp(where, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) == 0) &&
        strncmp(why, name, len) == 0 && strncmp(why + len, ": ", 2) == 0;

    (void)snprintf(error, CONFIG_ERROR_MAX, "%s: %s", where, is_named ? why + len + 2 : why);
}

static bool set_text(struct config *config, const struct option *option, const char *text,
                     const char *where, char *error)
{
    char why[CONFIG_ERROR_MAX / 2] = "out of memory";
    bool is_set = option->kind == OPTION_LIST
                      ? set_list_text(config, option, text)
                      : option_set(option, config, config, text, why, sizeof(why));

    if (!is_set)
        explain(option->name, where, why, error);
    config->where[option - option_table] = config_keep(config, where, strlen(where));
    return is_set;
}

static bool set_defaults(struct config *config, char *error)
{
    for (size_t i = 0; i < option_count; i++)
        if (!set_text(config, &option_table[i], option_table[i].value, "default", error))
            return false;
    return true;
}

static bool set_from_environment(struct config *config, char *error)
{
    for (size_t i = 0; i < option_count; i++) {
        char name[ENVIRONMENT_NAME_MAX];
        const char *value;

        environment_name(option_table[i].name, name);
        value = getenv(name);
        if (!value)
            continue;
        if (!set_text(config, &option_table[i], value, name, error))
            return false;
        config->is_listen_default &= strcmp(option_table[i].name, "listen") != 0;
    }
    return environment_check(error);
}

/* The option as it is written on the command line, without its dashes in front. */
static const char *name_flag(const char *option, char flag[VARIABLE_MAX])
{
    (void)snprintf(flag, VARIABLE_MAX, "%s", option);
    for (char *c = flag; *c; c++)
        if (*c == '_')
            *c = '-';
    return flag;
}

/* One flag as it stands on the command line. */
struct flag {
    const struct option *option;
    const char *value;
    char name[VARIABLE_MAX];
};

static void explain_unknown(const char *arg, const char *name, char *error)
{
    struct ff_guess guess = option_guess(name + (strncmp(name, "--", 2) == 0 ? 2 : 0));
    char flag[VARIABLE_MAX];

    if (guess.best)
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "unknown argument %s: did you mean --%s? fanfared --help lists all", arg,
                       name_flag(guess.best, flag));
    else
        (void)snprintf(error, CONFIG_ERROR_MAX, "unknown argument %s; fanfared --help lists all",
                       arg);
}

/* `--name VALUE`, `--name=VALUE`, and `--name` for a bool. Advances `*i` over its value. */
static bool read_flag(int argc, char **argv, int *i, struct flag *flag, char *error)
{
    const char *arg = argv[*i];
    const char *equals = strchr(arg, '=');
    size_t len = equals ? (size_t)(equals - arg) : strlen(arg);

    flag->option = len > 2 && strncmp(arg, "--", 2) == 0 ? option_find(arg + 2, len - 2) : NULL;
    (void)snprintf(flag->name, sizeof(flag->name), "%.*s", (int)len, arg);
    if (!flag->option) {
        explain_unknown(arg, flag->name, error);
        return false;
    }
    if (equals)
        flag->value = equals + 1;
    else if (flag->option->kind == OPTION_BOOL)
        flag->value = "true";
    else if (*i + 1 < argc)
        flag->value = argv[++*i];
    else {
        (void)snprintf(error, CONFIG_ERROR_MAX, "%s needs a value; fanfared --help explains it",
                       arg);
        return false;
    }
    return true;
}

bool config_complain(const struct config *config, const char *name, char *error, const char *format,
                     ...)
{
    const struct option *option = option_find(name, strlen(name));
    const char *where = config->where[option - option_table];
    bool is_default = !where || strcmp(where, "default") == 0;
    char why[CONFIG_ERROR_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    if (is_default)
        memcpy(error, why, sizeof(why));
    else
        explain(name, where, why, error);
    return false;
}

/* Flags of a list are collected: the first one replaces what the file said. */
struct collected {
    const struct option *option;
    const char *items[MAX_LIST];
    uint32_t count;
};

static bool add_item(struct config *config, struct collected *lists, const struct flag *flag)
{
    struct ff_slice rest = ff_slice_of(flag->value);

    while (lists->option && lists->option != flag->option)
        lists++;
    lists->option = flag->option;
    while (rest.at && lists->count < MAX_LIST) { /* "a,b" is two */
        struct ff_slice item = ff_slice_trim(endpoint_cut(&rest));

        lists->items[lists->count] = config_keep(config, item.at, item.len);
        if (!lists->items[lists->count])
            return false;
        lists->count += item.len > 0;
    }
    config->where[flag->option - option_table] =
        config_keep(config, flag->name, strlen(flag->name));
    config->is_listen_default &= strcmp(flag->option->name, "listen") != 0;
    return option_set_list(flag->option, config, lists->items, lists->count);
}

static bool set_from_flags(struct config *config, int argc, char **argv, char *error)
{
    enum { LISTS = 6 };
    struct collected *lists = ff_mem_zalloc(LISTS * sizeof(*lists));
    bool is_good = lists != NULL;

    for (int i = 1; i < argc && is_good; i++) {
        struct flag flag;

        if (strcmp(argv[i], "--config") == 0) {
            if (++i == argc || argv[i][0] == '-') {
                (void)snprintf(error, CONFIG_ERROR_MAX, "--config needs the name of a file");
                is_good = false;
            }
            continue;
        }
        if (strncmp(argv[i], "--config=", 9) == 0)
            continue;
        if (strcmp(argv[i], "--check-config") == 0) {
            i += i + 1 < argc && argv[i + 1][0] != '-';
            continue;
        }
        is_good = read_flag(argc, argv, &i, &flag, error);
        if (is_good && flag.option->kind == OPTION_LIST)
            is_good = add_item(config, lists, &flag);
        else if (is_good)
            is_good = set_text(config, flag.option, flag.value, flag.name, error);
    }
    ff_mem_free(lists);
    return is_good;
}

/* What the arguments ask for beside options; the file they name. */
static const char *scan_arguments(int argc, char **argv, struct config_request *request)
{
    const char *file = getenv("FANFARE_CONFIG");

    *request = (struct config_request){CONFIG_RUN, NULL};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc && argv[i + 1][0] != '-')
            file = argv[++i];
        else if (strncmp(argv[i], "--config=", 9) == 0)
            file = argv[i] + 9;
        else if (strcmp(argv[i], "--check-config") == 0) {
            request->action = CONFIG_CHECK;
            if (i + 1 < argc && argv[i + 1][0] != '-')
                request->topic = argv[++i];
        }
    }
    return file;
}

/* A cgroup's memory limit in octets, UINT64_MAX where there is none. */
static uint64_t read_limit(const char *path)
{
    FILE *in = fopen(path, "re");
    uint64_t limit = UINT64_MAX;
    char text[VARIABLE_MAX];

    if (!in)
        return limit;
    if (fgets(text, sizeof(text), in) && text[0] >= '0' && text[0] <= '9') /* else "max" */
        limit = strtoull(text, NULL, 10);
    (void)fclose(in);
    return limit;
}

static uint64_t quarter_of_memory(void)
{
    uint64_t limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t v2 = read_limit("/sys/fs/cgroup/memory.max");
    uint64_t v1 = read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes");

    limit = v2 < limit ? v2 : limit;
    limit = v1 < limit ? v1 : limit;
    return limit / 4;
}

/* Cores that this process may run on. */
static uint32_t count_cores(void)
{
    cpu_set_t cores;
    int count = 1;

    CPU_ZERO(&cores);
    if (sched_getaffinity(0, sizeof(cores), &cores) == 0)
        count = CPU_COUNT(&cores);
    return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : (uint32_t)count;
}

static bool compute_connections(struct config *config, char *error)
{
    struct settings *settings = &config->settings;
    struct rlimit descriptors;
    uint64_t reserved = RESERVED_DESCRIPTORS;
    uint64_t room;

    if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0)
        return true;
    if (descriptors.rlim_cur < descriptors.rlim_max) { /* up to the hard limit is ours to take */
        descriptors.rlim_cur = descriptors.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &descriptors);
        (void)getrlimit(RLIMIT_NOFILE, &descriptors);
    }
    if (reserved < (uint64_t)config->workers * DESCRIPTORS_A_WORKER)
        reserved = (uint64_t)config->workers * DESCRIPTORS_A_WORKER;
    room = descriptors.rlim_cur;
    if (room < reserved + 64) {
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "the limit of open descriptors is %" PRIu64
                       ", too low to serve anybody: raise it (ulimit -n 65536, or LimitNOFILE= in "
                       "the systemd unit)",
                       room);
        return false;
    }
    room -= reserved;
    if (settings->max_connections > room)
        return config_complain(
            config, "max_connections", error,
            "max_connections is %u, but the limit of open descriptors allows %" PRIu64
            ": raise it (ulimit -n, or LimitNOFILE= in the systemd unit)",
            settings->max_connections, room);
    if (settings->max_connections == 0)
        settings->max_connections = room > 1000000 ? 1000000 : (uint32_t)room;
    return true;
}

/* A backlog has room for four messages of its topic, at least. */
static uint64_t least_buffered(const struct config *config, const struct topic_rule *rule)
{
    uint32_t own = rule ? rule->max_message : 0;
    uint32_t most = config->settings.max_message;

    return (uint64_t)(own && own < most ? own : most) * 4;
}

static bool check_buffered(struct config *config, char *error)
{
    uint64_t least = least_buffered(config, NULL);

    if (config->settings.max_buffered == 0)
        config->settings.max_buffered =
            (uint32_t)(least < COMMON_BUFFERED ? (uint64_t)COMMON_BUFFERED : least);
    if (config->settings.max_buffered < least)
        return config_complain(config, "max_buffered", error,
                               "max_buffered is %u, but must be at least %" PRIu64
                               ", 4 x max_message: raise it or lower max_message",
                               config->settings.max_buffered, least);
    for (uint32_t i = 0; i < config->rule_count; i++) {
        const struct topic_rule *rule = &config->rules[i];

        least = least_buffered(config, rule);
        if (!rule->max_buffered || rule->max_buffered >= least)
            continue;
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "%s: topic \"%s\": max_buffered is %u, but must be at least %" PRIu64
                       ", 4 x its max_message",
                       config->file, rule->filter, rule->max_buffered, least);
        return false;
    }
    return true;
}

static bool check_memory(struct config *config, char *error)
{
    uint64_t least = LEAST_MEMORY + (uint64_t)config->workers * MEMORY_A_WORKER;

    if (config->settings.max_memory == 0)
        config->settings.max_memory = quarter_of_memory();
    if (config->settings.history_memory == 0)
        config->settings.history_memory = config->settings.max_memory / 2;
    if (config->settings.history_memory > config->settings.max_memory)
        return config_complain(config, "history_memory", error,
                               "history_memory is %" PRIu64 " bytes, more than memory, %" PRIu64
                               ": lower it, or raise memory",
                               config->settings.history_memory, config->settings.max_memory);
    if (config->settings.max_memory >= least)
        return true;
    return config_complain(config, "memory", error,
                           "memory is %" PRIu64 " bytes, but %u workers need at least %" PRIu64
                           "K to serve anybody: raise it, or lower workers",
                           config->settings.max_memory, config->workers, least >> 10);
}

/* What depends on other options or on the machine. */
static bool complete(struct config *config, char *error)
{
    struct settings *settings = &config->settings;

    if (config->workers == 0)
        config->workers = count_cores();
    if (!check_buffered(config, error) || !check_memory(config, error) ||
        !config_check_engine(config, error))
        return false;
    if (settings->plain_topic[0] &&
        ff_topic_kind(ff_slice_of(settings->plain_topic)) == FF_TOPIC_BAD)
        return config_complain(config, "plain_topic", error, "plain_topic: %s",
                               ff_topic_fault(ff_slice_of(settings->plain_topic)));
    if (settings->echo_path[0] && settings->echo_path[0] != '/')
        return config_complain(config, "echo_path", error,
                               "echo_path must begin with /, for example /echo");
    settings->handshake_ms = config->handshake_s * 1000;
    return compute_connections(config, error) && config_check_reach(config, error);
}

struct config *config_new(int argc, char **argv, struct config_request *request,
                          char error[CONFIG_ERROR_MAX])
{
    struct config *config = ff_mem_zalloc(sizeof(*config));
    const char *file = scan_arguments(argc, argv, request);
    bool is_good;

    error[0] = '\0';
    if (!config) {
        (void)snprintf(error, CONFIG_ERROR_MAX, "out of memory");
        return NULL;
    }
    config->file = file;
    config->is_listen_default = true;
    is_good = set_defaults(config, error);
    if (is_good && file) {
        config->listen.count = 0;
        is_good = config_read_file(config, file, error);
        config->is_listen_default = config->listen.count == 0;
        if (is_good && config->is_listen_default)
            is_good = set_text(config, &option_table[0], option_table[0].value, "default", error);
    }
    if (is_good && set_from_environment(config, error) &&
        set_from_flags(config, argc, argv, error) && complete(config, error))
        return config;
    if (!error[0])
        (void)snprintf(error, CONFIG_ERROR_MAX, "out of memory");
    config_free(config);
    return NULL;
}

void config_print_help(FILE *out)
{
    (void)fputs(
        "fanfared - a real-time pub/sub message broker over WebSocket\n\n"
        "  fanfared                                 listen on localhost:8080, console page at /\n"
        "  fanfared --listen 0.0.0.0:8080           for other machines, too\n"
        "  fanfared --listen tls:0.0.0.0:8443 --tls-cert chain.pem --tls-key key.pem\n"
        "  fanfared --config /etc/fanfare/fanfare.conf\n"
        "  fanfared --check-config chat/42          what holds, and the rule for a topic\n\n"
        "Every option can stand in the file (max_message = 64K), in the environment\n"
        "(FANFARE_MAX_MESSAGE) or on the command line (--max-message 64K), which wins.\n"
        "SIGHUP reads the file again; SIGTERM says goodbye to all clients and ends, and so does\n"
        "SIGUSR2, which tells them that the broker is restarting.\n\n"
        "  --config FILE          the configuration file\n"
        "  --check-config [TOPIC] print what holds and end\n"
        "  --version, --help\n\nOptions:\n",
        out);
    for (size_t i = 0; i < option_count; i++) {
        char flag[VARIABLE_MAX];

        (void)fprintf(out, "  --%-28s %s", name_flag(option_table[i].name, flag),
                      option_table[i].help);
        if (option_table[i].value[0])
            (void)fprintf(out, " [%s]", option_table[i].value);
        (void)fputs(option_table[i].can_reload ? "\n" : " (needs a restart)\n", out);
    }
    (void)fputs("\nIn the file, for topics that a filter matches; the first that matches holds:\n"
                "  topic \"chat/#\" { overflow = \"latest\" }\n",
                out);
    for (size_t i = 0; i < option_rule_count; i++)
        (void)fprintf(out, "  %-30s %s\n", option_rule_table[i].name, option_rule_table[i].help);
}

/* Does a rule leave it to the option of the same name? */
static bool is_default(const struct option *option, const struct topic_rule *rule)
{
    uint32_t value;

    memcpy(&value, (const char *)rule + option->offset, sizeof(value));
    return value == RULE_DEFAULT;
}

static void print_rule(const struct topic_rule *rule, FILE *out)
{
    (void)fprintf(out, "topic \"%s\" {", rule->filter);
    for (size_t i = 0; i < option_rule_count; i++) {
        if (is_default(&option_rule_table[i], rule))
            continue;
        (void)fprintf(out, " %s = ", option_rule_table[i].name);
        option_print(&option_rule_table[i], rule, out);
    }
    (void)fputs(" }\n", out);
}

/* What the options say where the rule does not. */
static void complete_rule(struct topic_rule *rule, const struct settings *settings)
{
    if (!rule->max_buffered)
        rule->max_buffered = settings->max_buffered;
    if (!rule->max_message)
        rule->max_message = settings->max_message;
    if (rule->history == RULE_DEFAULT)
        rule->history = settings->history;
    if (rule->history_bytes == RULE_DEFAULT)
        rule->history_bytes = settings->history_bytes;
    if (rule->history_seconds == RULE_DEFAULT)
        rule->history_seconds = settings->history_seconds;
}

void config_print(const struct config *config, const char *topic, FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        (void)fprintf(out, "%s = ", option_table[i].name);
        option_print(&option_table[i], config, out);
        (void)fputc('\n', out);
    }
    for (uint32_t i = 0; i < config->rule_count; i++)
        print_rule(&config->rules[i], out);
    if (!topic)
        return;
    if (ff_topic_kind(ff_slice_of(topic)) != FF_TOPIC_NAME) {
        (void)fprintf(out, "# %s is no topic's name: rules are asked for by name\n", topic);
        return;
    }
    for (uint32_t i = 0; i < config->rule_count; i++) {
        if (ff_topic_is_match(ff_slice_of(config->rules[i].filter), ff_slice_of(topic))) {
            struct topic_rule rule = config->rules[i];

            complete_rule(&rule, &config->settings);
            (void)fprintf(out, "# %s: ", topic);
            print_rule(&rule, out);
            return;
        }
    }
    (void)fprintf(out, "# %s: no topic section matches: overflow = skip, max_buffered = %u\n",
                  topic, config->settings.max_buffered);
}

void config_find_restarts(const struct config *begun, const struct config *wanted, char *out,
                          size_t size)
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < option_count; i++) {
        char *texts[2] = {NULL, NULL};
        size_t lens[2];
        const struct config *both[2] = {begun, wanted};

        if (option_table[i].can_reload)
            continue;
        for (int k = 0; k < 2; k++) {
            FILE *stream = open_memstream(&texts[k], &lens[k]);

            if (stream) {
                option_print(&option_table[i], both[k], stream);
                (void)fclose(stream);
            }
        }
        if (texts[0] && texts[1] && strcmp(texts[0], texts[1]) != 0 && len < size)
            len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "",
                                    option_table[i].name);
        free(texts[0]);
        free(texts[1]);
    }
}
