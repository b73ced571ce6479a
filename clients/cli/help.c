/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/help.h"

enum { OPTION_COLUMN = 19 };

#define COMING_BACK                                                                            \
    "  A lost connection is made again, after a pause that grows from half a second to 20 s\n" \
    "  and is drawn at random, or the one that the broker asked for; each step is told on\n"   \
    "  standard error. --once ends instead, with 2. So do close codes that say not to come\n"  \
    "  back (a token, a permission), and a broker that cannot be reached in the first place.\n"

static const char *const texts[CLI_COMMANDS] = {
    [CLI_SUB] =
        "Examples:\n"
        "  fanfare sub room/42                   what is published there, until Ctrl-C\n"
        "  fanfare sub 'room/#' news             several topics and filters: + is one level, # all "
        "below\n"
        "  fanfare sub room/42 | jq .message     piped: a JSON object a line\n"
        "  fanfare sub --time --count 10 news    the next ten, and when they came\n"
        "  fanfare sub --since 20 room/42        the last 20 first, as far as they are kept\n"
        "  fanfare sub --rate 2 prices           two a second, always the newest\n"
        "  fanfare sub --overflow latest prices  on a slow line: the newest, not a backlog\n"
        "\n"
        "What is lost:\n"
        "  A reader that is too slow misses messages; how many is told on standard error, where\n"
        "  they are missing. --overflow skip goes on with the oldest that the broker still has,\n"
        "  latest with the newest, close ends the connection; --buffered 65536 says how far\n"
        "  behind it may be (skip: with the oldest of the last 65,536 octets).\n" COMING_BACK
        "  What is published while the connection is away follows then, as far as its topic keeps\n"
        "  it; what is gone is told. Only what filters would have heard is missed.\n",
    [CLI_PUB] =
        "Examples:\n"
        "  fanfare pub room/42 'Hello'           a text\n"
        "  fanfare pub room/42 '{\"n\":1}'         JSON\n"
        "  fanfare pub room/42 --text 42         the text \"42\", not the number\n"
        "  fanfare pub room/42/title 'Cats' --retain   for who asks later: sub --since 1\n"
        "  tail -f log | fanfare pub logs -      each line a message, as fast as readers take "
        "them\n"
        "  seq 1000 | fanfare pub n - --no-wait  faster: slow readers are told what they miss\n"
        "\n"
        "What is lost:\n"
        "  Each message is answered, and a refusal is told. With - :\n" COMING_BACK
        "  Meanwhile standard input is not read. What was sent and not answered (at most 256\n"
        "  lines) is sent again, in its order, and that is told: nobody knows which of it the\n"
        "  broker took, and a message that arrives twice can be seen, one that is missing\n"
        "  cannot. Only what was too large for the broker (1009) is not sent again.\n"
        "  A single MESSAGE is not sent again: the command ends with 2.\n",
    [CLI_CHAT] =
        "Examples:\n"
        "  fanfare chat room/42 --name Ada       a line is said with Enter; Ctrl-D ends\n"
        "  fanfare chat room/42 --time           with the time before each line\n"
        "  uptime | fanfare chat room/42         a line from a script\n"
        "\n"
        "Lines are {\"from\":NAME,\"text\":LINE}; what else is published on the topic is shown "
        "behind\n"
        "a colon without a name. A name proves nothing: anybody may take any.\n"
        "Keys: backspace, Ctrl-W (word), Ctrl-U (line).\n"
        "\n"
        "What is lost:\n" COMING_BACK
        "  What is typed meanwhile is said then, and what had no answer is said again, so it may\n"
        "  be there twice. What others said meanwhile follows, as far as the topic keeps it.\n",
    [CLI_PING] = "Examples:\n"
                 "  fanfare ping                          four times\n"
                 "  fanfare ping --count 1 --url wss://broker.example/ws\n"
                 "  fanfare ping --json | jq .ms\n",
};

static void print_options(FILE *out, unsigned commands)
{
    const struct option *option;

    (void)fputs("Options:\n", out);
    for (size_t i = 0; (option = options_at(i)); i++) {
        int width;

        if (!(option->commands & commands))
            continue;
        width = fprintf(out, "  %s%s%s", option->name, option->value ? " " : "",
                        option->value ? option->value : "");
        (void)fprintf(out, "%*s%s\n", width < OPTION_COLUMN ? OPTION_COLUMN - width : 1, "",
                      option->help);
    }
}

void help_print(FILE *out)
{
    (void)fputs(
        "fanfare - talk to a Fanfare broker\n\n"
        "  fanfare sub room/42                 print what is published there, until Ctrl-C\n"
        "  fanfare sub 'room/#' news           several topics and filters\n"
        "  fanfare sub room/42 | jq .message   piped: a JSON object a line\n"
        "  fanfare pub room/42 'Hello'         publish a text\n"
        "  fanfare pub room/42 '{\"n\":1}'       publish JSON\n"
        "  tail -f log | fanfare pub logs -    each line a message, as fast as readers take "
        "them\n"
        "  fanfare chat room/42 --name Ada     a small chat\n"
        "  fanfare ping                        how far away is the broker?\n\n"
        "  fanfare COMMAND --help              teaches one of them, with examples\n\n",
        out);
    print_options(out, ~0U);
    (void)fputs(
        "\nGaps (messages that a slow reader missed) are told on standard error. sub, chat and\n"
        "pub - come back by themselves when a connection is lost; --once ends instead.\n"
        "Exit codes: 0 done, 1 the broker refused, 2 the broker is out of reach, 64 usage.\n",
        out);
}

void help_print_command(FILE *out, enum cli_command command)
{
    const struct command *c = &cli_commands[command];

    (void)fprintf(out, "fanfare %s - %s\n\n%s\n", c->usage, c->teaches, texts[command]);
    print_options(out, 1U << command);
}
