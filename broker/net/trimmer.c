/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/net/trimmer.h"

#include <stdatomic.h>

#include "broker/net/thread.h"
#include "protocol/base/mem.h"

void trimmer_init(struct trimmer *trimmer)
{
    (void)pthread_mutex_init(&trimmer->lock, NULL);
    trimmer->has_thread = false;
}

static void join(struct trimmer *trimmer)
{
    if (trimmer->has_thread)
        (void)pthread_join(trimmer->thread, NULL);
    trimmer->has_thread = false;
}

void trimmer_deinit(struct trimmer *trimmer)
{
    join(trimmer);
    (void)pthread_mutex_destroy(&trimmer->lock);
}

static void *run(void *arg)
{
    struct trimmer *trimmer = arg;

    ff_mem_trim();
    atomic_store(&trimmer->is_done, true);
    return NULL;
}

/* Where no thread can be had it is tried again in a second. */
static void begin(struct trimmer *trimmer)
{
    if (trimmer->has_thread && !atomic_load(&trimmer->is_done))
        return;
    join(trimmer);
    atomic_store(&trimmer->is_done, false);
    trimmer->has_thread = thread_begin(&trimmer->thread, run, trimmer);
}

void trimmer_look(struct trimmer *trimmer)
{
    if (!ff_mem_wants_trim() || pthread_mutex_trylock(&trimmer->lock) != 0)
        return;
    begin(trimmer);
    (void)pthread_mutex_unlock(&trimmer->lock);
}
