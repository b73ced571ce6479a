/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After WANT_WRITE OpenSSL has the record encrypted already: those octets count
 * as sent, their number is remembered, and until a retry with any readable
 * buffer of just that length has succeeded nothing else may be written.
 */
#include "broker/net/tls.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "broker/net/conn.h"
#include "broker/net/logger.h"
#include "broker/net/socket.h"
#include "protocol/base/mem.h"

enum { PEER_TEXT_MAX = 56 };

struct tls {
    SSL *ssl;
    uint32_t held;            /* length of the record that is encrypted but not written, 0: none */
    char peer[PEER_TEXT_MAX]; /* the kernel forgets it as soon as both sides have ended */
};

struct tls_context {
    SSL_CTX *ctx;
};

static const char ciphers12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char ciphers13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

static void *allocate(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size ? ff_mem_alloc(size) : NULL;
}

static void release(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    ff_mem_free(block);
}

static void *reallocate(void *block, size_t size, const char *file, int line)
{
    if (size)
        return ff_mem_realloc(block, size);
    release(block, file, line);
    return NULL;
}

void tls_use_our_memory(void)
{
    int is_set = CRYPTO_set_mem_functions(allocate, reallocate, release);

    FF_CHECK(is_set == 1); /* it refuses once it has allocated */
}

static const char *last_error(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    return reason ? reason : "no reason given";
}

static bool load(SSL_CTX *ctx, const char *cert_file, const char *key_file, char *why, size_t size)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1) {
        (void)snprintf(why, size,
                       "cannot read the certificate %s (%s): tls_cert names a PEM file with the "
                       "chain, readable for this user",
                       cert_file, last_error());
        return false;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        bool is_mismatch = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;

        (void)snprintf(why, size,
                       is_mismatch ? "the key %s does not belong to the certificate (%s): tls_cert "
                                     "and tls_key must be a pair"
                                   : "cannot read the key %s (%s): tls_key names a PEM file "
                                     "without a passphrase, readable for this user",
                       key_file, last_error());
        return false;
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        (void)snprintf(why, size,
                       "the key %s does not belong to the certificate %s: tls_cert and tls_key "
                       "must be a pair",
                       key_file, cert_file);
        return false;
    }
    return true;
}

/* Clients will refuse it: better said here than found out from them. */
static void warn_of_dates(SSL_CTX *ctx, const char *cert_file)
{
    const X509 *cert = SSL_CTX_get0_certificate(ctx);

    if (cert && X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        LOG_EVENT(LOG_WARN, "certificate_expired", LOG_TEXT("file", cert_file));
    if (cert && X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        LOG_EVENT(LOG_WARN, "certificate_not_yet_valid", LOG_TEXT("file", cert_file));
}

struct tls_context *tls_context_new(const char *cert_file, const char *key_file, char *why,
                                    size_t why_size)
{
    static const unsigned char session_context[] = "fanfare";
    struct tls_context *context = ff_mem_zalloc(sizeof(*context));
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    ERR_clear_error();
    (void)snprintf(why, why_size, "out of memory");
    if (!context || !ctx)
        goto fail;
    context->ctx = ctx;
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets need none */
    (void)SSL_CTX_set_num_tickets(ctx, 1);
    (void)SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context) - 1);
    if (SSL_CTX_set_cipher_list(ctx, ciphers12) == 1 &&
        SSL_CTX_set_ciphersuites(ctx, ciphers13) == 1 &&
        load(ctx, cert_file, key_file, why, why_size)) {
        warn_of_dates(ctx, cert_file);
        return context;
    }
fail:
    SSL_CTX_free(ctx);
    ff_mem_free(context);
    return NULL;
}

void tls_context_free(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ctx); /* counted: connections hold it */
    ff_mem_free(context);
}

static void note_peer(struct tls *tls, int fd)
{
    struct address peer = {.len = sizeof(peer.storage)};
    char text[ADDRESS_TEXT_MAX] = "gone";

    if (getpeername(fd, (struct sockaddr *)&peer.storage, &peer.len) == 0)
        address_text(&peer, true, text);
    (void)snprintf(tls->peer, sizeof(tls->peer), "%.*s", PEER_TEXT_MAX - 1, text);
}

void *tls_accept(struct tls_context *context, int fd)
{
    struct tls *tls = ff_mem_zalloc(sizeof(*tls));

    if (!tls)
        return NULL;
    ERR_clear_error();
    tls->ssl = SSL_new(context->ctx);
    if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1) {
        SSL_free(tls->ssl);
        ff_mem_free(tls);
        return NULL;
    }
    note_peer(tls, fd);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

/*
 * Who speaks HTTP to a port of TLS gets an answer in HTTP: a person may read it. False:
 * what came was something else.
 */
static bool answer_plainly(struct conn *conn)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: 57\r\nConnection: close\r\n\r\n"
        "this port speaks TLS: use wss:// (https:// in a browser)\n";
    int reason = ERR_GET_REASON(ERR_peek_error());

    if (reason != SSL_R_HTTP_REQUEST && reason != SSL_R_HTTPS_PROXY_REQUEST)
        return false;
    conn_leave_tls(conn);
    conn_finish(conn, answer, sizeof(answer) - 1);
    return true;
}

/*
 * The lines about failed handshakes tell of peers that never were sessions. A peer that
 * went without a word is none: load balancers look so whether a port is open.
 */
static long fail_handshake(struct conn *conn)
{
    const struct tls *tls = conn->tls;
    unsigned long error = ERR_peek_error();
    const char *why = ERR_reason_error_string(error);

    if (error && BIO_number_read(SSL_get_rbio(tls->ssl)) > 0)
        LOG_EVENT(LOG_INFO, "tls_failed", LOG_TEXT("peer", tls->peer),
                  LOG_TEXT("why", ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST
                                      ? "ws:// or http:// to a port of TLS"
                                      : (why ? why : "no reason given")));
    return answer_plainly(conn) ? TRANSPORT_AGAIN : TRANSPORT_GONE;
}

static long recv_result(struct tls *tls, int got)
{
    switch (SSL_get_error(tls->ssl, got)) {
    case SSL_ERROR_WANT_READ:
        return TRANSPORT_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        return TRANSPORT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return TRANSPORT_GONE;
    }
}

static int read_some(struct tls *tls, uint8_t *out, size_t size)
{
    ERR_clear_error();
    errno = 0;
    return SSL_read(tls->ssl, out, (int)size);
}

static long tls_recv(struct conn *conn, uint8_t *out, size_t size)
{
    struct tls *tls = conn->tls;
    int got = read_some(tls, out, size);

    long result = got > 0 ? got : recv_result(tls, got);

    if (conn->is_in_handshake && SSL_is_init_finished(tls->ssl))
        conn_end_handshake(conn);
    return result == TRANSPORT_GONE && conn->is_in_handshake ? fail_handshake(conn) : result;
}

/* The rest of a record that was decrypted as a whole and read in part. */
static bool tls_has_more(const struct conn *conn)
{
    const struct tls *tls = conn->tls;

    return SSL_pending(tls->ssl) > 0;
}

/* Writes `len` octets; what OpenSSL has encrypted but could not write counts as sent. */
static long write_record(struct tls *tls, const uint8_t *bytes, uint32_t len)
{
    int sent;

    ERR_clear_error();
    errno = 0;
    sent = SSL_write(tls->ssl, bytes, (int)len);
    if (sent > 0) {
        tls->held = 0;
        return sent;
    }
    switch (SSL_get_error(tls->ssl, sent)) {
    case SSL_ERROR_WANT_WRITE:
        tls->held = len;
        return TRANSPORT_AGAIN;
    case SSL_ERROR_WANT_READ: /* in the handshake: nothing was taken */
        return TRANSPORT_AGAIN;
    default:
        return TRANSPORT_GONE;
    }
}

static long tls_push(struct conn *conn)
{
    struct tls *tls = conn->tls;
    long sent;

    if (!tls->held)
        return 0;
    sent = write_record(tls, conn->net->record, tls->held);
    return sent > 0 ? 0 : sent;
}

static long tls_send(struct conn *conn, const struct iovec *iov, int count)
{
    struct tls *tls = conn->tls;
    uint8_t *record = conn->net->record;
    uint32_t len = 0;
    long sent;

    FF_CHECK(!tls->held);
    for (int i = 0; i < count && len < NET_TLS_RECORD; i++) {
        size_t part = iov[i].iov_len;

        if (part > NET_TLS_RECORD - len)
            part = NET_TLS_RECORD - len;
        memcpy(record + len, iov[i].iov_base, part);
        len += (uint32_t)part;
    }
    sent = write_record(tls, record, len);
    return sent == TRANSPORT_AGAIN && tls->held ? (long)len : sent;
}

static bool tls_is_holding(const struct conn *conn)
{
    const struct tls *tls = conn->tls;

    return tls->held > 0;
}

static void tls_shutdown(struct conn *conn)
{
    struct tls *tls = conn->tls;

    ERR_clear_error();
    if (SSL_is_init_finished(tls->ssl))
        (void)SSL_shutdown(tls->ssl);
    (void)shutdown(conn_fd(conn), SHUT_WR);
}

void tls_discard(void *tls)
{
    struct tls *own = tls;

    SSL_free(own->ssl);
    ff_mem_free(own);
}

static void tls_free(struct conn *conn)
{
    tls_discard(conn->tls);
}

const struct transport transport_tls = {
    .recv = tls_recv,
    .has_more = tls_has_more,
    .send = tls_send,
    .push = tls_push,
    .is_holding = tls_is_holding,
    .shutdown = tls_shutdown,
    .free = tls_free,
    .max_send = NET_TLS_RECORD,
};
