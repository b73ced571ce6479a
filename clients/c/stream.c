/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/base/mem.h"

enum { CONNECT_MS = 10000 };

struct ff_stream {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl; /* NULL: plain TCP */
};

static bool wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, CONNECT_MS) == 1;
}

/* One address; -1: errno says why. */
static int connect_to(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failure = ETIMEDOUT;
    socklen_t size = sizeof(failure);
    int on = 1;

    if (fd < 0)
        return -1;
    if (connect(fd, info->ai_addr, info->ai_addrlen) == 0)
        failure = 0;
    else if (errno != EINPROGRESS)
        failure = errno;
    else if (wait_for(fd, POLLOUT))
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    if (failure) {
        (void)close(fd);
        errno = failure;
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static int connect_any(const struct ff_url *url, char *error, size_t size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int why = getaddrinfo(url->host, url->port, &hints, &found);
    int fd = -1;

    if (why) {
        (void)snprintf(error, size, "cannot find %s: %s", url->host, gai_strerror(why));
        return -1;
    }
    for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
        fd = connect_to(info);
    if (fd < 0)
        (void)snprintf(error, size, "cannot connect to %s: %s%s", url->authority, strerror(errno),
                       errno == ECONNREFUSED ? ". Is fanfared running there?" : "");
    freeaddrinfo(found);
    return fd;
}

static bool set_up_tls(struct ff_stream *stream, const struct ff_url *url, const char *ca_file,
                       bool is_insecure)
{
    stream->ctx = SSL_CTX_new(TLS_client_method());
    if (!stream->ctx)
        return false;
    (void)SSL_CTX_set_min_proto_version(stream->ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_mode(stream->ctx,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (!is_insecure) {
        SSL_CTX_set_verify(stream->ctx, SSL_VERIFY_PEER, NULL);
        if (ca_file ? SSL_CTX_load_verify_locations(stream->ctx, ca_file, NULL) != 1
                    : SSL_CTX_set_default_verify_paths(stream->ctx) != 1)
            return false;
    }
    stream->ssl = SSL_new(stream->ctx);
    if (!stream->ssl || SSL_set_fd(stream->ssl, stream->fd) != 1)
        return false;
    if (!is_insecure &&
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream->ssl), url->host) != 1 &&
        SSL_set1_host(stream->ssl, url->host) != 1)
        return false;
    (void)SSL_set_tlsext_host_name(stream->ssl, url->host);
    return true;
}

static bool shake_hands(struct ff_stream *stream)
{
    for (;;) {
        int result = SSL_connect(stream->ssl);
        int why = SSL_get_error(stream->ssl, result);

        if (result == 1)
            return true;
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
            return false;
        if (!wait_for(stream->fd, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT))
            return false;
    }
}

struct ff_stream *ff_stream_open(const struct ff_url *url, const char *ca_file, bool is_insecure,
                                 char *error, size_t error_size)
{
    struct ff_stream *stream = ff_mem_zalloc(sizeof(*stream));

    if (!stream) {
        (void)snprintf(error, error_size, "out of memory");
        return NULL;
    }
    stream->fd = connect_any(url, error, error_size);
    if (stream->fd < 0)
        goto fail;
    if (!url->is_tls)
        return stream;
    ERR_clear_error();
    if (set_up_tls(stream, url, ca_file, is_insecure) && shake_hands(stream))
        return stream;
    {
        long verify = stream->ssl ? SSL_get_verify_result(stream->ssl) : X509_V_OK;
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());

        if (verify != X509_V_OK)
            (void)snprintf(error, error_size,
                           "the certificate of %s is not trusted: %s (--ca FILE names one that is, "
                           "--insecure asks for none)",
                           url->authority, X509_verify_cert_error_string(verify));
        else
            (void)snprintf(error, error_size, "no TLS with %s: %s", url->authority,
                           reason ? reason : "the connection ended");
    }
fail:
    ff_stream_free(stream);
    return NULL;
}

void ff_stream_free(struct ff_stream *stream)
{
    if (!stream)
        return;
    SSL_free(stream->ssl);
    SSL_CTX_free(stream->ctx);
    if (stream->fd >= 0)
        (void)close(stream->fd);
    ff_mem_free(stream);
}

int ff_stream_fd(const struct ff_stream *stream)
{
    return stream->fd;
}

bool ff_stream_has_input(const struct ff_stream *stream)
{
    return stream->ssl && SSL_pending(stream->ssl) > 0;
}

static long tls_result(const struct ff_stream *stream, int result)
{
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return FF_STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return FF_STREAM_GONE;
    }
}

long ff_stream_read(struct ff_stream *stream, void *out, size_t size)
{
    ssize_t got;

    if (stream->ssl) {
        int result;

        ERR_clear_error();
        result = SSL_read(stream->ssl, out, (int)size);
        return result > 0 ? result : tls_result(stream, result);
    }
    got = recv(stream->fd, out, size, 0);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EINTR ? FF_STREAM_AGAIN : FF_STREAM_GONE;
}

long ff_stream_write(struct ff_stream *stream, const void *bytes, size_t size)
{
    ssize_t sent;

    if (stream->ssl) {
        int result;

        ERR_clear_error();
        result = SSL_write(stream->ssl, bytes, (int)size);
        return result > 0 ? result : tls_result(stream, result);
    }
    sent = send(stream->fd, bytes, size, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EINTR ? FF_STREAM_AGAIN : FF_STREAM_GONE;
}
