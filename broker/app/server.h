/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the whole broker: it creates the floors, connects them, and frees
 * them. It decides nothing else. Several may live in one process.
 */
#ifndef APP_SERVER_H
#define APP_SERVER_H

#include "broker/app/activation.h"
#include "broker/app/config.h"
#include "broker/app/worker_thread.h"
#include "broker/session/console.h"

struct server {
    struct shared shared;
    struct worker_thread *threads; /* one for each worker */
    uint32_t thread_count;
    struct console console;
    struct tls_context *tls;
    struct activation activation;
    struct config *config; /* what holds; taken from the caller */
    struct config *begun;  /* what it began with: what needs a restart is still as it says */
    bool is_draining;
    const char *drain_reason;
    _Atomic uint32_t undrained; /* threads that still have connections */
};

/*
 * Starts listening. Takes the configuration. False: `error` says what is wrong
 * and what to do; nothing is left behind but the configuration, which is freed.
 */
bool server_init(struct server *server, struct config *config, char error[CONFIG_ERROR_MAX]);

/*
 * Prints a line for each listener, "fanfared: listening on ws://127.0.0.1:8080/ws", and where
 * the console page is.
 */
void server_announce(const struct server *server);

/* Calls `fn` in server_run() for each of the signals. */
void server_on_signals(struct server *server, const int *numbers, int count, loop_signal_fn *fn,
                       void *arg);

/* Runs until it was drained. */
void server_run(struct server *server);

/* A new configuration; taken. False: `error` says why the old one stays. */
bool server_reload(struct server *server, struct config *config, char error[CONFIG_ERROR_MAX]);

/*
 * Begins to end: see drain.h. `reason` is what clients are told, static text: whether the
 * broker stops or is restarting. A second call ends at once.
 */
void server_stop(struct server *server, const char *reason);

void server_deinit(struct server *server);

#endif
