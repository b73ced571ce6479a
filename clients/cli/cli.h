/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - what the commands of `fanfare` share. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <poll.h>
#include <stdio.h>

#include "clients/c/backoff.h"
#include "clients/c/client.h"

/* Exit codes: the request was refused, the broker is out of reach, the command line is wrong. */
enum { CLI_OK = 0, CLI_REFUSED = 1, CLI_UNREACHABLE = 2, CLI_USAGE = 64 };

struct screen;

struct cli {
    struct ff_client_options options;
    struct ff_subscribe subscribe; /* sub: --since, --overflow, --rate, --buffered */
    const char *name;              /* chat: who says it */
    bool is_json;                  /* JSON lines instead of people's output */
    bool is_text;                  /* pub: the message is text even if it looks like JSON */
    bool is_retained;              /* pub: the topic keeps the message */
    bool no_wait;                  /* pub: does not wait for slow readers */
    bool has_time;                 /* sub, chat: when it came stands before each message */
    bool is_once;                  /* a lost connection ends the command */
    unsigned count;                /* ping: how many; sub: end after so many messages, 0: never */
    char **arguments;              /* of the command */
    int argument_count;

    struct ff_client *client;
    struct screen *screen; /* chat on a terminal: where notices must not fall into what is typed */

    /* While the connection is away this is watched, too; false ends the command. May be NULL. */
    bool (*on_wake)(void *arg);
    void *wake_arg;
    struct pollfd wake;

    struct ff_backoff backoff;
    int64_t connected_ms; /* since when, by cli_now_ms(); 0: not connected */
    char why[FF_CLIENT_WHY];
};

/* Connects; false: what is wrong was said. */
bool cli_connect(struct cli *cli);

/*
 * The connection is over: waits and connects again until it holds, and tells on
 * standard error. False: it is not to come back (--once, a close code that says
 * so, Ctrl-C, nobody reads on); cli_ended() tells why.
 */
bool cli_come_back(struct cli *cli);

/* As if the connection had ended by itself, because of a refusal that may not last. */
void cli_disconnect(struct cli *cli, const char *why);

/* The connection is over: says how, unless the user ended it. Returns the exit code. */
int cli_ended(struct cli *cli);

/* A notice of one line on standard error; what others wrote cannot forge it. */
__attribute__((format(printf, 2, 3))) void cli_tell(struct cli *cli, const char *format, ...);

/* Tells that a request was refused, and by which words. */
void cli_tell_refusal(struct cli *cli, const struct ff_message *m);

/* Has Ctrl-C been pressed? */
bool cli_is_stopped(void);

/* Was the program stopped and taken up again (Ctrl-Z, fg) since this was last asked? */
bool cli_was_continued(void);

/* Milliseconds of a clock that only goes on. */
int64_t cli_now_ms(void);

int cli_sub(struct cli *cli);
int cli_pub(struct cli *cli);
int cli_chat(struct cli *cli);
int cli_ping(struct cli *cli);

#endif
