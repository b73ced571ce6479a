/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread.h - threads that no signal reaches: signals are for the one that began.
 */
#ifndef NET_THREAD_H
#define NET_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "protocol/base/check.h"

/* Runs `run(arg)` in a thread of its own, to be joined. False: errno says why there is none. */
FF_MUST_CHECK bool thread_begin(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif
