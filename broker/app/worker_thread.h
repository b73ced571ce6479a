/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_thread.h - a worker with all that it needs: its gateway, its listening
 * sockets, its drain, and the thread it runs in.
 *
 * Worker 0 runs in the thread that made the server; the others have their own
 * and are reached by calls only.
 */
#ifndef APP_WORKER_THREAD_H
#define APP_WORKER_THREAD_H

#include <pthread.h>
#include <semaphore.h>

#include "broker/app/config.h"
#include "broker/app/drain.h"
#include "broker/session/gateway.h"

enum { WORKER_LISTENERS = 33 }; /* one more than may be named: localhost is two */

struct server;

struct worker_thread {
    struct worker worker;
    struct gateway gateway;
    struct drain drain;
    struct listener listeners[WORKER_LISTENERS];
    uint32_t listener_count;
    struct server *server;
    pthread_t posix;
    bool has_thread;
    struct mail call; /* what it is to do, */
    void (*function)(struct worker_thread *thread);
    sem_t called; /* and that it did */
    struct mail stop;
};

/* The worker of this number. FF_OK, FF_ENOMEM, FF_ESYS (no entropy). */
FF_MUST_CHECK enum ff_err worker_thread_init(struct worker_thread *thread, struct server *server,
                                             uint32_t index, struct shared *shared,
                                             const struct config *config,
                                             void (*drained)(void *arg));

/* Its thread has ended, its connections are gone. */
void worker_thread_deinit(struct worker_thread *thread);

/* What of the configuration it needs. In its own thread. */
void worker_thread_configure(struct worker_thread *thread, const struct config *config,
                             struct tls_context *tls);

/* Runs its loop until it is stopped, in this thread. */
void worker_thread_run(struct worker_thread *thread);

/* The same in a thread of its own. False: errno says why there is none. */
FF_MUST_CHECK bool worker_thread_start(struct worker_thread *thread);

/*
 * Has `function` called in its thread, and returns when it was. From worker 0's
 * thread, to one that has started.
 */
void worker_thread_call(struct worker_thread *thread,
                        void (*function)(struct worker_thread *thread));

/* From any thread, without waiting: its loop is to end. */
void worker_thread_stop(struct worker_thread *thread);

/* Ends listening. */
void worker_thread_close(struct worker_thread *thread);

/* Resets all of its connections, at the very end. */
void worker_thread_abort(struct worker_thread *thread);

#endif
