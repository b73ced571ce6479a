/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload.h - messages that show what became of them.
 *
 * A payload is text: number, publisher and time in letters a to p (a nibble
 * each), then a filling that all share, so that it stands in JSON as it is.
 */
#ifndef LOAD_PAYLOAD_H
#define LOAD_PAYLOAD_H

#include <stdbool.h>

#include "protocol/base/bytes.h"

struct stamp {
    uint32_t number;
    uint32_t publisher;
    uint64_t time_ns; /* when it was, or should have been, sent */
};

/*
 * From now on payloads look like records: they compress to a third of their size, and not to
 * nothing.
 */
void payload_use_records(void);

/* `size` octets of room, at least PAYLOAD_MIN; returns the payload. */
struct ff_slice payload_write(char *room, size_t size, const struct stamp *stamp);

/* False: altered. */
bool payload_read(struct ff_slice payload, size_t size, struct stamp *stamp);

#endif
