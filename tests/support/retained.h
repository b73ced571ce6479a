/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retained.h - topics with and without history and a retained message, and a reader whose
 * story is told as text: " @5 6 expired:194 201-300". On the router of lone_router.h.
 */
#ifndef SUPPORT_RETAINED_H
#define SUPPORT_RETAINED_H

#include "broker/topic/history.h"
#include "tests/support/lone_router.h"

enum { RETAINED_MEMORY = 1 << 20, RETAINED_MOST = 4, RETAINED_LARGE = 20000 };

/* The reader, and what it was sent. Names under off/ keep no history, those under few/ three. */
extern struct subscriber reader;
extern char story[4096];

/* cmocka's, besides lone_router_tear_down. */
int retained_set_up(void **state);

#define WITH_RETAINED(test) \
    cmocka_unit_test_setup_teardown(test, retained_set_up, lone_router_tear_down)

/* `memory`: of history. */
void configure(uint32_t max_retained, uint64_t memory);
void end_turn(void);

/* A message [number,"padding"]; 0: null. */
enum ff_err publish_as(const char *topic, uint64_t number, bool retain, enum ff_payload_kind kind,
                       size_t padding);
void publish(const char *topic, uint64_t first, uint64_t last);
void retain(const char *topic, uint64_t number);
void forget(const char *topic);

struct ff_since last(uint32_t count);
struct ff_since after(const char *topic, uint64_t offset);

/* To be told by the story, a printf() each; and a run of messages is over. */
void begin_story(void);
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
void end_run(void);
void on_received(struct subscriber *who, const struct ff_message *m);
void on_overrun(struct subscription *s);

/* The reader subscribes; its socket takes so much; it ends, and the story is whole. */
void begin(struct subscription *s, const char *topic, enum log_kind kind, struct ff_since since);
void read_on(size_t room);
const char *end(struct subscription *s);
const char *hear(const char *topic, enum log_kind kind, struct ff_since since);

#endif
