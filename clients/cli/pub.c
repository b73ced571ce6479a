/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing from a pipe paces itself: each line has an id, at most 256 are
 * under way, and while the slowest reader is behind by over half of what the
 * broker keeps only one is, after a pause.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "protocol/base/mem.h"
#include "protocol/base/utf8.h"
#include "protocol/message/json.h"

enum {
    UNDER_WAY = 256,
    LONGEST_PAUSE_MS = 100,
    SHORTEST_PAUSE_MS = 2,
    PROGRESS_EVERY = 4096,
    SAY_SLOW_AT = 10
};

struct pub {
    struct cli *cli;
    struct ff_buf quoted;
    uint64_t sent;
    uint64_t answered;
    uint64_t refused;   /* by the broker */
    uint64_t unsent;    /* no UTF-8 */
    uint64_t slow;      /* messages that waited for the slowest reader */
    uint64_t receivers; /* of the last one */
    uint64_t buffered;  /* how far the slowest was behind, by the last answer */
    long pause_ms;
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

static void say_refused(struct pub *pub, const struct ff_message *m)
{
    if (pub->refused++ > 0)
        return; /* the first one tells why */
    (void)fprintf(stderr, "fanfare: the broker refused with %" PRIu64 ": ",
                  m->values[FF_FIELD_CODE].integer);
    cli_print_text(stderr, ff_message_text(m, FF_FIELD_REASON));
    (void)fputc('\n', stderr);
}

/* Takes answers until at most `most` are owed. False: the connection is over. */
static bool wait_for_answers(struct pub *pub, uint64_t most)
{
    struct ff_message m;

    while (pub->sent - pub->answered > most) {
        int got = ff_client_next(pub->cli->client, &m, NULL, 1000);

        if (got < 0)
            return false;
        if (got == 0 || (m.type != FF_TYPE_ACK && m.type != FF_TYPE_ERROR))
            continue;
        pub->answered++;
        if (m.type == FF_TYPE_ERROR) {
            say_refused(pub, &m);
            continue;
        }
        pub->receivers = m.values[FF_FIELD_RECEIVERS].integer;
        pub->buffered =
            ff_message_has(&m, FF_FIELD_BUFFERED) ? m.values[FF_FIELD_BUFFERED].integer : 0;
    }
    return true;
}

/* While the slowest reader is far behind: one at a time, after a pause that grows. */
static bool pace(struct pub *pub)
{
    uint64_t limit = ff_client_buffered_limit(pub->cli->client);
    struct timespec pause = {0, 0};

    if (!wait_for_answers(pub, UNDER_WAY - 1))
        return false;
    if (pub->cli->no_wait || limit == 0 || pub->buffered <= limit / 2) {
        pub->pause_ms = SHORTEST_PAUSE_MS;
        return true;
    }
    if (!wait_for_answers(pub, 0))
        return false;
    if (pub->slow++ == SAY_SLOW_AT)
        (void)fprintf(stderr,
                      "fanfare: a reader is %" PRIu64 " bytes behind: waiting for it "
                      "(--no-wait publishes on, it is then told of what it misses)\n",
                      pub->buffered);
    pause.tv_nsec = pub->pause_ms * 1000000;
    (void)nanosleep(&pause, NULL);
    pub->pause_ms = pub->pause_ms * 2 < LONGEST_PAUSE_MS ? pub->pause_ms * 2 : LONGEST_PAUSE_MS;
    return true;
}

static bool publish(struct pub *pub, struct ff_slice text)
{
    struct ff_slice json;

    if (!make_json(pub, text, &json)) {
        if (pub->unsent++ == 0)
            (void)fprintf(stderr, "fanfare: a message is no UTF-8 text: it was not sent\n");
        return true;
    }
    if (!pace(pub))
        return false;
    return ff_client_publish(pub->cli->client, ++pub->sent, ff_slice_of(pub->cli->arguments[0]),
                             json);
}

static bool publish_lines(struct pub *pub)
{
    char *line = NULL;
    size_t size = 0;
    bool is_good = true;
    bool shows_progress = isatty(STDERR_FILENO);

    while (is_good && !cli_is_stopped()) {
        ssize_t len = getline(&line, &size, stdin);

        if (len < 0)
            break;
        if (len && line[len - 1] == '\n')
            len--;
        is_good = publish(pub, (struct ff_slice){line, (size_t)len});
        if (shows_progress && pub->sent % PROGRESS_EVERY == 0)
            (void)fprintf(stderr, "\r%" PRIu64 " published", pub->sent);
    }
    free(line);
    return is_good;
}

static void report(const struct pub *pub, bool is_single)
{
    uint64_t good = pub->answered - pub->refused;
    uint64_t bad = pub->refused + pub->unsent;

    if (is_single && pub->cli->is_json)
        (void)printf("{\"published\":%" PRIu64 ",\"receivers\":%" PRIu64 "}\n", good,
                     pub->receivers);
    else if (is_single && good)
        (void)printf("published, %" PRIu64 " received it\n", pub->receivers);
    else if (!is_single)
        (void)fprintf(stderr, "%s%" PRIu64 " published, %" PRIu64 " refused\n",
                      isatty(STDERR_FILENO) ? "\r" : "", good, bad);
}

int cli_pub(struct cli *cli)
{
    struct pub pub = {.cli = cli, .pause_ms = SHORTEST_PAUSE_MS};
    bool is_single = cli->argument_count == 2 && strcmp(cli->arguments[1], "-") != 0;
    bool is_good;

    if (cli->argument_count < 2 && isatty(STDIN_FILENO)) {
        (void)fprintf(stderr, "fanfare: what is to be published? fanfare pub TOPIC MESSAGE, or - "
                              "for lines of standard input\n");
        return CLI_USAGE;
    }
    if (!cli_connect(cli))
        return CLI_UNREACHABLE;
    ff_buf_init(&pub.quoted, SIZE_MAX / 2);
    is_good = is_single ? publish(&pub, ff_slice_of(cli->arguments[1])) : publish_lines(&pub);
    /* Also when the connection broke: what was answered before is told. */
    is_good = wait_for_answers(&pub, 0) && is_good;
    ff_buf_deinit(&pub.quoted);
    report(&pub, is_single);
    if (!is_good) {
        (void)fprintf(stderr, "fanfare: %" PRIu64 " of %" PRIu64 " were not answered\n",
                      pub.sent - pub.answered, pub.sent);
        return cli_ended(cli);
    }
    return pub.refused || pub.unsent ? CLI_REFUSED : CLI_OK;
}
