/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { BOTTLENECK_PERCENT = 95, MANY_PREEMPTIONS = 200 };

void report_begin(struct report *report, const struct options *options)
{
    *report = (struct report){.is_json = options->is_json};
    if (isatty(STDERR_FILENO) && !options->is_quiet)
        (void)fprintf(stderr, "\r\033[K");
    report_text(report, "scenario", options->scenario);
    report_text(report, "dialect", options->dialect);
}

void report_text(struct report *report, const char *name, const char *text)
{
    if (report->is_json)
        (void)printf("%s\"%s\":\"%s\"", report->count++ ? "," : "{", name, text);
    else
        (void)printf("%-24s %s\n", name, text);
}

void report_number(struct report *report, const char *name, double value, const char *unit)
{
    if (report->is_json)
        (void)printf("%s\"%s\":%.6g", report->count++ ? "," : "{", name, value);
    else if (value >= 1000 || value == (double)(long)value)
        (void)printf("%-24s %.0f %s\n", name, value, unit);
    else
        (void)printf("%-24s %.3g %s\n", name, value, unit);
}

void report_cost(struct report *report, const struct reading *from, const struct reading *to,
                 uint64_t deliveries)
{
    double wall = (double)(to->at_ns - from->at_ns);
    double own = 100 * (double)(to->own_ns - from->own_ns) / wall;
    double server = (double)(to->server_ns - from->server_ns);
    uint64_t preemptions = to->preemptions - from->preemptions;

    report_number(report, "client_cpu", own, "% of a core");
    if (to->server_ns) {
        report_number(report, "server_cpu", 100 * server / wall, "% of a core");
        report_number(report, "cpu_ns", deliveries ? server / (double)deliveries : 0,
                      "ns of the server a delivery");
        report_number(report, "rss_kib", (double)to->server_kib, "KiB resident");
        report_number(report, "rss_top_kib", (double)to->server_top_kib, "KiB at most");
        report_number(report, "rss_grown_kib", (double)to->server_kib - (double)from->server_kib,
                      "KiB");
    }
    if (own > BOTTLENECK_PERCENT)
        report_text(report, "bottleneck", "the client: the server could do more");
    if ((double)preemptions > MANY_PREEMPTIONS * wall / 1e9)
        report_text(report, "disturbed", "others took the client's CPU");
}

void report_end(struct report *report)
{
    if (report->is_json)
        (void)printf("}\n");
    (void)fflush(stdout);
}

void progress(const struct options *options, const char *format, ...)
{
    va_list args;

    if (options->is_quiet || !isatty(STDERR_FILENO))
        return;
    va_start(args, format);
    (void)fprintf(stderr, "\r\033[K");
    (void)vfprintf(stderr, format, args);
    (void)fflush(stderr);
    va_end(args);
}
