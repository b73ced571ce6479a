/* SPDX-License-Identifier: Apache-2.0 */
/* report.h - a result, as lines for people or as one JSON object for programs. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "bench/load/meter.h"

struct report {
    bool is_json;
    unsigned count;
};

void report_begin(struct report *report, const struct options *options);
void report_text(struct report *report, const char *name, const char *text);

/* `unit` is for people. */
void report_number(struct report *report, const char *name, double value, const char *unit);

/* CPU, memory, and who was in the way between the two readings. */
void report_cost(struct report *report, const struct reading *from, const struct reading *to,
                 uint64_t deliveries);
void report_end(struct report *report);

/* A line on a terminal that the next one overwrites. */
__attribute__((format(printf, 2, 3))) void progress(const struct options *options,
                                                    const char *format, ...);

#endif
