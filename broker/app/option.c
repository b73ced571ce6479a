/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option.c - the table of options.def: how a text becomes a value, what --help and
 * the man page say of it, and, at compile time, that no option reaches farther than
 * the field which counts what it limits.
 */
#include "broker/app/option.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/net/outbox.h"
#include "broker/session/session.h"
#include "protocol/websocket/http.h"

enum { RESTART, RELOAD };

/* Octets that a value of each kind takes in its field. */
enum {
    OCTETS_COUNT = sizeof(uint32_t),
    OCTETS_SIZE = sizeof(uint32_t),
    OCTETS_SIZE64 = sizeof(uint64_t),
    OCTETS_BOOL = sizeof(bool),
    OCTETS_TEXT = sizeof(const char *),
    OCTETS_LIST = sizeof(struct text_list),
    OCTETS_CHOICE = sizeof(uint32_t),
};

#define BITS(number) (64 - __builtin_clzll((number) | 1ULL))

/* A field that is narrower than its option would hold another number than was said. */
#define ASSERT_FIELD(kind, type, field, most)                                                 \
    _Static_assert(sizeof(((type *)0)->field) == OCTETS_##kind, #field " has another width"); \
    _Static_assert(BITS(most) <= 8 * OCTETS_##kind, #field " is too narrow");
#define OPTION(kind, name, field, value, least, most, reload, help) \
    ASSERT_FIELD(kind, struct config, field, most)
#define RULE(kind, name, field, least, most, help) \
    ASSERT_FIELD(kind, struct topic_rule, field, most)
#include "broker/app/options.def"

/* Bits that are needed to count one further than each option goes. */
enum {
#define OPTION(kind, name, field, value, least, most, reload, help) \
    BITS_##name = BITS((most) + 1ULL),
#include "broker/app/options.def"
};

/* What is held against an option while the broker runs must get that far, or it never says no.
 */
#define ASSERT_COUNTER(name, type, field)                         \
    _Static_assert(BITS_##name <= 8 * sizeof(((type *)0)->field), \
                   #field " cannot count as far as " #name " goes")
_Static_assert((int)BITS_max_subscriptions <= (int)SUBSCRIPTIONS_BITS, "see subscriptions.h");
ASSERT_COUNTER(max_subscribed_filters, struct subscriptions, filter_count);
ASSERT_COUNTER(pings_per_second, struct session, controls);
ASSERT_COUNTER(heartbeat, struct session, heartbeat_s);
ASSERT_COUNTER(max_head, struct session, http.scanned);
_Static_assert((int)FF_HTTP_HEAD_MOST <= (int)NET_RECEIVE_SIZE, "a head is read as a whole");
ASSERT_COUNTER(max_message, struct ff_reader, max_message);
ASSERT_COUNTER(max_message, struct ff_reader, message_len);
ASSERT_COUNTER(max_message, struct router_limits, max_message);
ASSERT_COUNTER(max_buffered, struct router_limits, max_buffered);
ASSERT_COUNTER(outbox, struct outbox, len);
ASSERT_COUNTER(outbox, struct net, outbox_max);
ASSERT_COUNTER(memory, struct net, budget.max);
ASSERT_COUNTER(max_connections, struct gateway, session_count);
ASSERT_COUNTER(max_connections, struct shared, sessions);
ASSERT_COUNTER(max_connections, struct worker, load);
ASSERT_COUNTER(max_half_open, struct gateway, half_open_count);
ASSERT_COUNTER(max_topics, struct registry, topic_tally.own);
ASSERT_COUNTER(max_topics, struct shared, topics);
ASSERT_COUNTER(max_filters, struct filter_tree, count);
ASSERT_COUNTER(max_keys, struct router_limits, max_keys);
ASSERT_COUNTER(max_retained, struct registry, retained_tally.own);
ASSERT_COUNTER(max_retained, struct shared, retained);
ASSERT_COUNTER(dedup_seconds, struct router_limits, dedup_seconds);
ASSERT_COUNTER(dedup_seconds, struct topic_rule, dedup_seconds);

const struct option option_table[] = {
#define OPTION(kind, name, field, value, least, most, reload, help)   \
    {#name,   (value), (help),        offsetof(struct config, field), \
     (least), (most),  OPTION_##kind, (reload) == RELOAD},
#include "broker/app/options.def"
};
const size_t option_count = FF_COUNT(option_table);

const struct option option_rule_table[] = {
#define RULE(kind, name, field, least, most, help) \
    {#name, NULL, (help), offsetof(struct topic_rule, field), (least), (most), OPTION_##kind, true},
#include "broker/app/options.def"
};
const size_t option_rule_count = FF_COUNT(option_rule_table);

/* The words of each CHOICE, in the order of their numbers. */
static const struct choice {
    const char *option;
    const char *const words[5];
} choice_table[] = {
    {"log_level", {"error", "warn", "info", "debug"}},
    {"log_format", {"text", "json"}},
    {"flush", {"auto", "send", "uring"}},
    {"engine", {"memory", "redis"}},
    {"deflate", {"off", "on"}},
    {"plain_format", {"json", "text", "raw"}},
    {"overflow", {"skip", "latest", "close"}},
};

static const char *const *choices(const struct option *option)
{
    for (size_t i = 0; i < FF_COUNT(choice_table); i++)
        if (strcmp(option->name, choice_table[i].option) == 0)
            return choice_table[i].words;
    FF_UNREACHABLE();
}

const struct option *option_find(const char *name, size_t len)
{
    for (size_t i = 0; i < option_count; i++) {
        const char *known = option_table[i].name;
        size_t k = 0;

        if (strlen(known) != len)
            continue;
        while (k < len && (name[k] == '-' ? '_' : name[k]) == known[k])
            k++;
        if (k == len)
            return &option_table[i];
    }
    return NULL;
}

struct ff_guess option_guess(const char *word)
{
    struct ff_guess guess = ff_guess_of(word);

    for (size_t i = 0; i < option_count; i++)
        ff_guess_consider(&guess, option_table[i].name);
    return guess;
}

/* What the letter behind a size multiplies it by, as a shift; 0: no such letter. */
static int find_unit(char letter)
{
    switch (letter) {
    case 'K':
    case 'k':
        return 10;
    case 'M':
    case 'm':
        return 20;
    case 'G':
    case 'g':
        return 30;
    default:
        return 0;
    }
}

static bool read_number(const struct option *option, const char *text, uint64_t *out)
{
    char *end;

    *out = 0;
    if (strcmp(text, "auto") == 0 && option->value && strcmp(option->value, "auto") == 0)
        return true;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *out = strtoull(text, &end, 10);
    if (option->kind != OPTION_COUNT && *end) {
        int shift = find_unit(*end);

        if (!shift || *out > UINT64_MAX >> shift)
            return false;
        *out <<= shift;
        end++;
    }
    return *end == '\0' && *out >= option->least && *out <= option->most;
}

static bool set_number(const struct option *option, void *at, const char *text, char *why,
                       size_t size)
{
    uint64_t number;
    uint32_t number32;

    if (!read_number(option, text, &number)) {
        (void)snprintf(why, size, "%s takes %s from %" PRIu64 " to %" PRIu64 ", not \"%s\"",
                       option->name,
                       option->kind == OPTION_COUNT ? "a number" : "a size (64K, 1M, 2G)",
                       option->least, option->most, text);
        return false;
    }
    number32 = (uint32_t)number;
    if (option->kind == OPTION_SIZE64)
        memcpy(at, &number, sizeof(number));
    else
        memcpy(at, &number32, sizeof(number32));
    return true;
}

static bool set_bool(const struct option *option, void *at, const char *text, char *why,
                     size_t size)
{
    bool on = strcmp(text, "true") == 0 || strcmp(text, "on") == 0 || strcmp(text, "yes") == 0 ||
              strcmp(text, "1") == 0;
    bool off = strcmp(text, "false") == 0 || strcmp(text, "off") == 0 || strcmp(text, "no") == 0 ||
               strcmp(text, "0") == 0;

    if (on || off)
        memcpy(at, &on, sizeof(on));
    else
        (void)snprintf(why, size, "%s takes true or false, not \"%s\"", option->name, text);
    return on || off;
}

static bool set_choice(const struct option *option, void *at, const char *text, char *why,
                       size_t size)
{
    const char *const *words = choices(option);

    for (uint32_t i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0) {
            memcpy(at, &i, sizeof(i));
            return true;
        }
    }
    (void)snprintf(why, size, "%s takes one of the words in its description (%s), not \"%s\"",
                   option->name, option->help, text);
    return false;
}

bool option_set(const struct option *option, void *base, struct config *owner, const char *text,
                char *why, size_t why_size)
{
    char *at = (char *)base + option->offset;
    const char *copy;

    switch (option->kind) {
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_SIZE64:
        return set_number(option, at, text, why, why_size);
    case OPTION_BOOL:
        return set_bool(option, at, text, why, why_size);
    case OPTION_CHOICE:
        return set_choice(option, at, text, why, why_size);
    case OPTION_TEXT:
        copy = config_keep(owner, text, strlen(text));
        memcpy(at, &copy, sizeof(copy));
        if (!copy)
            (void)snprintf(why, why_size, "out of memory");
        return copy != NULL;
    case OPTION_LIST:
        break;
    }
    FF_UNREACHABLE();
}

bool option_set_list(const struct option *option, struct config *config, const char *const *texts,
                     uint32_t count)
{
    struct text_list list = {NULL, count};
    size_t size = (count ? count : 1U) * sizeof(const char *);
    char *memory = config_keep(config, texts, size);
    const char **copies = (void *)memory;

    if (!memory)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        copies[i] = config_keep(config, texts[i], strlen(texts[i]));
        if (!copies[i])
            return false;
    }
    list.at = copies;
    memcpy((char *)config + option->offset, &list, sizeof(list));
    return true;
}

static void print_size(uint64_t v, FILE *out)
{
    static const char units[] = "KMG";
    int unit = -1;

    while (v && v % 1024 == 0 && unit < 2) {
        v /= 1024;
        unit++;
    }
    (void)fprintf(out, unit < 0 ? "%" PRIu64 : "%" PRIu64 "%c", v, unit < 0 ? ' ' : units[unit]);
}

static void print_quoted(const char *text, FILE *out)
{
    (void)fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            (void)fputc('\\', out);
        (void)fputc(*text, out);
    }
    (void)fputc('"', out);
}

void option_print(const struct option *option, const void *base, FILE *out)
{
    const char *at = (const char *)base + option->offset;
    struct text_list list;
    const char *text;
    uint64_t number = 0;
    bool flag;

    switch (option->kind) {
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_SIZE64:
        memcpy(&number, at, option->kind == OPTION_SIZE64 ? sizeof(uint64_t) : sizeof(uint32_t));
        if (option->kind == OPTION_COUNT)
            (void)fprintf(out, "%" PRIu64, number);
        else
            print_size(number, out);
        break;
    case OPTION_BOOL:
        memcpy(&flag, at, sizeof(flag));
        (void)fputs(flag ? "true" : "false", out);
        break;
    case OPTION_CHOICE:
        memcpy(&number, at, sizeof(uint32_t));
        (void)fputs(choices(option)[number], out);
        break;
    case OPTION_TEXT:
        memcpy(&text, at, sizeof(text));
        print_quoted(text, out);
        break;
    case OPTION_LIST:
        memcpy(&list, at, sizeof(list));
        (void)fputc('{', out);
        for (uint32_t i = 0; i < list.count; i++) {
            (void)fputs(i ? ", " : "", out);
            print_quoted(list.at[i], out);
        }
        (void)fputc('}', out);
        break;
    }
}
