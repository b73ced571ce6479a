/* SPDX-License-Identifier: Apache-2.0 */
/* A small chat: lines go out as {"from":NAME,"text":LINE}, what comes is shown. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "protocol/base/buf.h"
#include "protocol/base/utf8.h"
#include "protocol/message/json.h"
#include "protocol/message/topic.h"

enum { LINE_MAX_BYTES = 8192 };

static void print_string(struct ff_slice raw)
{
    char text[LINE_MAX_BYTES];

    raw = (struct ff_slice){raw.at + 1, raw.len - 2};
    if (raw.len > sizeof(text))
        raw.len = 0;
    cli_print_text(stdout, (struct ff_slice){text, ff_json_unescape(text, raw)});
}

static void show(const struct ff_message *m)
{
    struct ff_slice payload = m->payload.bytes;
    struct ff_slice from = {NULL, 0};
    struct ff_slice text = {NULL, 0};
    struct ff_slice key;
    struct ff_slice value;

    if (payload.len && payload.at[0] == '{') {
        struct ff_json j = ff_json_enter(payload);

        while (ff_json_next(&j, &key, &value)) {
            if (ff_slice_is_equal(key, FF_SLICE("from")) && value.at[0] == '"')
                from = value;
            if (ff_slice_is_equal(key, FF_SLICE("text")) && value.at[0] == '"')
                text = value;
        }
    }
    if (from.at && text.at) {
        print_string(from);
        (void)fputs(": ", stdout);
        print_string(text);
    } else if (payload.len && payload.at[0] == '"') {
        print_string(payload);
    } else {
        cli_print_text(stdout, payload);
    }
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
}

static void complain(const struct ff_message *m)
{
    (void)fputs("fanfare: the broker refused: ", stderr);
    cli_print_text(stderr, ff_message_text(m, FF_FIELD_REASON));
    (void)fputc('\n', stderr);
}

static bool say(struct cli *cli, struct ff_slice line)
{
    char json[LINE_MAX_BYTES * 6 + 1024];
    struct ff_slice name = ff_slice_of(cli->name);
    char *at = json;

    if (line.len == 0 || line.len > LINE_MAX_BYTES || name.len > 128 ||
        !ff_utf8_is_valid(line.at, line.len))
        return true;
    memcpy(at, "{\"from\":", 8);
    at = ff_json_write_quoted(at + 8, name);
    memcpy(at, ",\"text\":", 8);
    at = ff_json_write_quoted(at + 8, line);
    *at++ = '}';
    return ff_client_publish(cli->client, 0, ff_slice_of(cli->arguments[0]),
                             (struct ff_slice){json, (size_t)(at - json)});
}

/* What was typed: whole lines are said. False: standard input is at its end, or the connection. */
static bool read_lines(struct cli *cli, struct ff_buf *typed)
{
    char *newline;
    ssize_t got;

    if (ff_buf_reserve(typed, 1024))
        return false;
    got = read(STDIN_FILENO, typed->data + typed->len, 1024);
    if (got <= 0)
        return false;
    typed->len += (size_t)got;
    while (typed->len && (newline = memchr(typed->data, '\n', typed->len))) {
        size_t len = (size_t)(newline - typed->data);

        if (!say(cli, (struct ff_slice){typed->data, len}))
            return false;
        ff_buf_consume(typed, len + 1);
    }
    return true;
}

static int run(struct cli *cli, struct ff_buf *typed)
{
    struct ff_message m;

    while (!cli_is_stopped()) {
        struct pollfd p[2] = {{.fd = ff_client_fd(cli->client), .events = POLLIN},
                              {.fd = STDIN_FILENO, .events = POLLIN}};
        int got;

        if (!ff_client_has_input(cli->client))
            (void)poll(p, 2, 1000);
        while ((got = ff_client_next(cli->client, &m, NULL, 0)) > 0) {
            if (m.type == FF_TYPE_MESSAGE)
                show(&m);
            else if (m.type == FF_TYPE_ERROR)
                complain(&m);
        }
        if (got < 0)
            return cli_ended(cli);
        if (p[1].revents && !read_lines(cli, typed))
            return CLI_OK;
    }
    return CLI_OK;
}

int cli_chat(struct cli *cli)
{
    struct ff_buf typed;
    int code;

    if (ff_topic_kind(ff_slice_of(cli->arguments[0])) != FF_TOPIC_NAME) {
        (void)fprintf(stderr, "fanfare: chat needs a topic's name, not a filter\n");
        return CLI_USAGE;
    }
    if (!cli->name)
        cli->name = getenv("USER") ? getenv("USER") : "somebody";
    if (!cli_connect(cli))
        return CLI_UNREACHABLE;
    if (!ff_client_subscribe(cli->client, 1, ff_slice_of(cli->arguments[0]), NULL))
        return cli_ended(cli);
    if (!cli->is_json)
        (void)printf("%s in %s. Type and press Enter; Ctrl-D ends.\n", cli->name,
                     cli->arguments[0]);
    ff_buf_init(&typed, LINE_MAX_BYTES * 2UL);
    code = run(cli, &typed);
    ff_buf_deinit(&typed);
    return code;
}
