/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logger.c - log lines as text or JSON: built on the stack, escaped, limited by
 * rate for each event, and handed to the sink, which writes them in a thread of its
 * own.
 */
#include "broker/net/logger.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "broker/net/sink.h"
#include "protocol/base/utf8.h"

enum {
    LINE_MAX_BYTES = 2048,
    LINE_ROOM = 16,
    QUOTED_END = LINE_MAX_BYTES - 32,
    TALLIES = 64,
    PATIENCE_MS = 1000, /* with who does not read, at the end */
};

_Static_assert((int)LINE_MAX_BYTES <= (int)SINK_LINE_MAX, "a line goes into the sink");

static _Atomic enum log_level max_level = LOG_INFO;
static _Atomic bool in_json;
static struct sink *sink; /* NULL: lines are written at once */

static const char *const names[] = {"error", "warn", "info", "debug"};

/* What was logged of one event in one second. */
struct tally {
    const char *event; /* static texts: compared as pointers */
    enum log_level level;
    time_t second;
    uint32_t lines;
    uint32_t suppressed;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the tallies */
static struct tally tallies[TALLIES];

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

void log_set(enum log_level level, bool is_json)
{
    max_level = level;
    in_json = is_json;
}

bool log_is_on(enum log_level level)
{
    return level <= max_level;
}

static void put(struct line *line, const char *text, size_t len)
{
    size_t room = sizeof(line->text) - LINE_ROOM - line->len;

    if (len > room)
        len = room;
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

/* Of three octets: what turns the order of a line around, or ends it. U+200E, F, 2028 to E, 2066
 * to 9. */
static bool is_steering(const unsigned char *c)
{
    if (c[0] != 0xe2)
        return false;
    if (c[1] == 0x80)
        return c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae);
    return c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9;
}

/* Octets of the code point at `i`; 0: it is no UTF-8, or could steer a terminal or begin a line. */
static size_t harmless_at(struct ff_slice text, size_t i)
{
    const unsigned char *c = (const unsigned char *)text.at + i;
    size_t size = *c < 0x80 ? 1 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 : 4;
    bool is_bad;

    if (size == 1)
        return *c >= ' ' && *c < 0x7f;
    if (i + size > text.len || !ff_utf8_is_valid(c, size))
        return 0;
    is_bad = size == 2 ? (c[0] == 0xc2 && c[1] < 0xa0) ||   /* C1 */
                             (c[0] == 0xd8 && c[1] == 0x9c) /* U+061C */
                       : size == 3 && is_steering(c);
    return is_bad ? 0 : size;
}

/* One that is not harmless, as an escape; returns how many octets of the text it stands for. */
static size_t put_escape(struct line *line, struct ff_slice text, size_t i)
{
    unsigned char c = (unsigned char)text.at[i];
    size_t size = c < 0xc2 ? 1 : c < 0xe0 ? 2 : 3;
    uint32_t point = size == 2 ? (c & 0x1fU) << 6 : (c & 0x0fU) << 12;
    char escape[8];

    if (size > 1 && i + size <= text.len && ff_utf8_is_valid(text.at + i, size)) {
        for (size_t k = 1; k < size; k++)
            point |= ((unsigned char)text.at[i + k] & 0x3fU) << (6 * (size - 1 - k));
        put(line, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)point));
        return size;
    }
    if (c == '\n' || c == '\r' || c == '\t')
        put(line, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t", 2);
    else if (c < 0x80 || !in_json)
        put(line, escape,
            (size_t)snprintf(escape, sizeof(escape), in_json ? "\\u%04x" : "\\x%02x", c));
    else
        put(line, "\\ufffd", 6); /* JSON is UTF-8 */
    return 1;
}

/*
 * Quoted, with everything escaped that could end a line or steer a terminal; `"` and
 * `\` have a `\` before them, in text as in JSON.
 */
static void put_quoted(struct line *line, struct ff_slice text)
{
    put(line, "\"", 1);
    for (size_t i = 0; i < text.len && line->len < QUOTED_END;) {
        size_t size = harmless_at(text, i);

        if (text.at[i] == '"' || text.at[i] == '\\')
            put(line, "\\", 1);
        if (size)
            put(line, &text.at[i], size);
        i += size ? size : put_escape(line, text, i);
    }
    put(line, "\"", 1);
}

static bool is_plain(struct ff_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f || strchr("\"\\=", text.at[i]))
            return false;
    return text.len > 0;
}

static void put_field(struct line *line, struct log_field field)
{
    char number[24];

    if (line->len + strlen(field.key) + sizeof(number) > QUOTED_END)
        return; /* a line has its end, and is still one that can be read */
    put(line, in_json ? ",\"" : " ", in_json ? 2 : 1);
    put(line, field.key, strlen(field.key));
    put(line, in_json ? "\":" : "=", in_json ? 2 : 1);
    if (!field.text.at)
        put(line, number, (size_t)snprintf(number, sizeof(number), "%" PRId64, field.number));
    else if (!in_json && is_plain(field.text))
        put(line, field.text.at, field.text.len);
    else
        put_quoted(line, field.text);
}

static void format_event(struct line *line, enum log_level level, const char *event,
                         const struct log_field *fields)
{
    struct timespec now;
    struct tm utc;
    char stamp[32];

    line->len = 0;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (in_json)
        put(line, "{\"time\":\"", 9);
    put(line, stamp, strlen(stamp));
    put(line, in_json ? "\",\"level\":\"" : " ", in_json ? 11 : 1);
    put(line, names[level], strlen(names[level]));
    put(line, in_json ? "\",\"event\":\"" : " ", in_json ? 11 : 1);
    put(line, event, strlen(event));
    if (in_json)
        put(line, "\"", 1);
    for (; fields->key; fields++)
        put_field(line, *fields);
    if (in_json)
        line->text[line->len++] = '}';
    line->text[line->len++] = '\n';
}

static void write_event(enum log_level level, const char *event, const struct log_field *fields)
{
    struct line line;
    ssize_t written;

    format_event(&line, level, event, fields);
    if (sink) {
        sink_put(sink, line.text, line.len);
        return;
    }
    written = write(STDERR_FILENO, line.text, line.len);
    (void)written;
}

static size_t tell_lost(char *out, size_t size, uint64_t lost)
{
    const struct log_field fields[] = {LOG_NUM("lines", lost), {NULL, {NULL, 0}, 0}};
    struct line line;

    format_event(&line, LOG_WARN, "log_lost", fields);
    FF_CHECK(line.len <= size);
    memcpy(out, line.text, line.len);
    return line.len;
}

/* What was logged before it is what explains it. Whoever does not read is not waited for. */
static void tell_failure(const char *text)
{
    struct pollfd out = {STDERR_FILENO, POLLOUT, 0};
    ssize_t written = 0;

    (void)sink_drain(sink, PATIENCE_MS);
    if (poll(&out, 1, 0) > 0)
        written = write(STDERR_FILENO, text, strlen(text));
    (void)written;
}

/* OpenSSL or libc: then abort() goes on. */
static void on_abort(int number)
{
    (void)number;
    (void)sink_drain(sink, PATIENCE_MS);
}

bool log_begin(void)
{
    struct sigaction action = {.sa_handler = on_abort};

    sink = sink_new(STDERR_FILENO, tell_lost);
    if (!sink)
        return false;
    ff_check_tell(tell_failure);
    (void)sigaction(SIGABRT, &action, NULL);
    return true;
}

void log_end(void)
{
    struct sink *ending = sink;

    (void)signal(SIGABRT, SIG_DFL);
    ff_check_tell(NULL);
    sink = NULL;
    sink_free(ending, PATIENCE_MS);
}

static struct tally *find_tally(const char *event)
{
    for (size_t i = 0; i < TALLIES; i++) {
        if (!tallies[i].event)
            tallies[i].event = event;
        if (tallies[i].event == event)
            return &tallies[i];
    }
    return NULL; /* more kinds of events than there are in the source */
}

static bool is_admitted(enum log_level level, const char *event)
{
    struct tally *tally = find_tally(event);
    struct timespec now;

    if (!tally)
        return true;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (tally->second != now.tv_sec) {
        tally->second = now.tv_sec;
        tally->lines = 0;
    }
    tally->level = level;
    if (tally->lines++ < LOG_LINES_A_SECOND)
        return true;
    tally->suppressed++;
    return false;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields)
{
    bool is_told = level == LOG_DEBUG;

    if (!log_is_on(level))
        return;
    if (!is_told) {
        (void)pthread_mutex_lock(&lock);
        is_told = is_admitted(level, event);
        (void)pthread_mutex_unlock(&lock);
    }
    if (is_told)
        write_event(level, event, fields);
}

/* Takes what was left out of an event, which is then told; false: nothing was. */
static bool take_suppressed(struct tally *tally, struct tally *taken)
{
    (void)pthread_mutex_lock(&lock);
    *taken = *tally;
    tally->suppressed = 0;
    (void)pthread_mutex_unlock(&lock);
    return taken->suppressed > 0;
}

void log_tell_suppressed(void)
{
    struct tally taken;

    for (size_t i = 0; i < TALLIES; i++) {
        if (!take_suppressed(&tallies[i], &taken))
            continue;
        write_event(taken.level, taken.event,
                    (const struct log_field[]){LOG_NUM("suppressed", taken.suppressed),
                                               {NULL, {NULL, 0}, 0}});
    }
}
