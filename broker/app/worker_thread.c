/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/app/worker_thread.h"

#include <errno.h>

#include "broker/net/logger.h"
#include "broker/net/thread.h"
#include "broker/session/session.h"

static void open_call(struct mail *mail)
{
    struct worker_thread *thread = FF_CONTAINER(mail, struct worker_thread, call);

    thread->function(thread);
    (void)sem_post(&thread->called);
}

static void open_stop(struct mail *mail)
{
    loop_stop(&FF_CONTAINER(mail, struct worker_thread, stop)->worker.net.loop);
}

enum ff_err worker_thread_init(struct worker_thread *thread, struct server *server, uint32_t index,
                               struct shared *shared, const struct config *config,
                               void (*drained)(void *arg))
{
    enum ff_err err = worker_init(&thread->worker, index, shared->exchange ? &shared->qsbr : NULL);

    if (err)
        return err;
    err = gateway_init(&thread->gateway, &thread->worker, shared, &config->settings);
    if (err) {
        worker_deinit(&thread->worker);
        return err;
    }
    thread->server = server;
    mail_init(&thread->call, open_call);
    mail_init(&thread->stop, open_stop);
    (void)sem_init(&thread->called, 0, 0);
    drain_init(&thread->drain, &thread->gateway, drained, thread);
    return FF_OK;
}

void worker_thread_deinit(struct worker_thread *thread)
{
    wheel_stop(&thread->worker.net.wheel, &thread->drain.timer);
    gateway_deinit(&thread->gateway);
    worker_deinit(&thread->worker);
    (void)sem_destroy(&thread->called);
}

void worker_thread_configure(struct worker_thread *thread, const struct config *config,
                             struct tls_context *tls)
{
    thread->worker.net.close_ms = config->close_s * 1000;
    thread->worker.net.outbox_max = config->outbox;
    thread->gateway.tls = tls; /* connections hold what they began with */
    gateway_configure(&thread->gateway, &config->settings, config->rules, config->rule_count);
}

/* As the operator wants it; what came of it is said once for all workers. */
static void choose_flush(struct worker_thread *thread)
{
    uint32_t wanted = thread->gateway.settings->flush;
    const char *why = wanted == FLUSH_SEND ? "asked for" : NULL;

    if (wanted != FLUSH_SEND)
        why = net_use_uring(&thread->worker.net);
    if (thread->worker.index > 0)
        return;
    if (!why)
        LOG_EVENT(LOG_INFO, "flush", LOG_TEXT("by", "uring"));
    else
        LOG_EVENT(wanted == FLUSH_URING ? LOG_WARN : LOG_INFO, "flush", LOG_TEXT("by", "send"),
                  LOG_TEXT("why", why));
}

void worker_thread_run(struct worker_thread *thread)
{
    choose_flush(thread);
    loop_run(&thread->worker.net.loop);
}

static void *run(void *arg)
{
    worker_thread_run(arg);
    return NULL;
}

bool worker_thread_start(struct worker_thread *thread)
{
    thread->has_thread = thread_begin(&thread->posix, run, thread);
    return thread->has_thread;
}

void worker_thread_call(struct worker_thread *thread,
                        void (*function)(struct worker_thread *thread))
{
    if (!thread->has_thread) {
        function(thread);
        return;
    }
    thread->function = function;
    mailbox_post(&thread->worker.mailbox, &thread->call);
    while (sem_wait(&thread->called) < 0 && errno == EINTR)
        continue;
}

void worker_thread_stop(struct worker_thread *thread)
{
    mailbox_post(&thread->worker.mailbox, &thread->stop);
}

void worker_thread_close(struct worker_thread *thread)
{
    for (uint32_t i = 0; i < thread->listener_count; i++)
        listener_close(&thread->listeners[i]);
}

static void abort_session(void *arg, struct session *session)
{
    (void)arg;
    conn_abort(&session->conn);
}

/* Connections that are closing have no session any more: their time is up, too. */
void worker_thread_abort(struct worker_thread *thread)
{
    gateway_each(&thread->gateway, abort_session, NULL);
    net_abort_all(&thread->worker.net);
    net_free_dead(&thread->worker.net);
}
