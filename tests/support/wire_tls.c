/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on a scripted wire: a client of OpenSSL's whose records go through the
 * wire's window, chops and failures like any other octets. Keys are random by a
 * generator of the test's own, so that a run is the same each time it is played.
 */
#define OPENSSL_SUPPRESS_DEPRECATED  /* RAND_set_rand_method() is what there is without a provider \
                                      */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/net/tls.h"
#include "tests/support/memory_sanitizer.h"
#include "tests/support/wire.h"

enum { SAID_MAX = 8192, ALERTS = 1000 /* reasons that are the peer's */ };

struct wire_tls {
    SSL *ssl;
    size_t record;
    size_t len;
    uint8_t said[SAID_MAX]; /* and not in a record yet */
};

static SSL_CTX *client_ctx;
static uint64_t random_state;

int __wrap_SSL_set_fd(SSL *ssl, int fd);

void wire_tls_reset(void)
{
    random_state = 88172645463325252U;
}

static int draw(unsigned char *out, int size)
{
    for (int i = 0; i < size; i++) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        out[i] = (unsigned char)random_state;
    }
    return 1;
}

static int is_seeded(void)
{
    return 1;
}

/* A key and a certificate of it, in a file without a name. */
static int make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    FILE *out = fdopen(memfd_create("certificate", 0), "w+");
    int fd = -1;

    if (key && cert && out) {
        (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
        (void)X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
        (void)X509_gmtime_adj(X509_getm_notAfter(cert), 315360000);
        (void)X509_set_pubkey(cert, key);
        if (X509_sign(cert, key, EVP_sha256()) && PEM_write_X509(out, cert) &&
            PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) && fflush(out) == 0)
            fd = dup(fileno(out));
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    if (out)
        (void)fclose(out);
    return fd;
}

struct tls_context *wire_tls_context(void)
{
    static const RAND_METHOD method = {.bytes = draw, .pseudorand = draw, .status = is_seeded};
    static struct tls_context *context;
    char path[32];
    char why[256];

#ifdef HAS_MEMORY_SANITIZER /* what OpenSSL writes it takes for never written */
    return NULL;
#endif
    if (context)
        return context;
    wire_tls_reset();
    if (RAND_set_rand_method(&method) != 1)
        abort();
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", make_certificate());
    context = tls_context_new(path, path, why, sizeof(why));
    client_ctx = SSL_CTX_new(TLS_client_method());
    if (!context || !client_ctx)
        abort();
    return context;
}

/* ---- The broker's side: OpenSSL reads and writes the wire. ---- */

static int bio_write(BIO *bio, const char *bytes, int len)
{
    int sent = (int)wire_send((int)(intptr_t)BIO_get_data(bio), bytes, (size_t)len);

    BIO_clear_retry_flags(bio);
    if (sent < 0 && BIO_sock_should_retry(sent))
        BIO_set_retry_write(bio);
    return sent;
}

static int bio_read(BIO *bio, char *out, int size)
{
    int got = (int)wire_recv((int)(intptr_t)BIO_get_data(bio), out, (size_t)size);

    BIO_clear_retry_flags(bio);
    if (got < 0 && BIO_sock_should_retry(got))
        BIO_set_retry_read(bio);
    return got;
}

static long bio_control(BIO *bio, int command, long number, void *arg)
{
    (void)bio;
    (void)number;
    (void)arg;
    return command == BIO_CTRL_FLUSH;
}

int __wrap_SSL_set_fd(SSL *ssl, int fd)
{
    static BIO_METHOD *method;
    BIO *bio;

    if (!method) {
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wire");
        (void)BIO_meth_set_write(method, bio_write);
        (void)BIO_meth_set_read(method, bio_read);
        (void)BIO_meth_set_ctrl(method, bio_control);
    }
    bio = BIO_new(method);
    if (!bio)
        abort();
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return 1;
}

/* ---- The peer's side. ---- */

void wire_tls_begin(struct test_wire *wire, size_t record)
{
    struct wire_tls *tls = calloc(1, sizeof(*tls));

    if (!tls)
        abort();
    tls->ssl = SSL_new(client_ctx);
    tls->record = record;
    SSL_set_bio(tls->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(tls->ssl);
    wire->tls = tls;
    wire_tls_work(wire);
}

void wire_tls_end(struct test_wire *wire)
{
    wire_tls_work(wire); /* what came last is looked at, too */
    SSL_free(wire->tls->ssl);
    free(wire->tls);
    wire->tls = NULL;
    ERR_clear_error();
}

void wire_tls_say(struct test_wire *wire, const void *bytes, size_t len)
{
    struct wire_tls *tls = wire->tls;

    if (len > SAID_MAX - tls->len)
        len = SAID_MAX - tls->len;
    memcpy(tls->said + tls->len, bytes, len);
    tls->len += len;
    wire_tls_work(wire);
}

void wire_tls_hear(struct test_wire *wire, const void *bytes, size_t len)
{
    if (BIO_write(SSL_get_rbio(wire->tls->ssl), bytes, (int)len) != (int)len)
        abort();
}

/* What is wrong must be an alert, for what was wrong on our side: never a record of the broker's.
 */
static void check_error(void)
{
    unsigned long error = ERR_peek_last_error();

    if (error && ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) < ALERTS &&
        (ERR_GET_REASON(error) == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC ||
         ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER ||
         ERR_GET_REASON(error) == SSL_R_PACKET_LENGTH_TOO_LONG))
        abort();
    ERR_clear_error();
}

void wire_tls_work(struct test_wire *wire)
{
    struct wire_tls *tls = wire->tls;
    uint8_t bytes[4096];
    int got;

    ERR_clear_error();
    while ((got = SSL_read(tls->ssl, bytes, sizeof(bytes))) > 0) /* its handshake first */
        wire_check(wire, bytes, (size_t)got);
    if (SSL_get_error(tls->ssl, got) == SSL_ERROR_SSL)
        check_error();
    for (size_t at = 0; SSL_is_init_finished(tls->ssl) && tls->len; at += tls->record) {
        size_t len = tls->len - at < tls->record ? tls->len - at : tls->record;

        if (SSL_write(tls->ssl, tls->said + at, (int)len) <= 0 || at + len == tls->len) {
            tls->len = 0;
            break;
        }
    }
    while ((got = BIO_read(SSL_get_wbio(tls->ssl), bytes, sizeof(bytes))) > 0)
        wire_write_raw(wire, bytes, (size_t)got);
    ERR_clear_error();
}
