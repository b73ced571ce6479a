/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing from a pipe paces itself: each line has an id, at most 256 are
 * under way, and while the slowest reader is behind by over half of what the
 * broker keeps only one is, after a pause. While there is no line to read the
 * broker is listened to, whose pings want an answer.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "clients/cli/lines.h"
#include "clients/cli/pending.h"
#include "protocol/base/utf8.h"
#include "protocol/message/json.h"

enum {
    LONGEST_PAUSE_MS = 100,
    SHORTEST_PAUSE_MS = 2,
    PROGRESS_EVERY = 4096,
    SAY_SLOW_AT = 10,
    LONGEST_LINE = 64 * 1024 * 1024
};

struct pub {
    struct cli *cli;
    struct pending pending;
    struct ff_buf quoted;
    uint64_t published;
    uint64_t refused;   /* by the broker */
    uint64_t unsent;    /* no UTF-8, or larger than the broker takes */
    uint64_t unknown;   /* the connection was lost, and they may not be sent again */
    uint64_t slow;      /* messages that waited for the slowest reader */
    uint64_t receivers; /* of the last one */
    uint64_t buffered;  /* how far the slowest was behind, by the last answer */
    long pause_ms;
    bool has_failed; /* for a reason of our own, which was told */
    bool is_single;  /* one message: a lost connection ends it */
};

/* JSON as it is, anything else as a JSON string. False: it is no UTF-8. */
static bool make_json(struct pub *pub, struct ff_slice text, struct ff_slice *json)
{
    struct ff_json j = ff_json_of(text);
    unsigned faults = 0;

    if (!ff_utf8_is_valid(text.at, text.len))
        return false;
    if (!pub->cli->is_text && ff_json_take(&j, json, &faults) == FF_OK && j.at == j.end)
        return true;
    pub->quoted.len = 0;
    if (ff_buf_reserve(&pub->quoted, ff_json_quoted_size(text)))
        return false;
    json->at = pub->quoted.data;
    json->len = (size_t)(ff_json_write_quoted(pub->quoted.data, text) - pub->quoted.data);
    return true;
}

static void take_answer(struct pub *pub, const struct ff_message *m)
{
    if (m->type != FF_TYPE_ACK && m->type != FF_TYPE_ERROR)
        return;
    if (!ff_message_has(m, FF_FIELD_ID) ||
        !pending_answer(&pub->pending, m->values[FF_FIELD_ID].integer))
        return;
    if (m->type == FF_TYPE_ERROR) {
        if (pub->refused++ == 0) /* the first one tells why */
            cli_tell_refusal(pub->cli, m);
        return;
    }
    pub->published++;
    pub->receivers = m->values[FF_FIELD_RECEIVERS].integer;
    pub->buffered = ff_message_has(m, FF_FIELD_BUFFERED) ? m->values[FF_FIELD_BUFFERED].integer : 0;
}

/*
 * A new connection, and what has no answer sent again on it; but for what was
 * too large for the broker, which it would refuse again. False: the command ends.
 */
static bool come_back(struct pub *pub)
{
    struct cli *cli = pub->cli;
    size_t lost;

    while (!pub->is_single) {
        lost = pending_forget_too_large(&pub->pending, cli->client);
        pub->unknown += lost;
        if (lost)
            cli_tell(cli, "a message was too large: %zu had no answer and are not sent again",
                     lost);
        if (!cli_come_back(cli))
            return false;
        lost = pending_sent_count(&pub->pending);
        if (lost)
            cli_tell(cli,
                     "%zu had no answer when the connection was lost: sent again, so some of them "
                     "may arrive twice",
                     lost);
        if (pending_send_again(&pub->pending, cli->client))
            return true;
    }
    return false;
}

/* Takes answers until at most `most` are owed. False: the command ends. */
static bool wait_for_answers(struct pub *pub, size_t most)
{
    struct ff_message m;

    while (pub->pending.count > most) {
        int got = ff_client_next(pub->cli->client, &m, NULL, 1000);

        if (most && cli_is_stopped())
            return false; /* Ctrl-C: the answers to what was sent are taken at the end */
        if (got < 0 && !come_back(pub))
            return false;
        if (got > 0)
            take_answer(pub, &m);
    }
    return true;
}

/* While the slowest reader is far behind: one at a time, after a pause that grows. */
static bool pace(struct pub *pub)
{
    uint64_t limit = ff_client_buffered_limit(pub->cli->client);
    struct timespec pause = {0, 0};

    if (!wait_for_answers(pub, PENDING_MAX - 1))
        return false;
    if (pub->cli->no_wait || limit == 0 || pub->buffered <= limit / 2) {
        pub->pause_ms = SHORTEST_PAUSE_MS;
        return true;
    }
    if (!wait_for_answers(pub, 0))
        return false;
    if (pub->slow++ == SAY_SLOW_AT)
        cli_tell(pub->cli,
                 "a reader is %" PRIu64 " bytes behind: waiting for it "
                 "(--no-wait publishes on, it is then told of what it misses)",
                 pub->buffered);
    pause.tv_nsec = pub->pause_ms * 1000000;
    (void)nanosleep(&pause, NULL);
    pub->pause_ms = pub->pause_ms * 2 < LONGEST_PAUSE_MS ? pub->pause_ms * 2 : LONGEST_PAUSE_MS;
    return true;
}

/* False: the command ends. What cannot be sent is told the first time, and counted. */
static bool publish(struct pub *pub, struct ff_slice text)
{
    struct ff_slice json;

    if (!make_json(pub, text, &json)) {
        if (pub->unsent++ == 0)
            cli_tell(pub->cli, "a message is no UTF-8 text: it was not sent");
        return true;
    }
    if (!pace(pub))
        return false;
    while (!pending_has_room(&pub->pending, json.len))
        if (!wait_for_answers(pub, pub->pending.count - 1))
            return false;
    if (ff_client_is_too_large(pub->cli->client, pub->pending.next, pub->pending.topic, json,
                               pub->cli->is_retained)) {
        if (pub->unsent++ == 0)
            cli_tell(pub->cli,
                     "a message of %zu octets was not sent: with its frame it is over the "
                     "broker's max_message of %" PRIu64,
                     json.len, ff_client_message_limit(pub->cli->client));
        return true;
    }
    if (pending_add(&pub->pending, json) == 0) {
        cli_tell(pub->cli, "out of memory for a message of %zu octets", json.len);
        pub->has_failed = true;
        return false;
    }
    return pending_send(&pub->pending, pub->cli->client) || come_back(pub);
}

/* Until there is input: what the broker says is taken. False: the command ends. */
static bool wait_for_input(struct pub *pub, const struct lines *lines)
{
    struct ff_message m;

    while (!cli_is_stopped()) {
        struct pollfd p[2] = {{.fd = ff_client_fd(pub->cli->client), .events = POLLIN},
                              {.fd = lines->fd, .events = POLLIN}};
        int got;

        (void)poll(p, 2, ff_client_has_input(pub->cli->client) ? 0 : 1000);
        while ((got = ff_client_next(pub->cli->client, &m, NULL, 0)) > 0)
            take_answer(pub, &m);
        if (got < 0 && !come_back(pub))
            return false;
        if (p[1].revents)
            return true;
    }
    return false;
}

/* The whole lines that were read. False: the command ends. */
static bool publish_read_lines(struct pub *pub, struct lines *lines)
{
    bool shows_progress = isatty(STDERR_FILENO);
    enum lines_result result;
    struct ff_slice line;

    while ((result = lines_next(lines, &line)) != LINES_NONE) {
        if (cli_is_stopped())
            return false;
        if (result == LINES_LINE && !publish(pub, line))
            return false;
        if (result == LINES_TOO_LONG && pub->unsent++ == 0)
            cli_tell(pub->cli, "a line over %d octets was not sent", LONGEST_LINE);
        if (shows_progress && pub->pending.next % PROGRESS_EVERY == 0)
            (void)fprintf(stderr, "\r%" PRIu64 " published", pub->published);
    }
    return true;
}

static bool publish_lines(struct pub *pub)
{
    struct lines lines;
    bool is_good;

    lines_init(&lines, STDIN_FILENO, LONGEST_LINE);
    while ((is_good = publish_read_lines(pub, &lines)) && !lines.is_at_end &&
           (is_good = wait_for_input(pub, &lines)))
        (void)lines_read(&lines);
    if (lines.error) {
        cli_tell(pub->cli, "standard input cannot be read: %s", strerror(lines.error));
        pub->has_failed = true;
    }
    lines_deinit(&lines);
    return is_good;
}

static void report(const struct pub *pub)
{
    uint64_t bad = pub->refused + pub->unsent;

    if (pub->is_single && pub->cli->is_json)
        (void)printf("{\"published\":%" PRIu64 ",\"receivers\":%" PRIu64 "}\n", pub->published,
                     pub->receivers);
    else if (pub->is_single && pub->published)
        (void)printf("published, %" PRIu64 " received it\n", pub->receivers);
    else if (!pub->is_single)
        (void)fprintf(stderr, "%s%" PRIu64 " published, %" PRIu64 " refused\n",
                      isatty(STDERR_FILENO) ? "\r" : "", pub->published, bad);
}

int cli_pub(struct cli *cli)
{
    static struct pub pub;
    bool is_good;

    pub = (struct pub){.cli = cli, .pause_ms = SHORTEST_PAUSE_MS};
    pub.is_single = cli->argument_count == 2 && strcmp(cli->arguments[1], "-") != 0;
    if (cli->argument_count < 2 && isatty(STDIN_FILENO)) {
        cli_tell(cli, "what is to be published? fanfare pub TOPIC MESSAGE, or - for lines of "
                      "standard input");
        return CLI_USAGE;
    }
    if (!cli_connect(cli))
        return CLI_UNREACHABLE;
    pending_init(&pub.pending, ff_slice_of(cli->arguments[0]), cli->is_retained);
    ff_buf_init(&pub.quoted, SIZE_MAX / 2);
    is_good = pub.is_single ? publish(&pub, ff_slice_of(cli->arguments[1])) : publish_lines(&pub);
    /* Also where the input broke off, or Ctrl-C: what was sent before is told. */
    if (cli->client)
        is_good = wait_for_answers(&pub, 0) && is_good;
    report(&pub);
    pub.unknown += pub.pending.count;
    ff_buf_deinit(&pub.quoted);
    pending_deinit(&pub.pending);
    if (pub.unknown)
        cli_tell(cli, "%" PRIu64 " of %" PRIu64 " were not answered", pub.unknown,
                 pub.unknown + pub.published + pub.refused);
    if (!is_good && !pub.has_failed)
        return cli_ended(cli);
    return pub.has_failed || pub.refused || pub.unsent || pub.unknown ? CLI_REFUSED : CLI_OK;
}
