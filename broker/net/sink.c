/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink.c - a bounded ring of finished log lines and the thread that writes them. A
 * description that takes nothing costs the ring's end: lines are dropped, counted,
 * and told when there is room.
 */
#include "broker/net/sink.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/net/thread.h"
#include "protocol/base/mem.h"

enum { LOST_MAX = 256, STEP_MS = 5, RETRY_MS = 1000 };

struct sink {
    int fd;
    sink_lost_fn *tell_lost;
    pthread_t thread;
    _Atomic bool is_ending;
    _Atomic bool is_done;      /* the thread's last word */
    _Atomic uint64_t put;      /* octets ever taken in, */
    _Atomic uint64_t finished; /* and those that were written, or given up at the end */

    pthread_mutex_t lock; /* of what follows; held while octets are copied, never while they are
                             written */
    pthread_cond_t filled;
    uint64_t lost; /* lines since the last one that was taken in */
    size_t start;
    size_t len;
    char ring[SINK_SIZE];
    char chunk[SINK_LINE_MAX]; /* the thread's alone: what it is writing */
};

static void wait_ms(unsigned ms)
{
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};

    (void)nanosleep(&time, NULL);
}

/* Under the lock; there is room. */
static void append(struct sink *sink, const char *bytes, size_t len)
{
    size_t at = (sink->start + sink->len) % SINK_SIZE;
    size_t part = len < SINK_SIZE - at ? len : SINK_SIZE - at;

    memcpy(sink->ring + at, bytes, part);
    memcpy(sink->ring, bytes + part, len - part);
    sink->len += len;
    atomic_fetch_add(&sink->put, len);
}

/* Under the lock: says how many lines were lost here, if any were. */
static void append_lost(struct sink *sink)
{
    char line[LOST_MAX];

    if (!sink->lost)
        return;
    append(sink, line, sink->tell_lost(line, sizeof(line), sink->lost));
    sink->lost = 0;
}

void sink_put(struct sink *sink, const char *line, size_t len)
{
    size_t need;

    FF_CHECK(len > 0 && len <= SINK_LINE_MAX && line[len - 1] == '\n');
    (void)pthread_mutex_lock(&sink->lock);
    need = len + (sink->lost ? (size_t)LOST_MAX : 0);
    if (need > SINK_SIZE - sink->len) {
        sink->lost++;
    } else {
        append_lost(sink);
        append(sink, line, len);
        (void)pthread_cond_signal(&sink->filled);
    }
    (void)pthread_mutex_unlock(&sink->lock);
}

/* Under the lock: moves whole lines into the chunk, as many as go in; returns their octets. */
static size_t take_lines(struct sink *sink)
{
    size_t most = sink->len < SINK_LINE_MAX ? sink->len : SINK_LINE_MAX;
    size_t to_end = SINK_SIZE - sink->start;
    size_t part = most < to_end ? most : to_end;
    const char *end;
    size_t len;

    memcpy(sink->chunk, sink->ring + sink->start, part);
    memcpy(sink->chunk + part, sink->ring, most - part);
    end = memrchr(sink->chunk, '\n', most);
    FF_CHECK(end);
    len = (size_t)(end - sink->chunk) + 1;
    sink->start = (sink->start + len) % SINK_SIZE;
    sink->len -= len;
    return len;
}

/* Waits for lines; 0: there are none, and there will be none. */
static size_t next_chunk(struct sink *sink)
{
    size_t len = 0;

    (void)pthread_mutex_lock(&sink->lock);
    if (sink->len == 0)
        append_lost(sink);
    while (sink->len == 0 && !atomic_load(&sink->is_ending))
        (void)pthread_cond_wait(&sink->filled, &sink->lock);
    if (sink->len)
        len = take_lines(sink);
    (void)pthread_mutex_unlock(&sink->lock);
    return len;
}

/* Others set the descriptor to be non-blocking; or there is no space: later. False: it is the end.
 */
static bool wait_for_room(const struct sink *sink, int error)
{
    struct pollfd out = {sink->fd, POLLOUT, 0};

    if (error == EAGAIN)
        return poll(&out, 1, -1) > 0 || errno == EINTR;
    for (unsigned waited = 0; waited < RETRY_MS; waited += STEP_MS) {
        if (atomic_load(&sink->is_ending))
            return false;
        wait_ms(STEP_MS);
    }
    return true;
}

static bool write_chunk(struct sink *sink, size_t len)
{
    size_t at = 0;

    while (at < len) {
        ssize_t written = write(sink->fd, sink->chunk + at, len - at);

        if (written >= 0)
            at += (size_t)written;
        else if (errno != EINTR && !wait_for_room(sink, errno))
            return false;
    }
    return true;
}

static void *run(void *arg)
{
    struct sink *sink = arg;
    bool is_good = true;
    size_t len;

    while (is_good && (len = next_chunk(sink))) {
        is_good = write_chunk(sink, len);
        atomic_fetch_add(&sink->finished, len);
    }
    atomic_store(&sink->is_done, true);
    return NULL;
}

struct sink *sink_new(int fd, sink_lost_fn *tell_lost)
{
    struct sink *sink = ff_mem_zalloc(sizeof(*sink));

    if (!sink)
        return NULL;
    sink->fd = fd;
    sink->tell_lost = tell_lost;
    (void)pthread_mutex_init(&sink->lock, NULL);
    (void)pthread_cond_init(&sink->filled, NULL);
    if (thread_begin(&sink->thread, run, sink))
        return sink;
    ff_mem_free(sink);
    return NULL;
}

bool sink_drain(const struct sink *sink, unsigned patience_ms)
{
    unsigned waited = 0;

    while (atomic_load(&sink->finished) != atomic_load(&sink->put) && waited < patience_ms) {
        wait_ms(STEP_MS);
        waited += STEP_MS;
    }
    return atomic_load(&sink->finished) == atomic_load(&sink->put);
}

void sink_free(struct sink *sink, unsigned patience_ms)
{
    if (!sink)
        return;
    (void)pthread_mutex_lock(&sink->lock);
    atomic_store(&sink->is_ending, true);
    (void)pthread_cond_signal(&sink->filled);
    (void)pthread_mutex_unlock(&sink->lock);
    for (unsigned waited = 0; !atomic_load(&sink->is_done); waited += STEP_MS) {
        if (waited >= patience_ms) { /* nobody empties it, and nobody waits for that any more */
            (void)pthread_detach(sink->thread);
            return;
        }
        wait_ms(STEP_MS);
    }
    (void)pthread_join(sink->thread, NULL);
    (void)pthread_cond_destroy(&sink->filled);
    (void)pthread_mutex_destroy(&sink->lock);
    ff_mem_free(sink);
}
