/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "clients/cli/place.h"
#include "clients/cli/text.h"
#include "protocol/base/codes.h"
#include "protocol/base/mem.h"

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

/* From where it stood before, if it did; the first time from where the user says. */
static bool subscribe_all(struct cli *cli, const struct place *places)
{
    for (int i = 0; i < cli->argument_count; i++) {
        struct ff_subscribe how = cli->subscribe;
        char since[PLACE_TEXT];

        if (places[i].is_begun)
            how.since = place_since(&places[i], since);
        if (!ff_client_subscribe(cli->client, (uint64_t)i + 1, ff_slice_of(cli->arguments[i]),
                                 &how))
            return false;
    }
    return true;
}

/* The place that a message moves; NULL: none. */
static struct place *find_place(const struct cli *cli, struct place *places,
                                const struct ff_message *m)
{
    uint64_t id = m->type == FF_TYPE_ACK ? m->values[FF_FIELD_ID].integer : 0;

    for (int i = 0; i < cli->argument_count; i++)
        if (id ? id == (uint64_t)i + 1
               : ff_slice_is_equal(ff_message_text(m, FF_FIELD_TOPIC),
                                   ff_slice_of(cli->arguments[i])))
            return &places[i];
    return NULL;
}

static bool has_all(const struct cli *cli, const struct place *places)
{
    for (int i = 0; i < cli->argument_count; i++)
        if (!places[i].epoch_len)
            return false;
    return true;
}

/* Subscribes again on a new connection. False: the command ends. */
static bool come_back(struct cli *cli, const struct place *places)
{
    while (cli_come_back(cli)) {
        if (subscribe_all(cli, places)) {
            cli_tell(cli, has_all(cli, places)
                              ? "what was published meanwhile follows, or a gap says what is gone"
                              : "what was published meanwhile is missed, but where a topic's name "
                                "was given and it keeps history");
            return true;
        }
    }
    return false;
}

/* One message. False: the command ends, with `*code`. */
static bool take(struct cli *cli, struct place *places, const struct ff_message *m,
                 struct ff_slice raw, int *code)
{
    struct place *place = find_place(cli, places, m);

    if (place)
        place_take(place, m);
    if (m->type == FF_TYPE_ERROR) {
        cli_tell_refusal(cli, m);
        *code = CLI_REFUSED;
        if (cli->is_once || !ff_error_can_retry((int)m->values[FF_FIELD_CODE].integer))
            return false;
        cli_disconnect(cli, "a subscription was refused for now");
        *code = CLI_UNREACHABLE;
        return come_back(cli, places);
    }
    if (m->type == FF_TYPE_GAP)
        print_gap(cli, m, raw);
    if (m->type != FF_TYPE_MESSAGE)
        return true;
    print_message(cli, m, raw);
    *code = CLI_OK; /* that was all, or nobody reads on */
    return !(cli->count && --cli->count == 0) && !ferror(stdout);
}

static int listen_on(struct cli *cli, struct place *places)
{
    struct ff_message m;
    struct ff_slice raw;
    int code = CLI_OK;

    cli->on_wake = is_reader_there;
    cli->wake = (struct pollfd){.fd = STDOUT_FILENO};
    if (!cli_connect(cli))
        return CLI_UNREACHABLE;
    if (!subscribe_all(cli, places) && !come_back(cli, places))
        return cli_ended(cli);
    while (!cli_is_stopped()) {
        int got = ff_client_next(cli->client, &m, &raw, 1000);

        if (got == 0 && is_reader_gone())
            return CLI_OK; /* `fanfare sub x | head` */
        if (got > 0 && !take(cli, places, &m, raw, &code))
            return code == CLI_UNREACHABLE ? cli_ended(cli) : code;
        if (got < 0 && !come_back(cli, places))
            return is_reader_gone() ? CLI_OK : cli_ended(cli);
    }
    return CLI_OK;
}

int cli_sub(struct cli *cli)
{
    struct place *places = ff_mem_zalloc((size_t)cli->argument_count * sizeof(*places));
    int code = CLI_UNREACHABLE;

    if (places)
        code = listen_on(cli, places);
    else
        cli_tell(cli, "out of memory");
    ff_mem_free(places);
    return code;
}
