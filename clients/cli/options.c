/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/options.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/base/guess.h"
#include "protocol/message/number.h"

const struct command cli_commands[CLI_COMMANDS] = {
    [CLI_SUB] = {"sub", cli_sub, 1, 1024, "sub TOPIC...", "print what is published there"},
    [CLI_PUB] = {"pub", cli_pub, 1, 2, "pub TOPIC [MESSAGE | -]", "publish a message, or lines"},
    [CLI_CHAT] = {"chat", cli_chat, 1, 1, "chat TOPIC", "a small chat"},
    [CLI_PING] = {"ping", cli_ping, 0, 0, "ping", "how far away is the broker?"},
};

enum {
    SUB = 1 << CLI_SUB,
    PUB = 1 << CLI_PUB,
    CHAT = 1 << CLI_CHAT,
    PING = 1 << CLI_PING,
    ALL = SUB | PUB | CHAT | PING
};

enum option_id {
    OPTION_URL,
    OPTION_CA,
    OPTION_INSECURE,
    OPTION_JSON,
    OPTION_TIME,
    OPTION_SINCE,
    OPTION_RATE,
    OPTION_OVERFLOW,
    OPTION_BUFFERED,
    OPTION_COUNT,
    OPTION_TEXT,
    OPTION_RETAIN,
    OPTION_NO_WAIT,
    OPTION_NAME,
    OPTION_ONCE,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_IDS
};

static const struct option options[OPTION_IDS] = {
    [OPTION_URL] = {"--url", "URL", ALL,
                    "where the broker is; else FANFARE_URL, else ws://127.0.0.1:8080/ws"},
    [OPTION_CA] = {"--ca", "FILE", ALL,
                   "PEM file of the authority that signed the broker's certificate (wss)"},
    [OPTION_INSECURE] = {"--insecure", NULL, ALL, "take any certificate (wss)"},
    [OPTION_JSON] = {"--json", NULL, SUB | PUB | CHAT | PING, "JSON lines on a terminal, too"},
    [OPTION_TIME] = {"--time", NULL, SUB | CHAT,
                     "when a message came: before it, or in JSON as \"time\" (UTC)"},
    [OPTION_SINCE] = {"--since", "N", SUB,
                      "begin with the last N messages that the topic keeps, a retained one too"},
    [OPTION_RATE] = {"--rate", "R", SUB,
                     "at most R messages a second, to 100, fractions too: the newest of each "
                     "interval"},
    [OPTION_OVERFLOW] = {"--overflow", "RULE", SUB,
                         "when this reader is too slow: skip, latest or close"},
    [OPTION_BUFFERED] = {"--buffered", "N", SUB,
                         "at most N octets behind: beyond them the rule acts"},
    [OPTION_COUNT] = {"--count", "N", SUB | PING, "end after N messages, or pings"},
    [OPTION_TEXT] = {"--text", NULL, PUB, "the message is text even if it looks like JSON"},
    [OPTION_RETAIN] = {"--retain", NULL, PUB,
                       "the topic keeps it for who asks for the past; null takes it back"},
    [OPTION_NO_WAIT] = {"--no-wait", NULL, PUB, "do not wait for readers that are far behind"},
    [OPTION_NAME] = {"--name", "NAME", CHAT, "your name; else the one that you logged in with"},
    [OPTION_ONCE] = {"--once", NULL, SUB | PUB | CHAT,
                     "end when the connection is lost, with 2, instead of coming back"},
    [OPTION_HELP] = {"--help", NULL, ALL, "this; without a command: all of them"},
    [OPTION_VERSION] = {"--version", NULL, ALL, "which fanfare this is"},
};

const struct option *options_at(size_t i)
{
    return i < OPTION_IDS ? &options[i] : NULL;
}

static enum options_action wrong(const char *before, const char *what, const char *behind)
{
    (void)fprintf(stderr, "fanfare: %s%s%s; fanfare --help teaches it\n", before, what, behind);
    return OPTIONS_WRONG;
}

static enum options_action unknown(const char *kind, const char *word, const struct ff_guess *guess)
{
    (void)fprintf(stderr, "fanfare: there is no %s %s", kind, word);
    if (guess->best)
        (void)fprintf(stderr, ": did you mean %s?", guess->best);
    (void)fputs(guess->best ? " fanfare --help lists them\n" : "; fanfare --help lists them\n",
                stderr);
    return OPTIONS_WRONG;
}

static enum options_action take_count(struct cli *cli, const char *value)
{
    char *end;
    unsigned long count = strtoul(value, &end, 10);

    if (*value < '0' || *value > '9' || *end || count == 0 || count > UINT32_MAX)
        return wrong("--count takes a number above 0, not ", value, "");
    cli->count = (unsigned)count;
    return OPTIONS_RUN;
}

static enum options_action take_since(struct cli *cli, const char *value)
{
    struct ff_number number = ff_number_read(ff_slice_of(value));

    if (number.kind != FF_NUMBER_UINT && !(number.kind == FF_NUMBER_INT && number.i >= 0))
        return wrong("--since takes a number of messages, not ", value, "");
    cli->subscribe.since = value;
    return OPTIONS_RUN;
}

static enum options_action take_rate(struct cli *cli, const char *value)
{
    struct ff_number number = ff_number_read(ff_slice_of(value));

    if (number.kind == FF_NUMBER_NONE || !((number.d >= 0 && number.d <= 100) || number.d == -1))
        return wrong("--rate takes messages a second, 0 to 100 (0 pauses), or -1 for all, not ",
                     value, "");
    cli->subscribe.rate = value;
    return OPTIONS_RUN;
}

static enum options_action take_buffered(struct cli *cli, const char *value)
{
    struct ff_number number = ff_number_read(ff_slice_of(value));

    if (number.kind != FF_NUMBER_UINT && !(number.kind == FF_NUMBER_INT && number.i >= 0))
        return wrong("--buffered takes a number of octets, not ", value, "");
    cli->subscribe.buffered = value;
    return OPTIONS_RUN;
}

static enum options_action take_overflow(struct cli *cli, const char *value)
{
    static const char *rules[] = {"skip", "latest", "close"};
    struct ff_guess guess = ff_guess_of(value);

    for (size_t i = 0; i < FF_COUNT(rules); i++) {
        ff_guess_consider(&guess, rules[i]);
        if (strcmp(value, rules[i]) == 0)
            cli->subscribe.overflow = rules[i];
    }
    if (!cli->subscribe.overflow)
        return wrong("--overflow takes skip, latest or close, not ", value, "");
    return OPTIONS_RUN;
}

static enum options_action take_option(struct cli *cli, enum option_id id, const char *value)
{
    switch (id) {
    case OPTION_URL:
        cli->options.url = value;
        break;
    case OPTION_CA:
        cli->options.ca_file = value;
        break;
    case OPTION_NAME:
        cli->name = value;
        break;
    case OPTION_INSECURE:
        cli->options.is_insecure = true;
        break;
    case OPTION_JSON:
        cli->is_json = true;
        break;
    case OPTION_TIME:
        cli->has_time = true;
        break;
    case OPTION_TEXT:
        cli->is_text = true;
        break;
    case OPTION_RETAIN:
        cli->is_retained = true;
        break;
    case OPTION_NO_WAIT:
        cli->no_wait = true;
        break;
    case OPTION_ONCE:
        cli->is_once = true;
        break;
    case OPTION_COUNT:
        return take_count(cli, value);
    case OPTION_SINCE:
        return take_since(cli, value);
    case OPTION_RATE:
        return take_rate(cli, value);
    case OPTION_BUFFERED:
        return take_buffered(cli, value);
    case OPTION_OVERFLOW:
        return take_overflow(cli, value);
    case OPTION_HELP:
        return OPTIONS_HELP;
    case OPTION_VERSION:
        return OPTIONS_VERSION;
    case OPTION_IDS:
        break;
    }
    return OPTIONS_RUN;
}

/* Which option `argv[*i]` is, its value (`--rate 5`, `--rate=5`), done. `*given` has its bit set.
 */
static enum options_action take_argument(struct cli *cli, int argc, char **argv, int *i,
                                         unsigned *given)
{
    const char *word = argv[*i];
    const char *equals = strchr(word, '=');
    struct ff_slice name = {word, equals ? (size_t)(equals - word) : strlen(word)};
    struct ff_guess guess = ff_guess_of(word);

    if (strcmp(word, "-h") == 0)
        name = FF_SLICE("--help");
    guess.word.len = name.len;
    for (unsigned id = 0; id < OPTION_IDS; id++) {
        const char *value = equals ? equals + 1 : NULL;

        ff_guess_consider(&guess, options[id].name);
        if (!ff_slice_is_equal(name, ff_slice_of(options[id].name)))
            continue;
        if (value && !options[id].value)
            return wrong(options[id].name, " takes no value", "");
        if (!value && options[id].value && *i + 1 < argc)
            value = argv[++*i];
        if (!value && options[id].value)
            return wrong("a value is missing behind ", options[id].name, "");
        *given |= 1U << id;
        return take_option(cli, (enum option_id)id, value);
    }
    return unknown("option", word, &guess);
}

static enum options_action take_command(const char *word, enum cli_command *command)
{
    struct ff_guess guess = ff_guess_of(word);

    for (unsigned i = 0; i < CLI_COMMANDS; i++) {
        ff_guess_consider(&guess, cli_commands[i].name);
        if (strcmp(word, cli_commands[i].name) == 0) {
            *command = (enum cli_command)i;
            return OPTIONS_RUN;
        }
    }
    if (strcmp(word, "help") == 0)
        return OPTIONS_HELP;
    return unknown("command", word, &guess);
}

/* Does each option that was given do anything for this command? */
static enum options_action check(const struct cli *cli, enum cli_command command, unsigned given)
{
    const struct command *c = &cli_commands[command];

    for (unsigned id = 0; id < OPTION_IDS; id++)
        if (given >> id & 1 && !(options[id].commands >> command & 1))
            return wrong(options[id].name, " does nothing for fanfare ", c->name);
    if (cli->argument_count < c->least || cli->argument_count > c->most)
        return wrong("usage: fanfare ", c->usage, "");
    return OPTIONS_RUN;
}

enum options_action options_take(struct cli *cli, int argc, char **argv, enum cli_command *command)
{
    enum options_action action = OPTIONS_RUN;
    unsigned given = 0;
    bool is_literal = false;

    *command = CLI_COMMANDS;
    cli->arguments = argv; /* what is no option moves to the front */
    for (int i = 1; i < argc; i++) {
        enum options_action asked = OPTIONS_RUN;

        if (!is_literal && strcmp(argv[i], "--") == 0)
            is_literal = true;
        else if (!is_literal && argv[i][0] == '-' && argv[i][1])
            asked = take_argument(cli, argc, argv, &i, &given);
        else if (*command == CLI_COMMANDS)
            asked = take_command(argv[i], command);
        else
            cli->arguments[cli->argument_count++] = argv[i];
        if (asked == OPTIONS_WRONG)
            return asked;
        if (asked != OPTIONS_RUN && action == OPTIONS_RUN)
            action = asked;
    }
    if (action == OPTIONS_RUN && *command != CLI_COMMANDS)
        action = check(cli, *command, given);
    return action;
}
