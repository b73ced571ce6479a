/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "clients/cli/cli.h"

enum { PINGS = 4, WAIT_MS = 10000 };

static double now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1e6;
}

int cli_ping(struct cli *cli)
{
    unsigned count = cli->count ? cli->count : PINGS;
    const struct timespec pause = {0, 200L * 1000 * 1000};
    struct ff_message m;

    if (!cli_connect(cli))
        return CLI_UNREACHABLE;
    for (unsigned i = 1; i <= count && !cli_is_stopped(); i++) {
        double sent;
        int got;

        if (i > 1)
            (void)nanosleep(&pause, NULL);
        sent = now_ms();
        if (!ff_client_heartbeat(cli->client, i))
            return cli_ended(cli);
        do {
            got = ff_client_next(cli->client, &m, NULL, WAIT_MS);
        } while (got > 0 && (m.type != FF_TYPE_HEARTBEAT || m.values[FF_FIELD_ID].integer != i));
        if (got <= 0)
            return cli_ended(cli);
        (void)printf(cli->is_json ? "{\"ping\":%u,\"ms\":%.3f}\n" : "answer %u after %.3f ms\n", i,
                     now_ms() - sent);
        (void)fflush(stdout);
    }
    return CLI_OK;
}
