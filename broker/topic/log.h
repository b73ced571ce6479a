/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - a topic's messages of one kind (kind.h), as finished frames.
 *
 * A log is a list of segments of contiguous bytes, frame after frame, never
 * changed once written. A `byte` is a place in it, counted from the log's first octet:
 * `tail_byte` is the oldest still there, `head_byte` the next to be written. An
 * `offset` counts messages, as the protocol does, so that what was missed is
 * known without the bytes that are gone.
 *
 * A segment never moves and never grows: 256 octets at first, each next one
 * twice as large, up to 64 KiB. A frame over 4 KiB has a segment of its own.
 * Frames grow up, one 24-octet entry a frame grows down from the end.
 *
 * One worker owns a log and writes; any may read. Who reads takes a view of it
 * first: tail, head and offset that belong together. Frames below the head of a
 * view do not change, and segments stay in memory until the reader's turn is
 * over, so a view is good for a whole flush.
 *
 * The log of a topic with history is kept: what lies within its window (struct
 * log_window) stays, whoever has read it. It says the epoch of its offsets.
 *
 * A segment that a connection still sends from may be pinned (pin.h): it
 * outlives the log then.
 *
 * A log may have a retained message: a copy of one of its messages, alone in a segment that
 * is no part of the list, which stays until another takes its place (publication.h).
 *
 * Appending is in two steps, so that a message goes to all its logs or to none.
 */
#ifndef TOPIC_LOG_H
#define TOPIC_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/topic/limbo.h"
#include "protocol/base/err.h"

enum {
    SEGMENT_SMALLEST = 256,
    SEGMENT_LARGEST = 65536,
    FRAME_OWN_SEGMENT = 4096, /* frames over this have a segment of their own */
    HOLE_MAX = INT32_MAX,     /* what one entry counts; a larger hole is a leap of its segment */
};

/* A log's first byte. What is less names the retained message of a log: cursor.h. */
#define LOG_BEGIN (UINT64_C(1) << 63)

/* No session's tag: the frame is a hole. */
#define LOG_HOLE UINT64_MAX

/* One frame in its segment: a message, or a hole that stands for several. */
struct entry {
    uint32_t end;          /* where it ends, from the segment's first byte */
    uint32_t passed;       /* messages of the segment up to its end */
    uint32_t publisher[2]; /* the session that published it: entry_publisher() */
    uint32_t tick;         /* when, by the wheel (wheel.h) */
    uint32_t wall;         /* and by the wall clock, in ms from the segment's `wall_ms` */
};

/* Who published a message, and when. */
struct log_stamp {
    uint64_t publisher;
    uint64_t wall_ms; /* since 1970; never lower than that of the message before */
    uint32_t tick;
};

/* What a kept log keeps: the messages that lie within all three bounds. */
struct log_window {
    uint64_t byte;   /* that begin here or later, */
    uint64_t offset; /* that come after this one, */
    uint32_t tick;   /* and that were published at this tick or later */
};

struct segment {
    _Atomic(struct segment *) next;
    struct log *log; /* the one it is in; NULL: it has left it, and the limbo has it */
    union {
        struct ff_list live; /* in a log: among all segments of its owner, the oldest first */
        struct {             /* in the limbo: */
            struct segment *next_retired; /* the next one of its queue, */
            uint64_t retired;             /* and the interval (qsbr.h) in which it left its log */
        };
    };
    uint64_t first_byte;        /* of the log */
    uint64_t offset;            /* messages of the log before its first one */
    uint64_t wall_ms;           /* of its first frame */
    uint32_t size;              /* octets of `bytes`, a multiple of 4 */
    uint32_t used;              /* octets of frames; the owner's, readers go by their view */
    uint32_t begun_at;          /* the tick of its first frame */
    _Atomic uint32_t count;     /* frames */
    _Atomic uint32_t pin_count; /* workers that have it pinned */
    _Alignas(8) uint8_t bytes[];
};

struct log {
    _Atomic(struct segment *) first;
    _Atomic(struct segment *) last;
    _Atomic uint64_t head_byte;
    _Atomic uint64_t offset; /* messages ever appended */
    _Atomic(struct segment *) retained;
    struct segment *retaining;   /* room for the next retained message */
    struct segment *reserved;    /* reserved and not yet in the log */
    struct segment *counted;     /* from it on they count as history's; NULL: none does */
    _Atomic uint32_t version;    /* odd: it is being changed */
    _Atomic uint64_t epoch;      /* of its offsets, 0: its topic has no positions */
    _Atomic uint64_t begun;      /* those up to this one are of epochs before */
    uint32_t reserved_size;      /* octets that log_reserve() was asked for */
    uint32_t segment_most;       /* octets of a segment with several frames */
    uint32_t burst;              /* octets of frames and entries since it was empty, up to 64 KiB */
    uint8_t first_segment_shift; /* size of the first segment after that, as a shift of 256 */
    bool is_shared;              /* other workers read it */
    bool is_kept;                /* those of its window count as history's: log_keep() */
};

/* A byte or an offset so far before `at`, but not below 0. */
static inline uint64_t log_before(uint64_t at, uint64_t by)
{
    return at > by ? at - by : 0;
}

/*
 * `offset`: what the topic has counted already. Segments come from the pool of
 * a limbo and go into it: all functions that take one must be given the same.
 */
void log_init(struct log *log, uint64_t offset);
void log_deinit(struct log *log, struct limbo *limbo);

/*
 * What its window holds stays from here on, in segments of at most an 8th of `octets`, what
 * the window may hold; its offsets are of this epoch.
 */
void log_keep(struct log *log, struct limbo *limbo, uint64_t epoch, uint64_t octets);

/* Its offsets after this one are of another epoch. */
void log_begin_epoch(struct log *log, uint64_t epoch, uint64_t after);

static inline uint64_t log_epoch(const struct log *log)
{
    return atomic_load_explicit(&log->epoch, memory_order_relaxed);
}

/* What a log was at one moment. */
struct log_view {
    struct segment *first; /* NULL: no message is there */
    struct segment *last;
    uint64_t head_byte;
    uint64_t offset;
};

/* For any worker, in its turn. */
struct log_view log_look(const struct log *log);

/* Messages before the oldest that is still there. */
static inline uint64_t view_tail_offset(const struct log_view *view)
{
    return view->first ? view->first->offset : view->offset;
}

/* The oldest byte still there; the head when there is none. */
static inline uint64_t view_tail_byte(const struct log_view *view)
{
    return view->first ? view->first->first_byte : view->head_byte;
}

/* Octets of a segment that a view shows. */
static inline uint32_t view_end(const struct log_view *view, const struct segment *segment)
{
    if (segment == view->last)
        return (uint32_t)(view->head_byte - segment->first_byte);
    return (uint32_t)(atomic_load_explicit(&segment->next, memory_order_acquire)->first_byte -
                      segment->first_byte);
}

/* For the log's owner alone: the same without a view. */
static inline uint64_t log_head_byte(const struct log *log)
{
    return atomic_load_explicit(&log->head_byte, memory_order_relaxed);
}

static inline uint64_t log_tail_byte(const struct log *log)
{
    const struct segment *first = atomic_load_explicit(&log->first, memory_order_relaxed);

    return first ? first->first_byte : log_head_byte(log);
}

static inline const struct entry *segment_entry(const struct segment *segment, uint32_t i)
{
    const void *at = segment->bytes + segment->size - sizeof(struct entry) * (i + 1);

    return at;
}

/* In halves, because entries lie at any multiple of 4 octets. */
static inline uint64_t entry_publisher(const struct entry *entry)
{
    return (uint64_t)entry->publisher[1] << 32 | entry->publisher[0];
}

/* When a frame was published, in ms since 1970. */
static inline uint64_t entry_wall_ms(const struct segment *segment, uint32_t i)
{
    return segment->wall_ms + segment_entry(segment, i)->wall;
}

/* Octets of its memory. */
static inline size_t segment_size(const struct segment *segment)
{
    return sizeof(*segment) + segment->size;
}

/* Where the i-th frame begins in its segment. */
static inline uint32_t segment_frame(const struct segment *segment, uint32_t i)
{
    return i ? segment_entry(segment, i - 1)->end : 0;
}

/* Messages of the segment before the i-th frame. */
static inline uint32_t segment_passed(const struct segment *segment, uint32_t i)
{
    return i ? segment_entry(segment, i - 1)->passed : 0;
}

/* The frame that the segment's octet `at` lies in; `count` at the end. O(log frames). */
uint32_t segment_find(const struct segment *segment, uint32_t at);

/* The first frame with a message behind the segment's first `passed` ones. O(log frames). */
uint32_t segment_find_message(const struct segment *segment, uint64_t passed);

/*
 * Makes room for a frame of `size` octets; log_commit() or log_cancel() must
 * follow before anything else. FF_OK, FF_ENOMEM (the budget's room is used up, too).
 */
FF_MUST_CHECK enum ff_err log_reserve(struct log *log, struct limbo *limbo, size_t size);

/* The same for a retained message, beside what is reserved: the message that is committed becomes
 * it, or what log_retain() says. */
FF_MUST_CHECK enum ff_err log_reserve_retained(struct log *log, struct limbo *limbo, size_t size);

/* It is written to log->retaining->bytes, `size` octets; its offset is `before` + 1. */
void log_retain(struct log *log, struct limbo *limbo, uint64_t before, size_t size,
                const struct log_stamp *stamp);

/* There is none any more. */
void log_forget_retained(struct log *log, struct limbo *limbo);

/* For any worker, in its turn: alone in its segment, at byte 0 of that; NULL: there is none. */
static inline struct segment *log_retained(const struct log *log)
{
    return atomic_load(&log->retained); /* seq_cst: see worker/qsbr.h */
}

/* The message failed elsewhere: nothing is reserved any more. */
void log_cancel(struct log *log, struct limbo *limbo);

/* Where to write the reserved frame. */
uint8_t *log_reserved(const struct log *log);

/* The reserved frame is written, all of it: it becomes the newest message. */
void log_commit(struct log *log, struct limbo *limbo, const struct log_stamp *stamp);

/*
 * The same for a hole: one frame, a GAP, that stands for `count` messages which nobody has
 * any more. It is in its place among the others, so
 * that order, filters and slow readers need nothing else.
 */
FF_MUST_CHECK enum ff_err log_reserve_hole(struct log *log, struct limbo *limbo, size_t size);
void log_commit_hole(struct log *log, struct limbo *limbo, uint64_t count,
                     const struct log_stamp *stamp);

/*
 * Frees what lies below `needed`, and what lies below `limit` whether it is
 * needed or not, but the segment with the newest message only if it is not; and
 * nothing of which the window (NULL: there is none) holds a part. Returns true if the
 * tail moved.
 */
bool log_trim(struct log *log, struct limbo *limbo, uint64_t needed, uint64_t limit,
              const struct log_window *window);

/*
 * The offset before the oldest message that the window holds, the head's where it holds none.
 * O(segments below it + log frames): trimming leaves few of those.
 */
uint64_t view_window_offset(const struct log_view *view, const struct log_window *window);

/* Frees the oldest segment, whoever needs it: memory is short. There must be one. */
void log_cut(struct log *log, struct limbo *limbo);

/* Frees all of them. */
void log_empty(struct log *log, struct limbo *limbo);

/* Byte and offset before the newest message. There must be one. */
uint64_t view_newest(const struct log_view *view, uint64_t *offset);

#endif
