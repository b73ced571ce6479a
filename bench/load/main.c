/* SPDX-License-Identifier: Apache-2.0 */
/* fanfare-bench: a load, and what became of it. */
#include <signal.h>
#include <string.h>

#include "bench/load/options.h"
#include "bench/load/scenario.h"

const struct scenario scenarios[] = {
    {"fanout", "each message to all subscribers of its topic; closed loop", scenario_fanout},
    {"rooms", "the same with 1000 topics of 10 subscribers; a round is a message to each",
     scenario_fanout},
    {"rate", "so many messages a second, whatever the server does; latency", scenario_fanout},
    {"slow", "fanout beside --stalled subscribers that never read", scenario_fanout},
    {"neighbours", "fanout to 3,000 beside --flood publishers that never wait", scenario_fanout},
    {"publish", "publishers to whom nobody listens", scenario_publish},
    {"return", "--connections come back at once for 100 messages each, beside others at --rate",
     scenario_return},
    {"connect", "connections that come, subscribe and go", scenario_connect},
    {"idle", "memory of connections to which nothing happens (--connections, --pid)",
     scenario_idle},
    {"topics", "memory of --topics names with one subscription each, and of what is left of them",
     scenario_topics},
    {"kept", "memory of --window messages in each of --topics, to which nobody listens",
     scenario_kept},
    {"presence", "--connections come to one room, and all hear who comes", scenario_presence},
    {NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    struct options options;

    (void)signal(SIGPIPE, SIG_IGN);
    options_parse(&options, argc, argv);
    for (const struct scenario *s = scenarios; s->name; s++)
        if (strcmp(s->name, options.scenario) == 0)
            return s->run(&options);
    die("there is no scenario %s: fanfare-bench --help lists them", options.scenario);
}
