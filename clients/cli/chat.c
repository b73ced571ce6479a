/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small chat: lines go out as {"from":NAME,"text":LINE}, what comes is shown as
 * `NAME: LINE`. One's own line is shown when it comes back from the broker, in
 * its place among the others' lines; on a terminal what was typed goes away then.
 *
 * Nobody can put words into another's mouth: a line begins with its sender's name
 * up to the first colon, colons within names are escaped, and what is no line of
 * a chat begins with the colon of an empty name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "clients/cli/lines.h"
#include "clients/cli/pending.h"
#include "clients/cli/place.h"
#include "clients/cli/screen.h"
#include "clients/cli/text.h"
#include "protocol/base/codes.h"
#include "protocol/base/utf8.h"
#include "protocol/message/json.h"
#include "protocol/message/topic.h"

enum {
    NAME_MAX_BYTES = 128,
    LINE_MAX_BYTES = SCREEN_LINE_MAX,
    JSON_MAX_BYTES = LINE_MAX_BYTES * 6 + NAME_MAX_BYTES * 6 + 64, /* each octet an escape */
};

#define SUBSCRIPTION FF_INTEGER_MAX /* its id: lines have lower ones */

struct chat {
    struct cli *cli;
    struct place place; /* where it stands in the topic */
    struct pending pending;
    struct lines lines;   /* without a terminal */
    struct screen screen; /* with one */
    struct ff_buf text;
    bool is_at_end; /* of what is typed */
    bool was_refused;
    bool is_deaf; /* its subscription was refused for good */
};

/* The text of a raw JSON string; {NULL, 0}: out of memory. Valid until the next call. */
static struct ff_slice unquote(struct chat *chat, struct ff_slice raw)
{
    raw = (struct ff_slice){raw.at + 1, raw.len - 2};
    chat->text.len = 0;
    if (ff_buf_reserve(&chat->text, raw.len + 1))
        return (struct ff_slice){NULL, 0};
    return (struct ff_slice){chat->text.data, ff_json_unescape(chat->text.data, raw)};
}

static void print_name(struct ff_slice name)
{
    bool is_ours = ff_slice_is_equal_nocase(ff_slice_trim(name), FF_SLICE("fanfare"));
    struct ff_slice rest = name;

    if (is_ours) /* so begin our own notices */
        (void)fputc('"', stdout);
    do {
        text_print(stdout, ff_slice_cut(&rest, ':'));
        if (rest.at)
            (void)fputs("\\x3a", stdout);
    } while (rest.at);
    if (is_ours)
        (void)fputc('"', stdout);
}

/* The raw strings `from` and `text` of a line; false: the payload is none. */
static bool is_line(struct ff_slice payload, struct ff_slice *from, struct ff_slice *text)
{
    struct ff_slice key;
    struct ff_slice value;
    struct ff_json j;

    *from = *text = (struct ff_slice){NULL, 0};
    if (payload.len == 0 || payload.at[0] != '{')
        return false;
    j = ff_json_enter(payload);
    while (ff_json_next(&j, &key, &value)) {
        if (ff_slice_is_equal(key, FF_SLICE("from")) && value.at[0] == '"')
            *from = value;
        if (ff_slice_is_equal(key, FF_SLICE("text")) && value.at[0] == '"')
            *text = value;
    }
    return from->at && text->at;
}

static void show(struct chat *chat, const struct ff_message *m)
{
    struct ff_slice payload = m->payload.bytes;
    struct ff_slice from;
    struct ff_slice text;

    if (chat->cli->has_time) {
        char time[TEXT_TIME_SIZE];

        text_time(time, false);
        (void)printf("%s  ", time);
    }
    if (is_line(payload, &from, &text)) {
        print_name(unquote(chat, from));
        (void)fputs(": ", stdout);
        text_print(stdout, unquote(chat, text));
    } else {
        (void)fputs(": ", stdout);
        text_print_json(stdout, payload, true);
    }
    (void)fputc('\n', stdout);
}

/* False: it is not said, and why was told. */
static bool say(struct chat *chat, struct ff_slice line)
{
    char json[JSON_MAX_BYTES];
    char *at = json;

    if (!ff_utf8_is_valid(line.at, line.len)) {
        cli_tell(chat->cli, "not said: the line is no UTF-8");
        return false;
    }
    memcpy(at, "{\"from\":", 8);
    at = ff_json_write_quoted(at + 8, ff_slice_of(chat->cli->name));
    memcpy(at, ",\"text\":", 8);
    at = ff_json_write_quoted(at + 8, line);
    *at++ = '}';
    if (!pending_has_room(&chat->pending, (size_t)(at - json))) {
        cli_tell(chat->cli, "not said: %d lines wait for the broker", PENDING_MAX);
        return false;
    }
    if (pending_add(&chat->pending, (struct ff_slice){json, (size_t)(at - json)}) == 0) {
        cli_tell(chat->cli, "not said: out of memory");
        return false;
    }
    return true;
}

static void take_typed(struct chat *chat)
{
    switch (screen_read(&chat->screen)) {
    case SCREEN_LINE:
        if (chat->screen.len == 0 ||
            say(chat, (struct ff_slice){chat->screen.typed, chat->screen.len}))
            screen_forget_line(&chat->screen);
        break;
    case SCREEN_END:
        chat->is_at_end = true;
        break;
    case SCREEN_NONE:
        break;
    }
}

/* Whole lines of a pipe, as many as have room; the rest waits in it. */
static void take_lines(struct chat *chat, bool may_read)
{
    struct ff_slice line;
    enum lines_result result = LINES_LINE; /* NONE: no whole line is left */

    if (may_read)
        (void)lines_read(&chat->lines);
    while (pending_has_room(&chat->pending, JSON_MAX_BYTES) &&
           (result = lines_next(&chat->lines, &line)) != LINES_NONE) {
        if (result == LINES_TOO_LONG || !(line.len == 0 || say(chat, line)))
            chat->was_refused = true;
        if (result == LINES_TOO_LONG)
            cli_tell(chat->cli, "not said: a line is over %d octets", LINE_MAX_BYTES);
    }
    chat->is_at_end = chat->lines.is_at_end && result == LINES_NONE;
}

/* Something was typed, perhaps while the connection is away. False: that was the end. */
static bool take_input(void *arg)
{
    struct chat *chat = arg;

    if (chat->cli->screen)
        take_typed(chat);
    else
        take_lines(chat, true);
    if (chat->is_at_end || !pending_has_room(&chat->pending, JSON_MAX_BYTES))
        chat->cli->wake.fd = -1;
    return !(chat->is_at_end && chat->cli->screen); /* Ctrl-D ends; the lines of a pipe are said */
}

static void tell_refusal(struct chat *chat, const struct ff_message *m)
{
    struct ff_slice from;
    struct ff_slice text = {NULL, 0};
    uint64_t id = ff_message_has(m, FF_FIELD_ID) ? m->values[FF_FIELD_ID].integer : 0;

    chat->was_refused = true;
    cli_tell_refusal(chat->cli, m);
    if (id == 0 || id == SUBSCRIPTION) {
        if (!chat->cli->is_once && ff_error_can_retry((int)m->values[FF_FIELD_CODE].integer))
            cli_disconnect(chat->cli, "the subscription was refused for now");
        else
            chat->is_deaf = true;
        return;
    }
    if (is_line(pending_find(&chat->pending, id), &from, &text)) {
        text = unquote(chat, text);
        cli_tell(chat->cli, "not said: %.*s", (int)(text.len < 200 ? text.len : 200), text.at);
    }
    (void)pending_answer(&chat->pending, id);
}

/* Lines have ids from 1 on, the subscription the highest there is. */
static void take_message(struct chat *chat, const struct ff_message *m)
{
    struct screen *screen = chat->cli->screen;

    if (m->type != FF_TYPE_ACK || m->values[FF_FIELD_ID].integer == SUBSCRIPTION)
        place_take(&chat->place, m);

    if (m->type == FF_TYPE_ERROR) {
        tell_refusal(chat, m);
    } else if (m->type == FF_TYPE_ACK) {
        (void)pending_answer(&chat->pending, m->values[FF_FIELD_ID].integer);
    } else if (m->type == FF_TYPE_GAP) {
        if (ff_message_has(m, FF_FIELD_SKIPPED))
            cli_tell(chat->cli, "%d messages missed", (int)m->values[FF_FIELD_SKIPPED].integer);
        else
            cli_tell(chat->cli, "the topic began anew: what was said meanwhile is lost");
    } else if (m->type == FF_TYPE_MESSAGE) {
        if (screen)
            screen_hide(screen);
        show(chat, m);
        if (screen)
            screen_show(screen);
        (void)fflush(stdout);
    }
}

static bool subscribe(struct chat *chat)
{
    char since[PLACE_TEXT];
    struct ff_subscribe how = {.since = place_since(&chat->place, since)};

    return ff_client_subscribe(chat->cli->client, SUBSCRIPTION, chat->pending.topic, &how);
}

/* Subscribes and says again what has no answer. False: the command ends. */
static bool come_back(struct chat *chat)
{
    struct cli *cli = chat->cli;

    do {
        size_t lost = pending_forget_too_large(&chat->pending, cli->client);

        if (lost) {
            cli_tell(cli, "a line was too large: %zu had no answer and are not said again", lost);
            chat->was_refused = true;
        }
        cli->wake.fd = chat->is_at_end ? -1 : STDIN_FILENO;
        if (!cli_come_back(cli))
            return false;
        if (pending_sent_count(&chat->pending))
            cli_tell(cli, "%zu lines had no answer when the connection was lost: said again",
                     pending_sent_count(&chat->pending));
    } while (!subscribe(chat) || !pending_send_again(&chat->pending, cli->client));
    return true;
}

/* Below 0: the connection is over. */
static int take_received(struct chat *chat)
{
    struct ff_message m;
    int got = -1;

    while (chat->cli->client && (got = ff_client_next(chat->cli->client, &m, NULL, 0)) > 0)
        take_message(chat, &m);
    return chat->cli->client ? got : -1;
}

/* Until the end of what is typed, and of the answers to it. False: the connection is over. */
static bool run(struct chat *chat)
{
    struct cli *cli = chat->cli;

    while (!cli_is_stopped() && !chat->is_deaf && !(chat->is_at_end && chat->pending.count == 0)) {
        struct pollfd p[2] = {{.fd = ff_client_fd(cli->client), .events = POLLIN},
                              {.fd = STDIN_FILENO, .events = POLLIN}};
        bool is_reading = !chat->is_at_end && pending_has_room(&chat->pending, JSON_MAX_BYTES);
        int got;

        if (is_reading && !cli->screen)
            take_lines(chat, false);
        (void)poll(p, is_reading ? 2 : 1, ff_client_has_input(cli->client) ? 0 : 1000);
        if (cli->screen && cli_was_continued())
            screen_resume(cli->screen);
        got = take_received(chat);
        if (is_reading && p[1].revents)
            (void)take_input(chat);
        if ((got < 0 || !pending_send(&chat->pending, cli->client)) && !come_back(chat))
            return false;
    }
    return true;
}

static int talk(struct chat *chat)
{
    struct cli *cli = chat->cli;
    bool is_good;

    if (!cli->is_json)
        (void)printf("%s in %s. Type and press Enter; Ctrl-D ends.\n", cli->name,
                     cli->arguments[0]);
    if (screen_open(&chat->screen))
        cli->screen = &chat->screen;
    is_good = (subscribe(chat) || come_back(chat)) && run(chat);
    screen_close(&chat->screen);
    cli->screen = NULL;
    if (chat->pending.count)
        cli_tell(cli, "%zu lines had no answer: nobody knows whether they were said",
                 chat->pending.count);
    if (!is_good && !(chat->is_at_end && chat->pending.count == 0))
        return cli_ended(cli);
    return chat->was_refused ? CLI_REFUSED : CLI_OK;
}

int cli_chat(struct cli *cli)
{
    static struct chat chat;
    int code;

    if (ff_topic_kind(ff_slice_of(cli->arguments[0])) != FF_TOPIC_NAME) {
        cli_tell(cli, "chat needs a topic's name, not a filter");
        return CLI_USAGE;
    }
    if (!cli->name)
        cli->name = getenv("USER");
    if (!cli->name)
        cli->name = "somebody";
    if (strlen(cli->name) > NAME_MAX_BYTES || !ff_utf8_is_valid(cli->name, strlen(cli->name))) {
        cli_tell(cli, "a name is UTF-8, at most %d octets", NAME_MAX_BYTES);
        return CLI_USAGE;
    }
    if (!cli_connect(cli))
        return CLI_UNREACHABLE;
    chat = (struct chat){.cli = cli};
    pending_init(&chat.pending, ff_slice_of(cli->arguments[0]), false);
    lines_init(&chat.lines, STDIN_FILENO, LINE_MAX_BYTES);
    ff_buf_init(&chat.text, SIZE_MAX / 2);
    cli->on_wake = take_input;
    cli->wake_arg = &chat;
    cli->wake = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    code = talk(&chat);
    ff_buf_deinit(&chat.text);
    lines_deinit(&chat.lines);
    pending_deinit(&chat.pending);
    return code;
}
