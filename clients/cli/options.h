/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - the commands of `fanfare`, their options, and the command line taken apart. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "clients/cli/cli.h"

enum cli_command { CLI_SUB, CLI_PUB, CLI_CHAT, CLI_PING, CLI_COMMANDS };

struct command {
    const char *name;
    int (*run)(struct cli *cli);
    int least; /* arguments */
    int most;
    const char *usage;
    const char *teaches; /* one line */
};

extern const struct command cli_commands[CLI_COMMANDS];

struct option {
    const char *name;  /* with its dashes */
    const char *value; /* what stands for it in the help; NULL: it has none */
    unsigned commands; /* for which, a bit each */
    const char *help;
};

/* The i-th option, NULL behind the last. */
const struct option *options_at(size_t i);

/* What the command line asks for beside running a command. */
enum options_action { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_WRONG };

/*
 * Fills `cli`; its arguments move to the front of `argv`. `*command` is
 * CLI_COMMANDS where none was named. WRONG: what is wrong was said.
 */
enum options_action options_take(struct cli *cli, int argc, char **argv, enum cli_command *command);

#endif
