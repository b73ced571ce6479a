/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terms.h - what two peers agreed upon about permessage-deflate (RFC 7692).
 *
 * A client makes offers in Sec-WebSocket-Extensions, the best first; a server takes one
 * of them, or none. An offer that is malformed, or asks for what is not known, is passed
 * over (RFC 7692, section 5.1): it never fails a handshake. The answer always has
 * server_no_context_takeover, because a frame that is made once for many readers cannot
 * lean on what each of them was sent before.
 *
 * One pass over the headers; nothing allocates.
 */
#ifndef WEBSOCKET_TERMS_H
#define WEBSOCKET_TERMS_H

#include "protocol/base/buf.h"
#include "protocol/websocket/http.h"

enum {
    FF_WINDOW_BITS_LEAST = 8, /* windows are 2^8 to 2^15 octets; zlib makes none of 2^8 */
    FF_WINDOW_BITS_MOST = 15,
    FF_OFFERS_MAX = 8,       /* extensions that are looked at, */
    FF_OFFER_PARAMS_MAX = 16 /* and parameters of one of them: with more it is passed over */
};

struct ff_deflate_terms {
    uint8_t server_bits;  /* the window of what the server sends; 0: nothing was agreed upon */
    uint8_t client_bits;  /* the window of what the client sends */
    bool client_forgets;  /* each message of the client begins with an empty window */
    bool is_server_named; /* the answer has server_max_window_bits, */
    bool is_client_named; /* client_max_window_bits */
};

/* What a server wants. */
struct ff_deflate_wishes {
    uint8_t server_bits; /* the largest window that it uses */
    bool client_forgets; /* clients are asked to forget, whether they offer it or not */
};

/* Takes the first offer that is acceptable. False: there is none, and `terms` are all 0. */
bool ff_terms_choose(const struct ff_http_head *head, const struct ff_deflate_wishes *wishes,
                     struct ff_deflate_terms *terms);

/* Appends the header of the answer; nothing where nothing was agreed upon. FF_OK, FF_ENOMEM,
 * FF_ELIMIT. */
FF_MUST_CHECK enum ff_err ff_terms_write(struct ff_buf *out, const struct ff_deflate_terms *terms);

/*
 * For clients that offer `permessage-deflate; client_no_context_takeover`: reads a server's
 * answer. FF_OK, `terms` all 0 if it declined; FF_EINVAL: it answered what may not be answered.
 */
FF_MUST_CHECK enum ff_err ff_terms_read_answer(const struct ff_http_head *head,
                                               struct ff_deflate_terms *terms);

#endif
