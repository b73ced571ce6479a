/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/app/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/net/logger.h"
#include "broker/session/session.h"

enum { RESTARTS_MAX = 128 };

static bool make_tls(const struct config *config, struct tls_context **tls, char *error)
{
    *tls = NULL;
    if (!config->tls_cert[0] && !config->tls_key[0])
        return true;
    *tls = tls_context_new(config->tls_cert, config->tls_key, error, CONFIG_ERROR_MAX);
    return *tls != NULL;
}

static void explain_listen(const char *spec, enum ff_err err, char *error)
{
    int why = errno;

    if (err == FF_EINVAL)
        (void)snprintf(error, CONFIG_ERROR_MAX, "listen: \"%s\" is no address", spec);
    else if (why == EADDRINUSE)
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "cannot listen on %s: the port is in use. Is another fanfared running? "
                       "--listen takes another address",
                       spec);
    else if (why == EACCES)
        (void)snprintf(error, CONFIG_ERROR_MAX,
                       "cannot listen on %s: not permitted (ports below 1024 need "
                       "CAP_NET_BIND_SERVICE)",
                       spec);
    else
        (void)snprintf(error, CONFIG_ERROR_MAX, "cannot listen on %s: %s", spec, strerror(why));
}

static bool open_listeners(struct server *server, char *error)
{
    const struct config *config = server->config;

    for (uint32_t i = 0; i < config->listen.count; i++) {
        struct listener *listener = &server->listeners[server->listener_count];
        const char *spec = config->listen.at[i];
        enum ff_err err;

        if (server->listener_count == SERVER_LISTENERS) {
            (void)snprintf(error, CONFIG_ERROR_MAX, "listen: at most %d addresses",
                           SERVER_LISTENERS);
            return false;
        }
        err = listener_open(listener, &server->worker.net, spec, &gateway_listener_ops,
                            &server->gateway);
        if (!err) {
            server->listener_count++;
        } else if (config->is_listen_default && spec[0] == '[' && errno != EADDRINUSE) {
            LOG_EVENT(LOG_INFO, "no_ipv6", LOG_TEXT("left_out", spec));
        } else {
            explain_listen(spec, err, error);
            return false;
        }
    }
    if (server->listener_count == 0)
        (void)snprintf(error, CONFIG_ERROR_MAX, "nowhere to listen: set listen");
    return server->listener_count > 0;
}

/* What of the configuration the net floor needs. */
static void configure_net(struct server *server)
{
    struct net *net = &server->worker.net;

    net->close_ms = server->config->close_s * 1000;
    net->outbox_max = server->config->outbox;
    log_set((enum log_level)server->config->log_level, server->config->log_format == 1);
}

bool server_init(struct server *server, struct config *config, char error[CONFIG_ERROR_MAX])
{
    *server = (struct server){.config = config};
    if (!make_tls(config, &server->tls, error))
        goto fail_config;
    (void)snprintf(error, CONFIG_ERROR_MAX, "out of memory");
    if (worker_init(&server->worker))
        goto fail_tls;
    if (gateway_init(&server->gateway, &server->worker, &config->settings))
        goto fail_worker;
    console_init(&server->console);
    server->gateway.console = &server->console;
    server->gateway.tls = server->tls;
    gateway_configure(&server->gateway, &config->settings, config->rules, config->rule_count);
    configure_net(server);
    drain_init(&server->drain, &server->gateway);
    if (open_listeners(server, error))
        return true;
    for (uint32_t i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    gateway_deinit(&server->gateway);
fail_worker:
    worker_deinit(&server->worker);
fail_tls:
    tls_context_free(server->tls);
fail_config:
    config_free(config);
    return false;
}

void server_announce(const struct server *server)
{
    char url[ADDRESS_TEXT_MAX];

    for (uint32_t i = 0; i < server->listener_count; i++) {
        const struct listener *listener = &server->listeners[i];

        listener_url(listener, url);
        (void)printf("fanfared: listening on %s\n", url);
        if (!address_is_loopback(&listener->address))
            LOG_EVENT(LOG_WARN, "open_to_all", LOG_TEXT("url", url),
                      LOG_TEXT("why", "no permissions are configured: whoever reaches this address "
                                      "may publish and subscribe to everything"));
    }
    (void)fflush(stdout);
}

void server_run(struct server *server)
{
    loop_run(&server->worker.net.loop);
}

bool server_reload(struct server *server, struct config *config, char error[CONFIG_ERROR_MAX])
{
    struct config *old = server->config;
    struct tls_context *tls;
    char restarts[RESTARTS_MAX];

    if (!make_tls(config, &tls, error)) {
        config_free(config);
        return false;
    }
    config_find_restarts(old, config, restarts, sizeof(restarts));
    if (restarts[0])
        LOG_EVENT(LOG_WARN, "needs_restart", LOG_TEXT("options", restarts));
    config->settings.is_loopback_only = old->settings.is_loopback_only;
    gateway_configure(&server->gateway, &config->settings, config->rules, config->rule_count);
    server->config = config;
    configure_net(server);
    tls_context_free(server->tls); /* connections hold what they began with */
    server->tls = tls;
    server->gateway.tls = tls;
    config_free(old);
    return true;
}

void server_stop(struct server *server)
{
    if (server->drain.is_running) {
        loop_stop(&server->worker.net.loop);
        return;
    }
    for (uint32_t i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    drain_begin(&server->drain, server->config->drain_s);
}

static void abort_session(void *arg, struct session *session)
{
    (void)arg;
    conn_abort(&session->conn);
}

/* Connections that are closing have no session any more: their time is up, too. */
static void abort_all(struct server *server)
{
    gateway_each(&server->gateway, abort_session, NULL);
    net_abort_all(&server->worker.net);
    net_bury(&server->worker.net);
}

void server_deinit(struct server *server)
{
    for (uint32_t i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    abort_all(server);
    wheel_stop(&server->worker.net.wheel, &server->drain.timer);
    gateway_deinit(&server->gateway);
    worker_deinit(&server->worker);
    tls_context_free(server->tls);
    config_free(server->config);
}
