/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logger.h - one event, one line, on standard error.
 *
 * `key=value` or JSON. Values that a peer had a hand in are escaped, so that a
 * line is always one line. Never payloads, tokens, or a line for each message.
 * Of one event at most LOG_LINES_A_SECOND lines a second are written (debug
 * apart): those beyond are counted, and the count is told. So a flood of bad
 * handshakes fills no disk.
 *
 * From log_begin() on nobody waits for whoever reads the log (sink.h): what finds
 * no room is lost, and a line `log_lost` says how many there were. The level, the
 * format, these counts and the sink are the only mutable globals of the broker.
 */
#ifndef NET_LOGGER_H
#define NET_LOGGER_H

#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/check.h"

enum log_level {
    LOG_ERROR, /* an operator must act */
    LOG_WARN,  /* we dropped or refused something */
    LOG_INFO,  /* life events */
    LOG_DEBUG,
};

enum { LOG_LINES_A_SECOND = 10 };

struct log_field {
    const char *key;
    struct ff_slice text; /* .at NULL: the number counts */
    int64_t number;
};

#define LOG_TEXT(key, value)  ((struct log_field){(key), ff_slice_of(value), 0})
#define LOG_SLICE(key, value) ((struct log_field){(key), (value), 0})
#define LOG_NUM(key, value)   ((struct log_field){(key), {NULL, 0}, (int64_t)(value)})

/* LOG_EVENT(LOG_INFO, "listening", LOG_TEXT("url", url), LOG_NUM("port", port)); */
#define LOG_EVENT(level, event, ...) \
    log_event((level), (event), (const struct log_field[]){__VA_ARGS__, {NULL, {NULL, 0}, 0}})

/*
 * Before the first other thread: from here on lines are written by a thread. False: errno says why
 * there is none. Before it, and after log_end(), a line is written by who logs it.
 */
FF_MUST_CHECK bool log_begin(void);

/* After the last other thread: writes what is left, but waits no longer than a second for that. */
void log_end(void);

/* `fields` ends with a NULL key. */
void log_event(enum log_level level, const char *event, const struct log_field *fields);

void log_set(enum log_level level, bool is_json);
bool log_is_on(enum log_level level);

/* Once a second: a line for each event that had lines left out, with their number. */
void log_tell_suppressed(void);

#endif
