/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trimmer.h - gives the heap's free pages back to the kernel, beside the workers.
 *
 * glibc does that in one go: 100 ms for a gigabyte, 300 where its free blocks are
 * small. So it is done in a thread of its own, which is there only meanwhile. A
 * worker waits for it if it asks the heap for memory just then, which it does for
 * those who come and go; what is published finds its memory in the pool.
 */
#ifndef NET_TRIMMER_H
#define NET_TRIMMER_H

#include <pthread.h>
#include <stdbool.h>

struct trimmer {
    pthread_mutex_t lock; /* of what follows; never held while the heap is trimmed */
    pthread_t thread;
    bool has_thread;
    _Atomic bool is_done; /* the thread's last word */
};

void trimmer_init(struct trimmer *trimmer);

/* Waits for what is under way. */
void trimmer_deinit(struct trimmer *trimmer);

/* Any worker, once a second: begins if much less memory is in use than was. Does not wait. */
void trimmer_look(struct trimmer *trimmer);

#endif
