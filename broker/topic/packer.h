/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packer.h - a message's frame, compressed once for all who read it (RFC 7692).
 *
 * Compressing costs as much as some sends, so it is done only for messages that are large
 * and have readers enough. Who reads the log of a deflated kind cannot tell the difference:
 * a frame says by itself whether it is compressed.
 */
#ifndef TOPIC_PACKER_H
#define TOPIC_PACKER_H

#include "protocol/base/buf.h"
#include "protocol/websocket/frame.h"

enum {
    PACKER_FEW_READERS = 4096, /* octets from which a message is compressed, however few read it */
    PACKER_MOST = 256 * 1024,  /* above this nobody else could be served for too long: some ms */
};

/* All 0: nothing is ever compressed. */
struct packer_rules {
    uint32_t level;       /* of effort, 1 to 9 */
    uint32_t window_bits; /* 9 to 15; the same for as long as there are readers */
    uint32_t min_octets;
    uint32_t min_readers;
};

struct packer {
    struct packer_rules rules;
    struct ff_deflater *deflater; /* NULL: not needed yet */
    struct ff_buf plain;          /* a frame before it is compressed */
    bool was_used;                /* since packer_give_back() */
};

void packer_init(struct packer *packer);
void packer_deinit(struct packer *packer);
void packer_configure(struct packer *packer, const struct packer_rules *rules);

/* Is it worth to compress a frame of so many octets for so many readers? */
bool packer_is_worth(const struct packer *packer, size_t octets, uint32_t readers);

/*
 * Compresses the frame that stands in `packer->plain` into `out`; `*frame` lies in it, and is
 * smaller than it was. False: it would not be, or memory is short, and it is sent as it is.
 */
FF_MUST_CHECK bool packer_run(struct packer *packer, struct ff_buf *out, struct ff_slice *frame);

/* Once a second: what was not used since the last time is freed. */
void packer_give_back(struct packer *packer);

#endif
