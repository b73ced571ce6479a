/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kind.h - the kinds of logs that a topic may have, as a table.
 *
 * A message is appended once to the log of each kind that somebody reads. What a
 * kind's frames look like stands here and nowhere else; how a session is answered
 * (its encoding) is another question. A new kind is a new row.
 */
#ifndef TOPIC_KIND_H
#define TOPIC_KIND_H

#include "protocol/message/encode.h"
#include "protocol/message/topic.h"
#include "protocol/websocket/frame.h"

enum log_kind {
    KIND_JSON,          /* MESSAGEs of fanfare.v1.json */
    KIND_MSGPACK,       /* and of fanfare.v1.msgpack */
    KIND_TEXT,          /* as JSON, but `message` is always a string */
    KIND_RAW,           /* no envelope: a text or binary frame holds what was published */
    KIND_JSON_DEFLATED, /* the messages of KIND_JSON, compressed where that is worth it */
    KIND_TEXT_DEFLATED, /* and those of KIND_TEXT */
    KINDS,
};
_Static_assert((int)KIND_JSON == (int)FF_JSON && (int)KIND_MSGPACK == (int)FF_MSGPACK,
               "the first kinds are the encodings");

/* What a subscription missed. */
struct gap {
    struct ff_slice topic;
    const char *cause; /* at most GAP_CAUSE_MAX octets */
    uint64_t skipped;
    /* With history, else 0: the first and the last one, the epoch, and the next message. */
    uint64_t from;
    uint64_t to;
    uint64_t epoch;
    uint64_t offset;
};

enum {
    GAP_CAUSE_MAX = 8,
    GAP_EPOCH_MAX = 20,  /* FF_EPOCH_TEXT, and some */
    GAP_NUMBER_MAX = 20, /* the same; MessagePack needs 9 */
    /* The longest: a name all of quotes, and every field that a GAP may have. */
    GAP_MAX = FF_FRAME_HEAD_MAX +
              sizeof("{\"type\":10,\"topic\":\"\",\"cause\":\"\",\"skipped\":,\"from\":,\"to\":,"
                     "\"epoch\":\"\",\"offset\":}") +
              2 * FF_TOPIC_MAX + GAP_CAUSE_MAX + GAP_EPOCH_MAX + 4 * GAP_NUMBER_MAX,
};

struct kind_ops {
    enum log_kind plain;       /* itself, or the kind whose messages it holds compressed */
    enum log_kind deflated;    /* the kind that holds its messages compressed, or itself */
    enum ff_encoding encoding; /* of the payloads that it is made from, and of its GAPs */
    enum ff_opcode opcode;     /* of its GAPs */
    /*
     * Makes what a message of this kind holds from a payload in that encoding, in `buf` where
     * it is not part of it; NULL: it is the payload, or that of the plain kind. FF_OK, FF_ENOMEM,
     * FF_ELIMIT.
     */
    enum ff_err (*render)(struct ff_payload *payload, struct ff_buf *buf);
    /* The size of the whole frame, and the frame itself: exactly so many octets. */
    size_t (*measure)(const struct ff_delivery *message);
    void (*write)(uint8_t *out, const struct ff_delivery *message, size_t size);
};

extern const struct kind_ops log_kinds[KINDS];

/* The kind that a session reads which is answered in an encoding. */
enum log_kind kind_of(enum ff_encoding encoding);

/*
 * Writes a GAP frame; returns its size, at most GAP_MAX. Where there is no envelope a
 * gap is the end: it is a close frame, 4008.
 */
size_t kind_write_gap(enum log_kind kind, const struct gap *gap, char out[GAP_MAX]);

/* A PRESENCE frame that says how many members a topic has, and no more, as large at most. */
size_t kind_write_count(enum log_kind kind, struct ff_slice topic, uint32_t members,
                        char out[GAP_MAX]);

#endif
