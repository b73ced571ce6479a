/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/app/station.h"

#include <errno.h>

#include "broker/net/logger.h"
#include "broker/net/thread.h"
#include "broker/session/session.h"

static void open_order(struct mail *mail)
{
    struct station *station = FF_CONTAINER(mail, struct station, order);

    station->follow(station);
    (void)sem_post(&station->followed);
}

static void open_stop(struct mail *mail)
{
    loop_stop(&FF_CONTAINER(mail, struct station, stop)->worker.net.loop);
}

enum ff_err station_init(struct station *station, struct server *server, uint32_t index,
                         struct census *census, const struct config *config,
                         void (*drained)(void *arg))
{
    enum ff_err err = worker_init(&station->worker, index, census->exchange ? &census->qsbr : NULL);

    if (err)
        return err;
    err = gateway_init(&station->gateway, &station->worker, census, &config->settings);
    if (err) {
        worker_deinit(&station->worker);
        return err;
    }
    station->server = server;
    mail_init(&station->order, open_order);
    mail_init(&station->stop, open_stop);
    (void)sem_init(&station->followed, 0, 0);
    drain_init(&station->drain, &station->gateway, drained, station);
    return FF_OK;
}

void station_deinit(struct station *station)
{
    wheel_stop(&station->worker.net.wheel, &station->drain.timer);
    gateway_deinit(&station->gateway);
    worker_deinit(&station->worker);
    (void)sem_destroy(&station->followed);
}

void station_configure(struct station *station, const struct config *config,
                       struct tls_context *tls)
{
    station->worker.net.close_ms = config->close_s * 1000;
    station->worker.net.outbox_max = config->outbox;
    station->gateway.tls = tls; /* connections hold what they began with */
    gateway_configure(&station->gateway, &config->settings, config->rules, config->rule_count);
}

/* As the operator wants it; what came of it is said once for all workers. */
static void choose_flush(struct station *station)
{
    uint32_t wanted = station->gateway.settings->flush;
    const char *why = wanted == FLUSH_SEND ? "asked for" : NULL;

    if (wanted != FLUSH_SEND)
        why = net_use_uring(&station->worker.net);
    if (station->worker.index > 0)
        return;
    if (!why)
        LOG_EVENT(LOG_INFO, "flush", LOG_TEXT("by", "uring"));
    else
        LOG_EVENT(wanted == FLUSH_URING ? LOG_WARN : LOG_INFO, "flush", LOG_TEXT("by", "send"),
                  LOG_TEXT("why", why));
}

void station_run(struct station *station)
{
    choose_flush(station);
    loop_run(&station->worker.net.loop);
}

static void *run(void *arg)
{
    station_run(arg);
    return NULL;
}

bool station_start(struct station *station)
{
    station->has_thread = thread_begin(&station->thread, run, station);
    return station->has_thread;
}

void station_order(struct station *station, void (*follow)(struct station *station))
{
    if (!station->has_thread) {
        follow(station);
        return;
    }
    station->follow = follow;
    mailbox_post(&station->worker.mailbox, &station->order);
    while (sem_wait(&station->followed) < 0 && errno == EINTR)
        continue;
}

void station_stop(struct station *station)
{
    mailbox_post(&station->worker.mailbox, &station->stop);
}

void station_close(struct station *station)
{
    for (uint32_t i = 0; i < station->listener_count; i++)
        listener_close(&station->listeners[i]);
}

static void abort_session(void *arg, struct session *session)
{
    (void)arg;
    conn_abort(&session->conn);
}

/* Connections that are closing have no session any more: their time is up, too. */
void station_abort(struct station *station)
{
    gateway_each(&station->gateway, abort_session, NULL);
    net_abort_all(&station->worker.net);
    net_free_dead(&station->worker.net);
}
