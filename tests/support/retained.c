/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/retained.h"

#include <stdarg.h>

#include "protocol/message/transcode.h"

enum { MESSAGES = 100 };

struct subscriber reader;
char story[4096];
static uint64_t first_of_run;
static uint64_t last_of_run;

void tell(const char *format, ...)
{
    size_t len = strlen(story);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(story + len, sizeof(story) - len, format, args);
    va_end(args);
}

/* Messages in a row are told as one. */
void end_run(void)
{
    if (first_of_run && first_of_run == last_of_run)
        tell(" %u", (unsigned)first_of_run);
    else if (first_of_run)
        tell(" %u-%u", (unsigned)first_of_run, (unsigned)last_of_run);
    first_of_run = 0;
}

void on_received(struct subscriber *who, const struct ff_message *m)
{
    uint64_t number;

    (void)who;
    if (m->type == FF_TYPE_GAP) {
        end_run();
        tell(" %.*s:%u", (int)m->values[FF_FIELD_CAUSE].text.len, m->values[FF_FIELD_CAUSE].text.at,
             (unsigned)m->values[FF_FIELD_SKIPPED].integer);
        return;
    }
    number = subscriber_number(&m->payload);
    if (ff_message_has(m, FF_FIELD_OFFSET))
        assert_int_equal(m->values[FF_FIELD_OFFSET].integer, number);
    if (first_of_run && number == last_of_run + 1) {
        last_of_run = number;
        return;
    }
    end_run();
    first_of_run = last_of_run = number;
}

void on_overrun(struct subscription *s)
{
    end_run();
    tell(" closed");
    link_set_pending(s, NULL);
}

static const struct topic_rule rules[] = {
    {.filter = "off/#", .history = 0, .history_bytes = 1024, .history_seconds = 1},
    {.filter = "few/#", .history = 3, .history_bytes = RULE_DEFAULT, .history_seconds = 300},
};

void configure(uint32_t max_retained, uint64_t memory)
{
    struct router_limits limits = {
        .max_message = 65536,
        .max_buffered = 1 << 20,
        .max_topics = 1000,
        .max_filters = 1000,
        .max_retained = max_retained,
        .packing = {.level = 1, .window_bits = 15, .min_octets = 1, .min_readers = 1},
        .history = {.messages = MESSAGES,
                    .octets = 65536,
                    .seconds = 300,
                    .position_seconds = 3600,
                    .memory = memory}};

    router_configure(&router, &limits, rules, FF_COUNT(rules));
}

int retained_set_up(void **state)
{
    if (lone_router_set_up(state))
        return -1;
    configure(RETAINED_MOST, RETAINED_MEMORY);
    return 0;
}

void end_turn(void)
{
    router_mark_ready(&router);
    (void)router_trim(&router);
}

enum ff_err publish_as(const char *topic, uint64_t number, bool retain, enum ff_payload_kind kind,
                       size_t padding)
{
    static char text[RETAINED_LARGE + 100];
    int len = number
                  ? snprintf(text, sizeof(text), "[%u,\"%0*d\"]", (unsigned)number, (int)padding, 0)
                  : snprintf(text, sizeof(text), "null");
    struct publication p = {.topic = ff_slice_of(topic),
                            .payload = {FF_PAYLOAD_JSON, {text, (size_t)len}},
                            .publisher = 1,
                            .retain = retain};
    struct ff_buf packed = {.max = 2UL * RETAINED_LARGE};
    struct receipt receipt;
    enum ff_err err = FF_OK;

    if (kind == FF_PAYLOAD_MSGPACK)
        err = ff_transcode(&p.payload, FF_MSGPACK, &packed);
    if (!err)
        err = router_publish(&router, &p, &receipt);
    ff_buf_deinit(&packed);
    return err;
}

void publish(const char *topic, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        assert_int_equal(publish_as(topic, i, false, FF_PAYLOAD_JSON, 20), FF_OK);
        end_turn();
    }
}

void retain(const char *topic, uint64_t number)
{
    assert_int_equal(publish_as(topic, number, true, FF_PAYLOAD_JSON, 20), FF_OK);
    end_turn();
}

void forget(const char *topic)
{
    assert_int_equal(publish_as(topic, 0, true, FF_PAYLOAD_JSON, 0), FF_OK);
    end_turn();
}

struct ff_since last(uint32_t count)
{
    return (struct ff_since){.count = count};
}

struct ff_since after(const char *topic, uint64_t offset)
{
    struct ff_position at = registry_position(&router.registry, ff_slice_of(topic));

    return (struct ff_since){.is_position = true, .position = {at.epoch, offset}};
}

void begin_story(void)
{
    story[0] = 0;
    first_of_run = 0;
}

void begin(struct subscription *s, const char *topic, enum log_kind kind, struct ff_since since)
{
    struct history_start start;

    subscriber_init(&reader, 7, log_kinds[kind].encoding);
    reader.received = on_received;
    reader.overrun = on_overrun;
    s->owner = &reader;
    begin_story();
    assert_int_equal(history_find_start(&router, ff_slice_of(topic), kind, &since, &start), FF_OK);
    assert_int_equal(router_subscribe_at(&router, s, ff_slice_of(topic), kind, &start), FF_OK);
    if (start.is_recovered)
        tell(" recovered");
    if (start.is_lost)
        tell(" lost");
    if (start.missing)
        tell(" missing:%u", (unsigned)start.missing);
    tell(" @%u", (unsigned)history_first(&start).offset);
    router_hold(s);
    router_release(&router, s);
}

void read_on(size_t room)
{
    reader.room = room;
    reader.is_blocked = false;
    subscriber_flush(&reader, &router);
    end_turn();
}

const char *end(struct subscription *s)
{
    for (int i = 0; i < 100; i++)
        read_on(1 << 16);
    end_run();
    if (s->state != SUBSCRIPTION_DETACHED)
        router_unsubscribe(&router, s);
    subscriber_deinit(&reader);
    return story;
}

const char *hear(const char *topic, enum log_kind kind, struct ff_since since)
{
    struct subscription s = {.owner = NULL};

    begin(&s, topic, kind, since);
    return end(&s);
}
