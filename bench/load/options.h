/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - what fanfare-bench is asked to do. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum { PIDS_MAX = 16, PAYLOAD_MIN = 32 };

struct options {
    const char *scenario;
    const char *url;
    const char *dialect;
    const char *pids_text;
    uint64_t subscribers; /* of each topic */
    uint64_t topics;
    uint64_t publishers;
    uint64_t window; /* messages in flight of each publisher */
    uint64_t size;   /* octets of a payload */
    uint64_t stalled;
    uint64_t flood; /* publishers beside the load that never wait */
    uint64_t connections;
    uint64_t processes;
    uint64_t concurrency;
    double rate;
    double seconds;
    double warm_up;
    bool is_sliding;
    bool is_deflating; /* subscribers are sent compressed messages */
    bool is_fresh;     /* each message goes to a name of its own */
    bool is_json;
    bool is_quiet; /* no progress line */
    int pids[PIDS_MAX];
    unsigned pid_count;
};

/* Ends the program when something is wrong, or after --help. */
void options_parse(struct options *options, int argc, char **argv);

/* Says what is wrong and ends the program with 1. */
__attribute__((format(printf, 1, 2), noreturn)) void die(const char *format, ...);

#endif
