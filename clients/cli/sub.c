/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "clients/cli/text.h"
#include "protocol/base/codes.h"

/* A JSON object a line; `time` is put before its fields where that was asked for. */
static void print_line(const struct cli *cli, FILE *out, struct ff_slice raw)
{
    if (cli->has_time && out == stdout && raw.len > 1 && raw.at[0] == '{') {
        char time[TEXT_TIME_SIZE];

        text_time(time, true);
        (void)fprintf(out, "{\"time\":\"%s\",", time);
        raw = (struct ff_slice){raw.at + 1, raw.len - 1};
    }
    text_print_json(out, raw, isatty(fileno(out)));
    (void)fputc('\n', out);
}

static void print_message(const struct cli *cli, const struct ff_message *m, struct ff_slice raw)
{
    if (cli->is_json) {
        print_line(cli, stdout, raw);
    } else {
        if (cli->has_time) {
            char time[TEXT_TIME_SIZE];

            text_time(time, false);
            (void)printf("%s  ", time);
        }
        text_print(stdout, ff_message_text(m, FF_FIELD_TOPIC));
        (void)fputs("  ", stdout);
        text_print_json(stdout, m->payload.bytes, true);
        (void)fputc('\n', stdout);
    }
    (void)fflush(stdout);
}

static void print_gap(const struct cli *cli, const struct ff_message *m, struct ff_slice raw)
{
    if (cli->is_json) {
        print_line(cli, stderr, raw);
        return;
    }
    (void)fputs("fanfare: gap in ", stderr);
    text_print(stderr, ff_message_text(m, FF_FIELD_TOPIC));
    if (ff_message_has(m, FF_FIELD_SKIPPED))
        (void)fprintf(stderr, ": %" PRIu64 " messages missed", m->values[FF_FIELD_SKIPPED].integer);
    (void)fputs(" (", stderr);
    text_print(stderr, ff_message_text(m, FF_FIELD_CAUSE));
    (void)fputs(")\n", stderr);
}

/* Nobody reads our output any more. */
static bool is_reader_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};

    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

static bool is_reader_there(void *arg)
{
    (void)arg;
    return !is_reader_gone();
}

static bool subscribe_all(struct cli *cli)
{
    for (int i = 0; i < cli->argument_count; i++)
        if (!ff_client_subscribe(cli->client, (uint64_t)i + 1, ff_slice_of(cli->arguments[i]),
                                 &cli->subscribe))
            return false;
    return true;
}

/* Subscribes again on a new connection. False: the command ends. */
static bool come_back(struct cli *cli)
{
    while (cli_come_back(cli)) {
        if (subscribe_all(cli)) {
            cli_tell(cli, "whatever was published meanwhile is missed: the broker keeps no history "
                          "yet");
            return true;
        }
    }
    return false;
}

/* One message. False: the command ends, with `*code`. */
static bool take(struct cli *cli, const struct ff_message *m, struct ff_slice raw, int *code)
{
    if (m->type == FF_TYPE_ERROR) {
        cli_tell_refusal(cli, m);
        *code = CLI_REFUSED;
        if (cli->is_once || !ff_error_can_retry((int)m->values[FF_FIELD_CODE].integer))
            return false;
        cli_disconnect(cli, "a subscription was refused for now");
        *code = CLI_UNREACHABLE;
        return come_back(cli);
    }
    if (m->type == FF_TYPE_GAP)
        print_gap(cli, m, raw);
    if (m->type != FF_TYPE_MESSAGE)
        return true;
    print_message(cli, m, raw);
    *code = CLI_OK; /* that was all, or nobody reads on */
    return !(cli->count && --cli->count == 0) && !ferror(stdout);
}

int cli_sub(struct cli *cli)
{
    struct ff_message m;
    struct ff_slice raw;
    int code = CLI_OK;

    cli->on_wake = is_reader_there;
    cli->wake = (struct pollfd){.fd = STDOUT_FILENO};
    if (!cli_connect(cli))
        return CLI_UNREACHABLE;
    if (!subscribe_all(cli) && !come_back(cli))
        return cli_ended(cli);
    while (!cli_is_stopped()) {
        int got = ff_client_next(cli->client, &m, &raw, 1000);

        if (got == 0 && is_reader_gone())
            return CLI_OK; /* `fanfare sub x | head` */
        if (got > 0 && !take(cli, &m, raw, &code))
            return code == CLI_UNREACHABLE ? cli_ended(cli) : code;
        if (got < 0 && !come_back(cli))
            return is_reader_gone() ? CLI_OK : cli_ended(cli);
    }
    return CLI_OK;
}
