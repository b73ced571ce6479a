/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanfare-micro: what the parts of the hot path cost, one by one.
 *
 * Each operation runs in batches for some milliseconds, in turn with all others,
 * several rounds; the least time of a batch counts, because noise only adds.
 * bench/micro/compare plays two builds against each other.
 */
#include "bench/micro/micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 15, BATCH_NS = 4000000, OPERATIONS_MAX = 32 };

void must(bool is_true, const char *what)
{
    if (is_true)
        return;
    (void)fprintf(stderr, "fanfare-micro: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static double run(const struct operation *operation, uint64_t times)
{
    uint64_t from = now_ns();

    operation->run(times);
    return (double)(now_ns() - from) / (double)times;
}

/* How many times fill a batch. */
static uint64_t choose_times(const struct operation *operation)
{
    uint64_t times = 1;

    while (run(operation, times) * (double)times < BATCH_NS)
        times *= 2;
    return times;
}

static void print(const struct operation *operation, double ns, bool is_json)
{
    double gb = (double)operation->octets / ns;

    if (is_json)
        (void)printf("{\"name\":\"%s\",\"ns\":%.4g,\"gb_s\":%.4g}\n", operation->name, ns, gb);
    else if (operation->octets)
        (void)printf("%-26s %9.1f ns %8.2f GB/s   %s\n", operation->name, ns, gb, operation->about);
    else
        (void)printf("%-26s %9.1f ns                 %s\n", operation->name, ns, operation->about);
}

int main(int argc, char **argv)
{
    bool is_json = argc > 1 && strcmp(argv[1], "--json") == 0;
    double least[OPERATIONS_MAX];
    uint64_t times[OPERATIONS_MAX];
    size_t count = 0;

    if (argc > 1 && !is_json) {
        (void)printf("usage: fanfare-micro [--json]\nWhat the parts of the hot path cost.\n");
        return strcmp(argv[1], "--help") != 0;
    }
    micro_bytes_set_up();
    micro_topics_set_up();
    while (operations[count].run) {
        times[count] = choose_times(&operations[count]);
        least[count] = run(&operations[count], times[count]);
        count++;
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < count; i++) {
            double ns = run(&operations[i], times[i]);

            least[i] = ns < least[i] ? ns : least[i];
        }
    }
    for (size_t i = 0; i < count; i++)
        print(&operations[i], least[i], is_json);
    micro_topics_tear_down();
    return 0;
}

const struct operation operations[] = {
    {"frame_parse", "a masked frame of 128 octets, cut and unmasked", 128, micro_frame_parse},
    {"frame_parse_text", "the same as text, UTF-8 checked", 128, micro_frame_parse_text},
    {"unmask", "1 KiB", 1024, micro_unmask},
    {"utf8_ascii", "1 KiB of ASCII", 1024, micro_utf8_ascii},
    {"utf8_mixed", "1 KiB, every fourth character not ASCII", 1024, micro_utf8_mixed},
    {"json_chat", "1 KiB: a chat message with a long text", 1024, micro_json_chat},
    {"json_records", "1 KiB: objects with short fields", 1024, micro_json_records},
    {"json_floats", "1 KiB: an array of floats", 1024, micro_json_floats},
    {"decode_publish", "a PUBLISH of 128 octets in JSON", 0, micro_decode_publish},
    {"decode_publish_msgpack", "the same in MessagePack", 0, micro_decode_publish_msgpack},
    {"deflate_1k", "1 KiB of records compressed for a log", 1024, micro_deflate_1k},
    {"deflate_4k", "4 KiB", 4096, micro_deflate_4k},
    {"inflate_1k", "a message of 1 KiB that leans on nothing", 1024, micro_inflate_1k},
    {"topic_find", "one of 10,000 topics by its name", 0, micro_topic_find},
    {"filter_match", "a name against 1,000 filters", 0, micro_filter_match},
    {"log_append", "a frame of 150 octets, trimmed as it goes", 0, micro_log_append},
    {"publish_nobody", "nobody is subscribed", 0, micro_publish_nobody},
    {"publish_one", "one subscriber: append, walk, send, settle", 0, micro_publish_one},
    {"flush_cursor", "one of 1,000 cursors: collect and advance", 0, micro_flush_cursor},
    {NULL, NULL, 0, NULL},
};
