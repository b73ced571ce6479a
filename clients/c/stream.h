/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - a non-blocking TCP or TLS stream of a client. */
#ifndef C_STREAM_H
#define C_STREAM_H

#include <stddef.h>

#include "clients/c/url.h"

struct ff_stream;

enum { FF_STREAM_AGAIN = -1, FF_STREAM_GONE = -2 };

/*
 * Connects, TLS included, within 10 s. `ca_file` NULL: the system's. NULL:
 * `error` says why.
 */
struct ff_stream *ff_stream_open(const struct ff_url *url, const char *ca_file, bool is_insecure,
                                 char *error, size_t error_size);
void ff_stream_free(struct ff_stream *stream);

int ff_stream_fd(const struct ff_stream *stream);

/* Is input waiting that poll() cannot see? */
bool ff_stream_has_input(const struct ff_stream *stream);

/* > 0 octets, 0 the end, or one of the above. */
long ff_stream_read(struct ff_stream *stream, void *out, size_t size);
long ff_stream_write(struct ff_stream *stream, const void *bytes, size_t size);

#endif
