/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/cli/cli.h"

static volatile sig_atomic_t is_stopped;

static void on_signal(int number)
{
    (void)number;
    is_stopped = 1;
}

bool cli_is_stopped(void)
{
    return is_stopped;
}

void cli_print_text(FILE *out, struct ff_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];

        if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
            (void)fprintf(out, "\\x%02x", c);
        else
            (void)fputc(c, out);
    }
}

bool cli_connect(struct cli *cli)
{
    char why[FF_CLIENT_WHY];

    cli->client = ff_client_open(&cli->options, why);
    if (!cli->client)
        (void)fprintf(stderr, "fanfare: %s\n", why);
    return cli->client != NULL;
}

int cli_ended(const struct cli *cli)
{
    if (cli_is_stopped())
        return CLI_OK;
    (void)fprintf(stderr, "fanfare: %s\n", ff_client_why(cli->client));
    return CLI_UNREACHABLE;
}

static void print_help(FILE *out)
{
    (void)fputs(
        "fanfare - talk to a Fanfare broker\n\n"
        "  fanfare sub room/42                 print what is published there, until Ctrl-C\n"
        "  fanfare sub 'room/#' news           several topics and filters\n"
        "  fanfare sub room/42 | jq .message   piped: a JSON object a line\n"
        "  fanfare pub room/42 'Hello'         publish a text\n"
        "  fanfare pub room/42 '{\"n\":1}'       publish JSON\n"
        "  tail -f log | fanfare pub logs -    each line a message, as fast as readers take them\n"
        "  fanfare chat room/42 --name Ada     a small chat\n"
        "  fanfare ping                        how far away is the broker?\n\n"
        "Options:\n"
        "  --url URL     where the broker is; else FANFARE_URL, else ws://127.0.0.1:8080/ws\n"
        "  --ca FILE     PEM file of the authority that signed the broker's certificate (wss)\n"
        "  --insecure    take any certificate (wss)\n"
        "  --json        JSON lines on a terminal, too\n"
        "  --text        pub: the message is text even if it looks like JSON\n"
        "  --no-wait     pub: do not wait for readers that are far behind\n"
        "  --name NAME   chat: your name\n"
        "  --count N     sub: end after N messages; ping: how many\n"
        "  --version, --help\n\n"
        "Gaps (messages that a slow reader missed) are told on standard error. A command ends\n"
        "with 2 when the connection is lost; it does not come back by itself.\n"
        "Exit codes: 0 done, 1 the broker refused, 2 the broker is out of reach, 64 usage.\n",
        out);
}

static int usage(const char *why, const char *what)
{
    (void)fprintf(stderr, "fanfare: %s%s; fanfare --help teaches it\n", why, what);
    return CLI_USAGE;
}

/* The value of an option that needs one; NULL: it is missing. */
static const char *take_value(int argc, char **argv, int *i)
{
    return *i + 1 < argc ? argv[++*i] : NULL;
}

/* Takes the option at `*i`: CLI_OK or CLI_USAGE. */
static int take_option(struct cli *cli, int argc, char **argv, int *i)
{
    const struct {
        const char *name;
        const char **value;
    } texts[] = {
        {"--url", &cli->options.url}, {"--ca", &cli->options.ca_file}, {"--name", &cli->name}};
    const char *option = argv[*i];
    const char *value;

    for (size_t k = 0; k < FF_COUNT(texts); k++) {
        if (strcmp(option, texts[k].name) != 0)
            continue;
        *texts[k].value = take_value(argc, argv, i);
        return *texts[k].value ? CLI_OK : usage("a value is missing behind ", option);
    }
    if (strcmp(option, "--insecure") == 0)
        cli->options.is_insecure = true;
    else if (strcmp(option, "--json") == 0)
        cli->is_json = true;
    else if (strcmp(option, "--text") == 0)
        cli->is_text = true;
    else if (strcmp(option, "--no-wait") == 0)
        cli->no_wait = true;
    else if (strcmp(option, "--count") == 0) {
        char *end = NULL;

        value = take_value(argc, argv, i);
        cli->count = value ? (unsigned)strtoul(value, &end, 10) : 0;
        if (!value || *end || !cli->count)
            return usage("--count takes a number above 0", "");
    } else {
        return usage("unknown option ", option);
    }
    return CLI_OK;
}

static int run_command(const char *command, struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct cli *cli);
        int least;
        int most;
        const char *wants;
    } commands[] = {
        {"sub", cli_sub, 1, 1024, "sub TOPIC..."},
        {"pub", cli_pub, 1, 2, "pub TOPIC MESSAGE, or - for lines of standard input"},
        {"chat", cli_chat, 1, 1, "chat TOPIC"},
        {"ping", cli_ping, 0, 0, "ping"},
    };
    int code;

    for (size_t i = 0; i < FF_COUNT(commands); i++) {
        if (strcmp(command, commands[i].name) != 0)
            continue;
        if (cli->argument_count < commands[i].least || cli->argument_count > commands[i].most)
            return usage("usage: fanfare ", commands[i].wants);
        code = commands[i].run(cli);
        ff_client_free(cli->client);
        return code;
    }
    return usage("unknown command ", command);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct cli cli = {.options = {.url = getenv("FANFARE_URL")}, .is_json = !isatty(STDOUT_FILENO)};
    const char *command = NULL;
    bool is_literal = false;

    cli.arguments = argv; /* what is no option moves to the front */
    for (int i = 1; i < argc; i++) {
        if (!is_literal && strcmp(argv[i], "--") == 0) {
            is_literal = true;
        } else if (!is_literal && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_help(stdout);
            return CLI_OK;
        } else if (!is_literal && strcmp(argv[i], "--version") == 0) {
            (void)printf("fanfare %s\n", FF_VERSION);
            return CLI_OK;
        } else if (!is_literal && argv[i][0] == '-' && argv[i][1]) {
            if (take_option(&cli, argc, argv, &i))
                return CLI_USAGE;
        } else if (!command) {
            command = argv[i];
        } else {
            cli.arguments[cli.argument_count++] = argv[i];
        }
    }
    if (!command) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (!cli.options.url || !cli.options.url[0])
        cli.options.url = "ws://127.0.0.1:8080/ws";
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    return run_command(command, &cli);
}
