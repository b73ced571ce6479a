/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode.h - writing messages, in either encoding.
 *
 * Two ways. A MESSAGE for a topic's log is measured first and then written in
 * place as a finished WebSocket frame, once for all its subscribers. All other
 * messages are small and go through a writer, field by field in the order of
 * the layout: JSON without white space, MessagePack with nil for what is
 * missing and trailing nils left out.
 */
#ifndef MESSAGE_ENCODE_H
#define MESSAGE_ENCODE_H

#include "protocol/base/buf.h"
#include "protocol/message/message.h"

/* What a MESSAGE frame holds. The payload must be in the encoding already. */
struct ff_delivery {
    struct ff_slice topic;
    struct ff_slice filter;    /* .at NULL: it did not come through one */
    struct ff_payload payload; /* JSON or BASE64 for FF_JSON, MSGPACK for FF_MSGPACK */
    uint64_t offset;           /* 0: its topic keeps no history */
    uint64_t epoch;            /* said only through a filter; 0: not at all */
};

/* The size of the whole frame, WebSocket head included. */
size_t ff_delivery_size(enum ff_encoding encoding, const struct ff_delivery *delivery);

/* Writes exactly so many octets: `size` is what ff_delivery_size() said. */
void ff_delivery_write(uint8_t *out, enum ff_encoding encoding, const struct ff_delivery *delivery,
                       size_t size);

/*
 * The payload of a frame that ff_delivery_write() wrote for this topic and offset, through no
 * filter: borrowed from it.
 */
struct ff_payload ff_delivery_payload(enum ff_encoding encoding, struct ff_slice frame,
                                      struct ff_slice topic, uint64_t offset);

struct ff_writer {
    struct ff_buf *out;
    const uint8_t *layout;
    size_t count;   /* fields of the layout */
    size_t next;    /* the first that may still be written */
    size_t head_at; /* where MessagePack's array head is, to be mended at the end */
    enum ff_encoding encoding;
    enum ff_err err; /* the first failure; later calls do nothing */
};

/* Begins a message behind what is in `out`. */
void ff_writer_begin(struct ff_writer *w, struct ff_buf *out, enum ff_encoding encoding,
                     enum ff_sender sender, enum ff_type type);

void ff_writer_integer(struct ff_writer *w, enum ff_field field, uint64_t v);
void ff_writer_string(struct ff_writer *w, enum ff_field field, struct ff_slice v);
void ff_writer_bool(struct ff_writer *w, enum ff_field field, bool v);

/* An epoch of ours, as its text. */
void ff_writer_epoch(struct ff_writer *w, enum ff_field field, uint64_t epoch);

/* A value that is already in the encoding. */
void ff_writer_raw(struct ff_writer *w, enum ff_field field, struct ff_slice raw);

/* A map of names and integers, for example WELCOME's limits. */
struct ff_pair {
    const char *name;
    uint64_t v;
};
void ff_writer_map(struct ff_writer *w, enum ff_field field, const struct ff_pair *pairs,
                   size_t count);

/* FF_OK, or the first failure: FF_ENOMEM, FF_ELIMIT. */
FF_MUST_CHECK enum ff_err ff_writer_end(struct ff_writer *w);

#endif
