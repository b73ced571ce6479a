/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/meter.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/load/hub.h"

/* The first number of /proc/PID/task/TID/schedstat: nanoseconds on a CPU. */
static uint64_t thread_ns(int pid, const char *tid)
{
    char path[320];
    char text[64] = "";
    FILE *in;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, tid);
    in = fopen(path, "re");
    if (!in)
        return 0;
    if (!fgets(text, sizeof(text), in))
        text[0] = 0;
    (void)fclose(in);
    return strtoull(text, NULL, 10);
}

static uint64_t process_ns(int pid)
{
    const struct dirent *entry;
    uint64_t sum = 0;
    char path[64];
    DIR *tasks;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
    tasks = opendir(path);
    if (!tasks)
        die("there is no process %d", pid);
    while ((entry = readdir(tasks)))
        if (entry->d_name[0] != '.')
            sum += thread_ns(pid, entry->d_name);
    (void)closedir(tasks);
    return sum;
}

static void add_memory(struct reading *reading, int pid)
{
    char line[128];
    char path[64];
    FILE *in;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    in = fopen(path, "re");
    while (in && fgets(line, sizeof(line), in)) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            reading->server_kib += strtoull(line + 6, NULL, 10);
        if (strncmp(line, "VmHWM:", 6) == 0)
            reading->server_top_kib += strtoull(line + 6, NULL, 10);
    }
    if (in)
        (void)fclose(in);
}

static uint64_t time_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_usec * 1000U;
}

void meter_read(struct reading *reading, const struct options *options)
{
    struct rusage own;

    *reading = (struct reading){.at_ns = clock_ns()};
    for (unsigned i = 0; i < options->pid_count; i++) {
        reading->server_ns += process_ns(options->pids[i]);
        add_memory(reading, options->pids[i]);
    }
    (void)getrusage(RUSAGE_SELF, &own);
    reading->own_ns = time_ns(own.ru_utime) + time_ns(own.ru_stime);
    reading->preemptions = (uint64_t)own.ru_nivcsw;
}
