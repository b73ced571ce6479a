/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include "clients/cli/cli.h"

static void print_line(FILE *out, struct ff_slice raw)
{
    (void)fwrite(raw.at, 1, raw.len, out);
    (void)fputc('\n', out);
}

static void print_message(const struct cli *cli, const struct ff_message *m, struct ff_slice raw)
{
    if (cli->is_json) {
        print_line(stdout, raw);
    } else {
        cli_print_text(stdout, ff_message_text(m, FF_FIELD_TOPIC));
        (void)fputs("  ", stdout);
        cli_print_text(stdout, m->payload.bytes);
        (void)fputc('\n', stdout);
    }
    (void)fflush(stdout);
}

static void print_gap(const struct cli *cli, const struct ff_message *m, struct ff_slice raw)
{
    struct ff_slice topic = ff_message_text(m, FF_FIELD_TOPIC);
    struct ff_slice cause = ff_message_text(m, FF_FIELD_CAUSE);

    if (cli->is_json) {
        print_line(stderr, raw);
        return;
    }
    (void)fputs("fanfare: gap in ", stderr);
    cli_print_text(stderr, topic);
    if (ff_message_has(m, FF_FIELD_SKIPPED))
        (void)fprintf(stderr, ": %" PRIu64 " messages missed", m->values[FF_FIELD_SKIPPED].integer);
    (void)fputs(" (", stderr);
    cli_print_text(stderr, cause);
    (void)fputs(")\n", stderr);
}

static int refused(const struct ff_message *m)
{
    (void)fprintf(stderr, "fanfare: the broker refused with %" PRIu64 ": ",
                  m->values[FF_FIELD_CODE].integer);
    cli_print_text(stderr, ff_message_text(m, FF_FIELD_REASON));
    (void)fputc('\n', stderr);
    return CLI_REFUSED;
}

/* Nobody reads our output any more. */
static bool is_reader_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};

    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
}

static bool subscribe_all(struct cli *cli)
{
    for (int i = 0; i < cli->argument_count; i++)
        if (!ff_client_subscribe(cli->client, (uint64_t)i + 1, ff_slice_of(cli->arguments[i]), NULL))
            return false;
    return true;
}

int cli_sub(struct cli *cli)
{
    struct ff_message m;
    struct ff_slice raw;
    unsigned count = 0;

    if (!cli_connect(cli))
        return CLI_UNREACHABLE;
    if (!subscribe_all(cli))
        return cli_ended(cli);
    while (!cli_is_stopped()) {
        int got = ff_client_next(cli->client, &m, &raw, 1000);

        if (got < 0)
            return cli_ended(cli);
        if (got == 0 && is_reader_gone())
            return CLI_OK; /* `fanfare sub x | head` */
        if (got == 0)
            continue;
        if (m.type == FF_TYPE_ERROR)
            return refused(&m);
        if (m.type == FF_TYPE_GAP)
            print_gap(cli, &m, raw);
        if (m.type != FF_TYPE_MESSAGE)
            continue;
        print_message(cli, &m, raw);
        if (++count == cli->count || ferror(stdout))
            return CLI_OK; /* that was all, or nobody reads on */
    }
    return CLI_OK;
}
