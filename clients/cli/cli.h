/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - what the commands of `fanfare` share. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "clients/c/client.h"

/* Exit codes: the request was refused, the broker is out of reach, the command line is wrong. */
enum { CLI_OK = 0, CLI_REFUSED = 1, CLI_UNREACHABLE = 2, CLI_USAGE = 64 };

struct cli {
    struct ff_client_options options;
    const char *name; /* chat: who says it */
    bool is_json;     /* JSON lines instead of people's output */
    bool is_text;     /* pub: the message is text even if it looks like JSON */
    bool no_wait;     /* pub: does not wait for slow readers */
    unsigned count;   /* ping: how many; sub: end after so many messages, 0: never */
    char **arguments; /* of the command */
    int argument_count;
    struct ff_client *client;
};

/* Connects; false: what is wrong was said. */
bool cli_connect(struct cli *cli);

/* The connection is over: says how, unless the user ended it. Returns the exit code. */
int cli_ended(const struct cli *cli);

/* Has Ctrl-C been pressed? */
bool cli_is_stopped(void);

/* Prints text from the network with what could steer a terminal taken out. */
void cli_print_text(FILE *out, struct ff_slice text);

int cli_sub(struct cli *cli);
int cli_pub(struct cli *cli);
int cli_chat(struct cli *cli);
int cli_ping(struct cli *cli);

#endif
