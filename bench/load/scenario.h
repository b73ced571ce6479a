/* SPDX-License-Identifier: Apache-2.0 */
/* scenario.h - the loads there are. */
#ifndef LOAD_SCENARIO_H
#define LOAD_SCENARIO_H

#include "bench/load/options.h"

struct scenario {
    const char *name;
    const char *about;
    int (*run)(const struct options *options); /* the program's exit code */
};

/* Ends with one that has no name. */
extern const struct scenario scenarios[];

int scenario_fanout(const struct options *options); /* rooms, rate, slow and neighbours, too */
int scenario_publish(const struct options *options);
int scenario_return(const struct options *options);
int scenario_connect(const struct options *options);
int scenario_idle(const struct options *options);
int scenario_topics(const struct options *options);
int scenario_kept(const struct options *options);
int scenario_presence(const struct options *options);

#endif
