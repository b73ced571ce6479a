/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recall.h - what a topic keeps, as a list: the answer to HISTORY (docs/protocol.md).
 */
#ifndef TOPIC_RECALL_H
#define TOPIC_RECALL_H

#include "protocol/base/buf.h"
#include "protocol/base/err.h"
#include "protocol/message/message.h"

struct router;

enum { RECALL_LIMIT = 1000 /* messages of one list */ };

struct recall {
    bool has_since;
    bool is_reverse; /* the newest first, and `since` is where it ends */
    struct ff_since since;
    uint32_t limit; /* messages, at most RECALL_LIMIT */
    enum ff_encoding encoding;
    uint32_t max_octets; /* of the list */
};

struct recalled {
    uint64_t epoch; /* 0: the topic keeps no history */
    bool has_more;  /* than fitted */
};

/*
 * Appends an array of entries to `out`, whose maximum becomes that of the list. FF_OK, FF_ENOMEM,
 * FF_EGONE (`since` is of another epoch, ahead, or not kept any more), FF_ETOOBIG (not even one
 * message fits), FF_ENONE (the topic keeps no history).
 */
FF_MUST_CHECK enum ff_err recall_messages(struct router *router, struct ff_slice name,
                                          const struct recall *what, struct ff_buf *out,
                                          struct recalled *recalled);

#endif
