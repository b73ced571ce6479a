/* SPDX-License-Identifier: Apache-2.0 */
/* micro.h - the operations that fanfare-micro measures. */
#ifndef MICRO_MICRO_H
#define MICRO_MICRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct operation {
    const char *name;
    const char *about;
    size_t octets; /* that it goes over, 0: that is no measure */
    void (*run)(uint64_t times);
};

/* Ends with one that has no `run`. */
extern const struct operation operations[];

/* Ends the program unless it is so: a benchmark of what fails is none. */
void must(bool is_true, const char *what);

void micro_bytes_set_up(void);
void micro_topics_set_up(void);
void micro_topics_tear_down(void);

void micro_frame_parse(uint64_t times);
void micro_frame_parse_text(uint64_t times);
void micro_unmask(uint64_t times);
void micro_utf8_ascii(uint64_t times);
void micro_utf8_mixed(uint64_t times);
void micro_json_chat(uint64_t times);
void micro_json_records(uint64_t times);
void micro_json_floats(uint64_t times);
void micro_decode_publish(uint64_t times);
void micro_decode_publish_msgpack(uint64_t times);
void micro_deflate_1k(uint64_t times);
void micro_deflate_4k(uint64_t times);
void micro_inflate_1k(uint64_t times);
void micro_topic_find(uint64_t times);
void micro_filter_match(uint64_t times);
void micro_log_append(uint64_t times);
void micro_publish_nobody(uint64_t times);
void micro_publish_one(uint64_t times);
void micro_flush_cursor(uint64_t times);

#endif
