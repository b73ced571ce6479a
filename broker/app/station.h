/* SPDX-License-Identifier: Apache-2.0 */
/*
 * station.h - a worker with all that it needs: its gateway, its listening
 * sockets, its drain, and the thread it runs in.
 *
 * Station 0 runs in the thread that made the server; the others have their own
 * and are reached by orders only.
 */
#ifndef APP_STATION_H
#define APP_STATION_H

#include <pthread.h>
#include <semaphore.h>

#include "broker/app/config.h"
#include "broker/app/drain.h"
#include "broker/session/gateway.h"

enum { STATION_LISTENERS = 32 };

struct server;

struct station {
    struct worker worker;
    struct gateway gateway;
    struct drain drain;
    struct listener listeners[STATION_LISTENERS];
    uint32_t listener_count;
    struct server *server;
    pthread_t thread;
    bool has_thread;
    struct mail order; /* what it is to do, */
    void (*follow)(struct station *station);
    sem_t followed; /* and that it did */
    struct mail stop;
};

/* The worker of this number. FF_OK, FF_ENOMEM, FF_ESYS (no entropy). */
FF_MUST_CHECK enum ff_err station_init(struct station *station, struct server *server,
                                       uint32_t index, struct census *census,
                                       const struct config *config, void (*drained)(void *arg));

/* Its thread has ended, its connections are gone. */
void station_deinit(struct station *station);

/* What of the configuration it needs. In its own thread. */
void station_configure(struct station *station, const struct config *config,
                       struct tls_context *tls);

/* Runs its loop until it is stopped, in this thread. */
void station_run(struct station *station);

/* The same in a thread of its own. False: errno says why there is none. */
FF_MUST_CHECK bool station_start(struct station *station);

/*
 * Has `follow` done in its thread, and returns when it was. From station 0's
 * thread, to one that has started.
 */
void station_order(struct station *station, void (*follow)(struct station *station));

/* From any thread, without waiting: its loop is to end. */
void station_stop(struct station *station);

/* Ends listening. */
void station_close(struct station *station);

/* Resets all of its connections, at the very end. */
void station_abort(struct station *station);

#endif
