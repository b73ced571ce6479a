/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lost connection is made again after a jittered pause (backoff.h), as often as
 * it takes. Each step is told on standard error, for what is published meanwhile
 * is asked for by who subscribed (place.h).
 */
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "clients/cli/cli.h"
#include "clients/cli/screen.h"
#include "clients/cli/text.h"
#include "protocol/base/codes.h"

enum { LOOK_MS = 1000 };

int64_t cli_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void cli_tell(struct cli *cli, const char *format, ...)
{
    char line[FF_CLIENT_WHY + 256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (cli->screen)
        screen_hide(cli->screen);
    (void)fputs("fanfare: ", stderr);
    text_print(stderr, ff_slice_of(line));
    (void)fputc('\n', stderr);
    if (cli->screen)
        screen_show(cli->screen);
}

void cli_tell_refusal(struct cli *cli, const struct ff_message *m)
{
    struct ff_slice reason = ff_message_text(m, FF_FIELD_REASON);

    cli_tell(cli, "the broker refused with %d: %.*s", (int)m->values[FF_FIELD_CODE].integer,
             (int)reason.len, reason.len ? reason.at : "");
}

static bool open_client(struct cli *cli)
{
    cli->client = ff_client_open(&cli->options, cli->why);
    cli->connected_ms = cli->client ? cli_now_ms() : 0;
    return cli->client != NULL;
}

bool cli_connect(struct cli *cli)
{
    if (open_client(cli))
        return true;
    cli_tell(cli, "%s", cli->why);
    return false;
}

void cli_disconnect(struct cli *cli, const char *why)
{
    ff_client_free(cli->client);
    cli->client = NULL;
    (void)snprintf(cli->why, sizeof(cli->why), "%s", why);
}

int cli_ended(struct cli *cli)
{
    if (cli_is_stopped())
        return CLI_OK;
    cli_tell(cli, "%s", cli->client ? ff_client_why(cli->client) : cli->why);
    return CLI_UNREACHABLE;
}

/* Watches what the command asked for meanwhile. False: it shall end. */
static bool pause_for(struct cli *cli, int64_t ms)
{
    int64_t until = cli_now_ms() + ms;

    while (!cli_is_stopped()) {
        int64_t left = until - cli_now_ms();
        bool is_watching = cli->on_wake && cli->wake.fd >= 0;

        if (left <= 0)
            return true;
        cli->wake.revents = 0;
        (void)poll(&cli->wake, is_watching ? 1 : 0, (int)(left < LOOK_MS ? left : LOOK_MS));
        if (cli->screen && cli_was_continued())
            screen_resume(cli->screen);
        if (is_watching && cli->wake.revents && !cli->on_wake(cli->wake_arg))
            return false;
    }
    return false;
}

static int64_t next_pause(struct cli *cli, int64_t asked_ms)
{
    int64_t up_ms = cli->connected_ms ? cli_now_ms() - cli->connected_ms : 0;
    uint32_t random = 0;

    (void)!getrandom(&random, sizeof(random), 0);
    cli->connected_ms = 0;
    return ff_backoff_next_ms(&cli->backoff, up_ms, asked_ms, random);
}

bool cli_come_back(struct cli *cli)
{
    int64_t asked_ms = -1;

    if (cli_is_stopped())
        return false;
    if (cli->client) {
        if (cli->is_once || !ff_close_can_come_back(ff_client_close_code(cli->client)))
            return false;
        asked_ms = ff_client_retry_ms(cli->client);
        (void)snprintf(cli->why, sizeof(cli->why), "%s", ff_client_why(cli->client));
        ff_client_free(cli->client);
        cli->client = NULL;
    }
    if (cli->is_once)
        return false;
    do {
        int64_t ms = next_pause(cli, asked_ms);

        asked_ms = -1;
        cli_tell(cli, "%s; connecting again in %.1f s", cli->why, (double)ms / 1000);
        if (!pause_for(cli, ms))
            return false;
    } while (!open_client(cli));
    cli_tell(cli, "connected again");
    return true;
}
