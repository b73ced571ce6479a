/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake.h - the opening handshake of both roles (RFC 6455, section 4).
 *
 * The server's side judges a request head and names the subprotocol; Origin
 * and Host are handed up, because who may come in is policy. The client's side
 * writes a request and checks the answer. The key of a client is an argument:
 * this floor draws no entropy.
 */
#ifndef WEBSOCKET_HANDSHAKE_H
#define WEBSOCKET_HANDSHAKE_H

#include "protocol/base/buf.h"
#include "protocol/websocket/http.h"
#include "protocol/websocket/terms.h"

enum {
    FF_KEY_SIZE = 16,
    FF_KEY_TEXT = 24,    /* the same in base64 */
    FF_ACCEPT_TEXT = 28, /* SHA-1 in base64 */
};

/* What a client may speak. */
enum ff_subprotocol {
    FF_SUBPROTOCOL_NONE,    /* none offered that is meant for us: plain mode */
    FF_SUBPROTOCOL_JSON,    /* fanfare.v1.json */
    FF_SUBPROTOCOL_MSGPACK, /* fanfare.v1.msgpack */
};

/* The name on the wire, or NULL for NONE. */
const char *ff_subprotocol_name(enum ff_subprotocol subprotocol);

struct ff_handshake {
    enum ff_subprotocol subprotocol;
    struct ff_slice key;             /* Sec-WebSocket-Key, well formed */
    struct ff_slice host;            /* of the target in absolute form, else Host; .at NULL: none */
    struct ff_slice origin;          /* .at NULL: none */
    struct ff_slice token;           /* fanfare.token.TOKEN, .at NULL: none; never to be logged */
    struct ff_deflate_terms deflate; /* nothing is agreed upon, until ff_terms_choose() */
    int status;                      /* when refused: the HTTP status */
    const char *why;                 /* and one line of text about it, static */
};

/* Is this GET asking for a WebSocket at all? */
bool ff_handshake_is_upgrade(const struct ff_http_head *head);

/*
 * Judges an upgrade request. True: all is well but Origin and Host, which are
 * the caller's to judge. False: answer `status` with `why`.
 */
bool ff_handshake_check(const struct ff_http_head *head, struct ff_handshake *out);

/* Appends the 101 answer. FF_OK, FF_ENOMEM, FF_ELIMIT, FF_EINVAL (no key was accepted). */
FF_MUST_CHECK enum ff_err ff_handshake_write_answer(struct ff_buf *out,
                                                    const struct ff_handshake *handshake);

/* Appends a client's request. FF_OK, FF_ENOMEM, FF_ELIMIT. */
FF_MUST_CHECK enum ff_err ff_handshake_write_request(struct ff_buf *out, const char *host,
                                                     const char *target,
                                                     enum ff_subprotocol subprotocol,
                                                     const uint8_t key[FF_KEY_SIZE]);

/*
 * Judges a server's answer to the request above. FF_OK; FF_EINVAL: `*why` says
 * what is wrong with it (static).
 */
FF_MUST_CHECK enum ff_err ff_handshake_check_answer(const struct ff_http_head *head,
                                                    enum ff_subprotocol wanted,
                                                    const uint8_t key[FF_KEY_SIZE],
                                                    const char **why);

#endif
