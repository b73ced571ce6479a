/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.h - TLS 1.2 and newer for accepted connections (OpenSSL 3).
 *
 * AES-128-GCM comes first, because it costs half of what ChaCha20 does here;
 * buffers go back when a connection is idle; session tickets are on,
 * renegotiation is off.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stddef.h>

#include "protocol/base/check.h"
#include "protocol/base/err.h"

/*
 * OpenSSL allocates by ff_mem from here on, so that what TLS holds is counted,
 * bounded and can be made to fail. To be called before anything else of OpenSSL.
 */
void tls_use_our_memory(void);

struct tls_context; /* certificate and key; connections that began with it keep it */

/*
 * Reads certificate chain and key from PEM files. NULL when that fails: `why`
 * then says what is wrong and what to do.
 */
FF_MUST_CHECK struct tls_context *tls_context_new(const char *cert_file, const char *key_file,
                                                  char *why, size_t why_size);
void tls_context_free(struct tls_context *context);

/* The server's side of one connection on `fd`, for conn_init(). NULL: out of memory. */
FF_MUST_CHECK void *tls_accept(struct tls_context *context, int fd);

/* Frees what tls_accept() made when no connection came of it. */
void tls_discard(void *tls);

#endif
