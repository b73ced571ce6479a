/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolver.h - which addresses a Redis has, in the order in which they are to be tried.
 *
 * A Unix socket, a numeric address and "localhost" (127.0.0.1, then ::1) are known at once. Other
 * names are looked up by getaddrinfo(), which may take as long as name servers let it: in a thread
 * of its own, one at a time, whose result comes by mail. Nobody waits for that thread: who does
 * not want to know any more leaves it, and it frees what it has.
 */
#ifndef REDIS_RESOLVER_H
#define REDIS_RESOLVER_H

#include "broker/net/address.h"
#include "broker/redis/url.h"
#include "broker/worker/mailbox.h"

enum { REDIS_ADDRESSES_MAX = 8 };

struct redis_search; /* what the thread has */

struct redis_resolver {
    struct address addresses[REDIS_ADDRESSES_MAX];
    uint32_t count;
    struct mailbox *box;
    struct redis_search *search; /* NULL: none is under way */
    /* The addresses are there; or `why` says why not. */
    void (*resolved)(void *arg, const char *why);
    void *arg;
};

enum redis_resolving {
    REDIS_RESOLVED,     /* at once */
    REDIS_IS_RESOLVING, /* `resolved` will be called in a later turn */
    REDIS_UNRESOLVED,   /* out of memory or of threads */
};

void redis_resolver_init(struct redis_resolver *resolver, struct mailbox *box,
                         void (*resolved)(void *arg, const char *why), void *arg);

/*
 * Leaves what is under way. Where its result is in the mailbox already, the box has to be opened
 * once more.
 */
void redis_resolver_deinit(struct redis_resolver *resolver);

/* None is under way. */
FF_MUST_CHECK enum redis_resolving redis_resolver_begin(struct redis_resolver *resolver,
                                                        const struct redis_url *url);

#endif
