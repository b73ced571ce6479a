/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "clients/cli/help.h"
#include "clients/cli/options.h"
#include "clients/cli/screen.h"

enum { CLI_KILLED = 130 };

static volatile sig_atomic_t is_stopped;
static volatile sig_atomic_t is_continued;

/* The first one ends the command cleanly, the second at once. */
static void on_stop(int number)
{
    (void)number;
    if (is_stopped) {
        screen_restore_terminal();
        _exit(CLI_KILLED);
    }
    is_stopped = 1;
}

static void on_continue(int number)
{
    (void)number;
    is_continued = 1;
}

bool cli_is_stopped(void)
{
    return is_stopped;
}

bool cli_was_continued(void)
{
    bool was = is_continued;

    is_continued = 0;
    return was;
}

static int run(struct cli *cli, enum cli_command command)
{
    struct sigaction stop = {.sa_handler = on_stop};
    struct sigaction go_on = {.sa_handler = on_continue};
    int code;

    if (!cli->options.url || !cli->options.url[0])
        cli->options.url = "ws://127.0.0.1:8080/ws";
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGCONT, &go_on, NULL);
    code = cli_commands[command].run(cli);
    ff_client_free(cli->client);
    return code;
}

int main(int argc, char **argv)
{
    struct cli cli = {.options = {.url = getenv("FANFARE_URL")}, .is_json = !isatty(STDOUT_FILENO)};
    enum cli_command command;

    switch (options_take(&cli, argc, argv, &command)) {
    case OPTIONS_WRONG:
        return CLI_USAGE;
    case OPTIONS_VERSION:
        (void)printf("fanfare %s\n", FF_VERSION);
        return CLI_OK;
    case OPTIONS_HELP:
        if (command == CLI_COMMANDS)
            help_print(stdout);
        else
            help_print_command(stdout, command);
        return CLI_OK;
    case OPTIONS_RUN:
        break;
    }
    if (command == CLI_COMMANDS) {
        help_print(stderr);
        return CLI_USAGE;
    }
    return run(&cli, command);
}
