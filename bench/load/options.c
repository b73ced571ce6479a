/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/options.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load/dialect.h"
#include "bench/load/scenario.h"
#include "protocol/base/check.h"

enum kind { TEXT, COUNT, NUMBER, FLAG };

struct spec {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *preset;
    const char *about;
};

#define FIELD(name) offsetof(struct options, name)

static const struct spec specs[] = {
    {"url", TEXT, FIELD(url), "ws://127.0.0.1:8080/ws", "the server; wss:// takes any certificate"},
    {"dialect", TEXT, FIELD(dialect), "fanfare-json", "what it speaks, see below"},
    {"subscribers", COUNT, FIELD(subscribers), "1000", "of each topic"},
    {"topics", COUNT, FIELD(topics), "1", "rooms: 1000 with 10 subscribers, unless told"},
    {"publishers", COUNT, FIELD(publishers), "1", "each on a connection of its own"},
    {"window", COUNT, FIELD(window), "1",
     "messages of a publisher in flight; all at once, when none is"},
    {"sliding", FLAG, FIELD(is_sliding), NULL, "the next one goes out when the oldest has arrived"},
    {"size", COUNT, FIELD(size), "128", "octets of a message's payload, at least 32"},
    {"deflate", FLAG, FIELD(is_deflating), NULL,
     "subscribers offer permessage-deflate; payloads are as compressible as records are"},
    {"fresh", FLAG, FIELD(is_fresh), NULL,
     "scenario publish: each message goes to a name that nobody heard of before"},
    {"rate", NUMBER, FIELD(rate), "1000", "messages a second of all publishers (scenario rate)"},
    {"stalled", COUNT, FIELD(stalled), "0", "further subscribers that never read"},
    {"flood", COUNT, FIELD(flood), "0",
     "further publishers to whom nobody listens and who never wait; neighbours: 500"},
    {"connections", COUNT, FIELD(connections), "10000", "scenario idle"},
    {"processes", COUNT, FIELD(processes), "0",
     "scenario idle; 0: one for each 18,000 connections"},
    {"concurrency", COUNT, FIELD(concurrency), "64", "handshakes under way at once"},
    {"seconds", NUMBER, FIELD(seconds), "5", "how long is measured"},
    {"warm-up", NUMBER, FIELD(warm_up), "1", "seconds before that"},
    {"pid", TEXT, FIELD(pids_text), "",
     "the server's processes (1,2,3): their CPU time and memory"},
    {"json", FLAG, FIELD(is_json), NULL, "the result as one JSON object"},
    {"quiet", FLAG, FIELD(is_quiet), NULL, "no progress line"},
};

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fprintf(stderr, "fanfare-bench: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

__attribute__((noreturn)) static void help(void)
{
    (void)printf("usage: fanfare-bench SCENARIO [--option VALUE]...\n\n"
                 "Loads a message server, checks that nothing is lost, doubled, reordered or\n"
                 "altered, and says when the client was the bottleneck.\n\nscenarios:\n");
    for (const struct scenario *s = scenarios; s->name; s++)
        (void)printf("  %-12s %s\n", s->name, s->about);
    (void)printf("\noptions:\n");
    for (size_t i = 0; i < FF_COUNT(specs); i++) {
        const struct spec *s = &specs[i];
        bool has_preset = s->preset && s->preset[0];

        (void)printf("  --%-12s %s%s%s%s\n", s->name, s->about, has_preset ? " [" : "",
                     has_preset ? s->preset : "", has_preset ? "]" : "");
    }
    (void)printf("\ndialects:\n");
    for (const struct dialect *const *d = dialects; *d; d++)
        (void)printf("  %-16s %s\n", (*d)->name, (*d)->about);
    (void)printf("\nexample: fanfare-bench fanout --subscribers 1000 --window 128 --pid $(pidof "
                 "fanfared)\n");
    exit(0);
}

static void set(struct options *options, const struct spec *spec, const char *text)
{
    void *at = (char *)options + spec->offset;
    char *end = NULL;
    uint64_t count = 0;
    double number = 0;

    switch (spec->kind) {
    case TEXT:
        memcpy(at, &text, sizeof(text));
        return;
    case FLAG:
        *(bool *)at = true;
        return;
    case COUNT:
        count = strtoull(text, &end, 10);
        memcpy(at, &count, sizeof(count));
        break;
    case NUMBER:
        number = strtod(text, &end);
        memcpy(at, &number, sizeof(number));
        break;
    }
    if (end == text || *end || text[0] == '-')
        die("--%s wants a number, not %s", spec->name, text);
}

static const struct spec *find(const char *argument)
{
    for (size_t i = 0; i < FF_COUNT(specs); i++)
        if (strncmp(argument, "--", 2) == 0 && strcmp(argument + 2, specs[i].name) == 0)
            return &specs[i];
    die("there is no %s: fanfare-bench --help lists what there is", argument);
}

static void check(struct options *o)
{
    char *rest = NULL;
    char pids[256];

    if (o->size < PAYLOAD_MIN || o->size > 1U << 20)
        die("--size is from %d octets to 1 MiB", PAYLOAD_MIN);
    if (!o->window || !o->subscribers || !o->topics || !o->publishers || !o->concurrency)
        die("none of --window, --subscribers, --topics, --publishers, --concurrency may be 0");
    (void)snprintf(pids, sizeof(pids), "%s", o->pids_text);
    for (char *pid = strtok_r(pids, ", ", &rest); pid; pid = strtok_r(NULL, ", ", &rest)) {
        if (o->pid_count == PIDS_MAX)
            die("--pid takes at most %d processes", PIDS_MAX);
        o->pids[o->pid_count++] = (int)strtol(pid, NULL, 10);
    }
}

void options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){.scenario = argc > 1 ? argv[1] : "--help"};
    for (size_t i = 0; i < FF_COUNT(specs); i++)
        if (specs[i].preset)
            set(options, &specs[i], specs[i].preset);
    if (strcmp(options->scenario, "rooms") == 0) {
        options->topics = 1000;
        options->subscribers = 10;
    }
    if (strcmp(options->scenario, "neighbours") == 0) {
        options->subscribers = 3000;
        options->flood = 500;
    }
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            help();
    if (options->scenario[0] == '-')
        help();
    for (int i = 2; i < argc; i++) {
        const struct spec *spec = find(argv[i]);

        if (spec->kind != FLAG && i + 1 == argc)
            die("%s wants a value", argv[i]);
        set(options, spec, spec->kind == FLAG ? NULL : argv[++i]);
    }
    check(options);
}
