/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - creates, connects and frees everything: worker threads, listeners,
 * TLS, signals. A reload, the drain and the end are calls that each worker makes in
 * its own turn.
 */
#include "broker/app/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/net/logger.h"
#include "broker/net/sink.h"
#include "protocol/base/mem.h"

enum {
    RESTARTS_MAX = 128,
    ANNOUNCE_MS = 1000, /* for who reads where we listen: then it is served, read or not */
};

static bool make_tls(const struct config *config, struct tls_context **tls, char *error)
{
    *tls = NULL;
    if (!config->tls_cert[0] && !config->tls_key[0])
        return true;
    *tls = tls_context_new(config->tls_cert, config->tls_key, error, CONFIG_ERROR_MAX);
    return *tls != NULL;
}

/* Why the system does not let us listen there, by `errno`. */
static void explain_listen(const char *spec, const struct endpoint *endpoint, char *error)
{
    int why = errno;
    bool is_unix = endpoint->address.storage.ss_family == AF_UNIX;

    if (why == EADDRINUSE)
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "cannot listen on %s: %s in use. Is another fanfared running? "
                       "--listen takes another address",
                       spec, is_unix ? "the socket is" : "the port is");
    else if ((why == EACCES || why == EPERM) && is_unix)
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "cannot listen on %s: not permitted. May we write to that folder, and are "
                       "we in that group?",
                       spec);
    else if (why == EACCES)
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "cannot listen on %s: not permitted (ports below 1024 need "
                       "CAP_NET_BIND_SERVICE)",
                       spec);
    else
        (void)snprintf(error, CONFIG_ERROR_MAX, "cannot listen on %s: %s", spec, strerror(why));
}

/* One more of the first worker's. NULL: `errno` says why; there is room for it. */
static struct listener *open_listener(struct server *server, const struct endpoint *endpoint)
{
    struct worker_thread *first = &server->threads[0];
    struct listener *listener = &first->listeners[first->listener_count];
    int fd = activation_claim(&server->activation, &endpoint->address);

    if (fd >= 0)
        listener_take(listener, &first->worker.net, endpoint, fd, &gateway_listener_ops,
                      &first->gateway);
    else if (listener_open(listener, &first->worker.net, endpoint, &gateway_listener_ops,
                           &first->gateway))
        return NULL;
    first->listener_count++;
    return listener;
}

/* "localhost:8080" is ::1, too, where there is IPv6; on the port that the first one got. */
static bool open_entry(struct server *server, const char *spec, char *error)
{
    const struct config *config = server->config;
    struct endpoint endpoint;
    struct listener *listener;
    bool may_lack; /* a machine without IPv6 is no error where nobody asked for it */

    if (!endpoint_parse(&endpoint, spec, error))
        return false;
    may_lack = config->is_listen_default && endpoint.address.storage.ss_family == AF_INET6;
    listener = open_listener(server, &endpoint);
    if (listener && endpoint.is_localhost) {
        endpoint_take_ipv6(&endpoint, &listener->address);
        may_lack = true;
        listener = open_listener(server, &endpoint);
    }
    if (listener)
        return true;
    if (may_lack && errno != EADDRINUSE) {
        LOG_EVENT(LOG_INFO, "no_ipv6", LOG_TEXT("left_out", spec));
        return true;
    }
    explain_listen(spec, &endpoint, error);
    return false;
}

/* All that a service manager passed, where nobody said where to listen. */
static void take_passed(struct server *server)
{
    for (uint32_t i = 0; i < server->activation.count; i++) {
        struct endpoint endpoint = {.address = server->activation.sockets[i].address};

        (void)open_listener(server, &endpoint);
        server->config->settings.is_loopback_only &= address_is_loopback(&endpoint.address);
    }
}

static bool check_passed(const struct server *server, char *error)
{
    char address[ADDRESS_TEXT_MAX];

    if (!activation_find_unclaimed(&server->activation, address))
        return true;
    (void)snprintf(error, CONFIG_ERROR_MAX,
                   "a socket for %s was passed (LISTEN_FDS), but listen does not name that "
                   "address: add it there, with tls: or proxy: before it where they are spoken",
                   address);
    return false;
}

/* The first worker's listeners, as the configuration names them. */
static bool open_listeners(struct server *server, char *error)
{
    const struct config *config = server->config;
    const struct worker_thread *first = &server->threads[0];

    if (config->is_listen_default && server->activation.count) {
        take_passed(server);
        return true;
    }

    for (uint32_t i = 0; i < config->listen.count; i++) {
        if (first->listener_count + 2 > WORKER_LISTENERS) { /* localhost needs two */
            (void)snprintf(error, CONFIG_ERROR_MAX, "listen: at most %d addresses",
                           WORKER_LISTENERS - 1);
            return false;
        }
        if (!open_entry(server, config->listen.at[i], error))
            return false;
    }
    if (first->listener_count == 0)
        (void)snprintf(error, CONFIG_ERROR_MAX, "nowhere to listen: set listen");
    return first->listener_count > 0 && check_passed(server, error);
}

/* The other workers' at the same addresses, and their threads. */
static bool start_others(struct server *server, char *error)
{
    const struct worker_thread *first = &server->threads[0];

    for (uint32_t i = 1; i < server->thread_count; i++) {
        struct worker_thread *thread = &server->threads[i];

        for (uint32_t k = 0; k < first->listener_count; k++) {
            if (listener_open_too(&thread->listeners[k], &thread->worker.net, &first->listeners[k],
                                  &thread->gateway)) {
                (void)snprintf(error, CONFIG_ERROR_MAX, "cannot listen for worker %u: %s", i,
                               strerror(errno));
                return false;
            }
            thread->listener_count++;
        }
        if (!worker_thread_start(thread)) {
            (void)snprintf(error, CONFIG_ERROR_MAX,
                           "cannot start the thread of worker %u: %s. workers takes fewer", i,
                           strerror(errno));
            return false;
        }
    }
    return true;
}

static void stop_all(struct server *server)
{
    for (uint32_t i = 0; i < server->thread_count; i++)
        worker_thread_stop(&server->threads[i]);
}

/* A worker thread has no connections any more, but others' topics may be its own: it ends with the
 * last.
 */
static void on_drained(void *arg)
{
    struct worker_thread *thread = arg;
    struct server *server = thread->server;

    if (atomic_fetch_sub(&server->undrained, 1) == 1)
        stop_all(server);
}

static void configure(struct worker_thread *thread)
{
    worker_thread_configure(thread, thread->server->config, thread->server->tls);
}

static bool make_threads(struct server *server)
{
    const struct config *config = server->config;

    server->threads = ff_mem_zalloc(config->workers * sizeof(struct worker_thread));
    while (server->threads && server->thread_count < config->workers) {
        struct worker_thread *thread = &server->threads[server->thread_count];

        if (worker_thread_init(thread, server, server->thread_count, &server->shared, config,
                               on_drained))
            return false;
        thread->gateway.console = &server->console;
        configure(thread);
        server->thread_count++;
    }
    return server->threads != NULL;
}

static void join(struct server *server)
{
    for (uint32_t i = 1; i < server->thread_count; i++) {
        if (!server->threads[i].has_thread)
            continue;
        worker_thread_stop(&server->threads[i]);
        (void)pthread_join(server->threads[i].posix, NULL);
        server->threads[i].has_thread = false;
    }
}

/*
 * All threads have ended: connections are reset, engines keep nobody waiting, and
 * what the workers still have to tell each other is told, until no topic is left.
 */
static void wind_up(struct server *server)
{
    bool is_quiet = false;

    for (uint32_t i = 0; i < server->thread_count; i++) {
        worker_thread_abort(&server->threads[i]);
        carrier_stop(server->threads[i].gateway.carrier);
    }
    while (!is_quiet) {
        is_quiet = true;
        for (uint32_t i = 0; i < server->thread_count; i++) {
            struct worker_thread *thread = &server->threads[i];

            mailbox_open(&thread->worker.mailbox);
            worker_thread_abort(thread);
            carrier_notify(thread->gateway.carrier);
            is_quiet &= registry_is_unread(&thread->gateway.router.registry);
        }
        for (uint32_t i = 0; i < server->thread_count; i++)
            is_quiet &= mailbox_is_empty(&server->threads[i].worker.mailbox);
    }
}

static void free_all(struct server *server)
{
    join(server);
    for (uint32_t i = 0; i < server->thread_count; i++)
        worker_thread_close(&server->threads[i]);
    wind_up(server);
    while (server->thread_count > 0)
        worker_thread_deinit(&server->threads[--server->thread_count]);
    ff_mem_free(server->threads);
    shared_deinit(&server->shared);
    tls_context_free(server->tls);
    activation_deinit(&server->activation);
    if (server->begun != server->config)
        config_free(server->begun);
    config_free(server->config);
}

bool server_init(struct server *server, struct config *config, char error[CONFIG_ERROR_MAX])
{
    *server = (struct server){.config = config, .begun = config};
    if (!activation_take(&server->activation, error) || !make_tls(config, &server->tls, error)) {
        activation_deinit(&server->activation);
        config_free(config);
        return false;
    }
    (void)snprintf(error, CONFIG_ERROR_MAX, "out of memory, or of descriptors (ulimit -n)");
    if (shared_init(&server->shared, config->workers)) {
        activation_deinit(&server->activation);
        tls_context_free(server->tls);
        config_free(config);
        return false;
    }
    console_init(&server->console);
    log_set((enum log_level)config->log_level, config->log_format == 1);
    if (make_threads(server) && open_listeners(server, error) && start_others(server, error))
        return true;
    free_all(server);
    return false;
}

static size_t tell_lost(char *out, size_t size, uint64_t lost)
{
    return (size_t)snprintf(out, size, "fanfared: %" PRIu64 " lines lost\n", lost);
}

/* Where a browser finds the console page: the first address that has a port. */
static void announce_console(const struct worker_thread *first, struct sink *out)
{
    char url[ADDRESS_TEXT_MAX];
    char line[ADDRESS_TEXT_MAX + 32];

    for (uint32_t i = 0; i < first->listener_count; i++) {
        const struct listener *listener = &first->listeners[i];
        const char *address;

        if (listener->address.storage.ss_family == AF_UNIX || listener->is_proxied)
            continue;
        listener_url(listener, url);
        address = strstr(url, "://");
        sink_put(out, line,
                 (size_t)snprintf(line, sizeof(line), "fanfared: console page: http%s%.*s\n",
                                  listener->is_tls ? "s" : "", (int)strlen(address) - 2, address));
        return;
    }
}

void server_announce(const struct server *server)
{
    const struct worker_thread *first = &server->threads[0];
    struct sink *out = sink_new(STDOUT_FILENO, tell_lost);
    char line[ADDRESS_TEXT_MAX + 32];
    char url[ADDRESS_TEXT_MAX];

    for (uint32_t i = 0; i < first->listener_count; i++) {
        const struct listener *listener = &first->listeners[i];

        listener_url(listener, url);
        if (out)
            sink_put(out, line,
                     (size_t)snprintf(line, sizeof(line), "fanfared: listening on %s\n", url));
        if (!address_is_loopback(&listener->address))
            LOG_EVENT(LOG_WARN, "open_to_all", LOG_TEXT("url", url),
                      LOG_TEXT("why", "no permissions are configured: whoever reaches this address "
                                      "may publish and subscribe to everything"));
    }
    if (out)
        announce_console(first, out);
    sink_free(out, ANNOUNCE_MS);
}

void server_on_signals(struct server *server, const int *numbers, int count, loop_signal_fn *fn,
                       void *arg)
{
    loop_on_signals(&server->threads[0].worker.net.loop, numbers, count, fn, arg);
}

void server_run(struct server *server)
{
    worker_thread_run(&server->threads[0]);
}

/* Returns when all workers have done it, each in its own turn. */
static void call_all(struct server *server, void (*function)(struct worker_thread *thread))
{
    for (uint32_t i = 0; i < server->thread_count; i++)
        worker_thread_call(&server->threads[i], function);
}

/* What is listened on stays as it is until a restart, and so must what that needs. */
static bool can_serve_listeners(const struct server *server, const struct config *config,
                                const struct tls_context *tls, char *error)
{
    const struct worker_thread *first = &server->threads[0];

    for (uint32_t i = 0; i < first->listener_count; i++) {
        const struct listener *listener = &first->listeners[i];
        bool lacks_tls = listener->is_tls && !tls;
        bool lacks_proxies = listener->is_proxied && config->proxies.count == 0;
        char url[ADDRESS_TEXT_MAX];

        if (!lacks_tls && !lacks_proxies)
            continue;
        listener_url(listener, url);
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "%s not set, but %s is listened on and needs them: set them, or restart to "
                       "end listening there",
                       lacks_tls ? "tls_cert and tls_key are" : "proxies are", url);
        return false;
    }
    return true;
}

bool server_reload(struct server *server, struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct config *old = server->config;
    struct tls_context *old_tls = server->tls;
    struct tls_context *tls;
    char restarts[RESTARTS_MAX];

    if (server->is_draining) { /* a worker that has ended would hear no call */
        (void)snprintf(error, CONFIG_ERROR_MAX, "the broker is ending");
        config_free(config);
        return false;
    }
    if (!make_tls(config, &tls, error) || !can_serve_listeners(server, config, tls, error)) {
        config_free(config);
        return false;
    }
    config_find_restarts(server->begun, config, restarts, sizeof(restarts));
    if (restarts[0])
        LOG_EVENT(LOG_WARN, "needs_restart", LOG_TEXT("options", restarts));
    config->settings.is_loopback_only = old->settings.is_loopback_only;
    log_set((enum log_level)config->log_level, config->log_format == 1);
    server->config = config;
    server->tls = tls;
    call_all(server, configure);
    tls_context_free(old_tls); /* connections hold what they began with */
    if (old != server->begun)
        config_free(old);
    return true;
}

static void begin_drain(struct worker_thread *thread)
{
    worker_thread_close(thread);
    drain_begin(&thread->drain, thread->server->config->drain_s, thread->server->drain_reason);
}

void server_stop(struct server *server, const char *reason)
{
    if (server->is_draining) {
        stop_all(server);
        return;
    }
    server->is_draining = true;
    server->drain_reason = reason;
    LOG_EVENT(LOG_INFO, "draining", LOG_TEXT("why", reason),
              LOG_NUM("connections", atomic_load(&server->shared.sessions)),
              LOG_NUM("seconds", server->config->drain_s));
    atomic_store(&server->undrained, server->thread_count);
    call_all(server, begin_drain);
}

void server_deinit(struct server *server)
{
    free_all(server);
}
