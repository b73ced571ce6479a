/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolver.c - a search belongs to two: who asked, and the thread. Each says once when it is
 * through with it, by an exchange of `state`; the second one frees it.
 */
#include "broker/redis/resolver.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>

#include "broker/net/thread.h"
#include "protocol/base/mem.h"

enum search_state { SEARCHING, FOUND, LEFT };

struct redis_search {
    struct mail mail;
    pthread_t thread;
    struct redis_resolver *resolver; /* NULL: left, after it was found */
    struct mailbox *box;
    char host[REDIS_HOST_MAX];
    uint16_t port;
    struct address addresses[REDIS_ADDRESSES_MAX];
    uint32_t count;
    int failure; /* of getaddrinfo */
    _Atomic enum search_state state;
};

static void set_port(struct address *address, uint16_t port)
{
    if (address->storage.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&address->storage)->sin_port = htons(port);
}

static void look_up(struct redis_search *search)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    search->failure = getaddrinfo(search->host, NULL, &hints, &found);
    if (search->failure)
        return;
    for (const struct addrinfo *info = found; info && search->count < REDIS_ADDRESSES_MAX;
         info = info->ai_next) {
        struct address *address = &search->addresses[search->count];

        if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) ||
            info->ai_addrlen > sizeof(address->storage))
            continue;
        memcpy(&address->storage, info->ai_addr, info->ai_addrlen);
        address->len = info->ai_addrlen;
        set_port(address, search->port);
        search->count++;
    }
    freeaddrinfo(found);
}

static void *run(void *arg)
{
    struct redis_search *search = arg;

    look_up(search);
    if (atomic_exchange(&search->state, FOUND) == LEFT)
        ff_mem_free(search);
    else
        mailbox_post(search->box, &search->mail);
    return NULL;
}

static void open_mail(struct mail *mail)
{
    struct redis_search *search = FF_CONTAINER(mail, struct redis_search, mail);
    struct redis_resolver *resolver = search->resolver;
    const char *why = NULL;

    if (!resolver) { /* left, when the thread had been joined */
        ff_mem_free(search);
        return;
    }
    (void)pthread_join(search->thread, NULL);
    resolver->search = NULL;
    resolver->count = search->count;
    memcpy(resolver->addresses, search->addresses, sizeof(resolver->addresses));
    if (search->failure)
        why = gai_strerror(search->failure);
    else if (search->count == 0)
        why = "its name has no address";
    ff_mem_free(search);
    resolver->resolved(resolver->arg, why);
}

void redis_resolver_init(struct redis_resolver *resolver, struct mailbox *box,
                         void (*resolved)(void *arg, const char *why), void *arg)
{
    *resolver = (struct redis_resolver){.box = box, .resolved = resolved, .arg = arg};
}

void redis_resolver_deinit(struct redis_resolver *resolver)
{
    struct redis_search *search = resolver->search;
    pthread_t thread;

    resolver->search = NULL;
    if (!search)
        return;
    thread = search->thread;
    if (atomic_exchange(&search->state, LEFT) == SEARCHING) {
        (void)pthread_detach(thread);
        return;
    }
    (void)pthread_join(thread, NULL); /* it is posting its mail, or has */
    search->resolver = NULL;
}

static enum redis_resolving begin_search(struct redis_resolver *resolver,
                                         const struct redis_url *url)
{
    struct redis_search *search = ff_mem_zalloc(sizeof(*search));

    FF_CHECK(!resolver->search && resolver->box);
    if (!search)
        return REDIS_UNRESOLVED;
    mail_init(&search->mail, open_mail);
    search->resolver = resolver;
    search->box = resolver->box;
    search->port = url->port;
    atomic_init(&search->state, SEARCHING);
    (void)snprintf(search->host, sizeof(search->host), "%s", url->host);
    if (!thread_begin(&search->thread, run, search)) {
        ff_mem_free(search);
        return REDIS_UNRESOLVED;
    }
    resolver->search = search;
    return REDIS_IS_RESOLVING;
}

static bool add_ip(struct redis_resolver *resolver, const char *ip, uint16_t port)
{
    struct address *address = &resolver->addresses[resolver->count];

    if (address_parse_ip(address, ff_slice_of(ip)))
        return false;
    set_port(address, port);
    resolver->count++;
    return true;
}

static void add_unix(struct redis_resolver *resolver, const char *path)
{
    struct address *address = &resolver->addresses[resolver->count++];
    struct sockaddr_un *un = (struct sockaddr_un *)&address->storage;

    *address = (struct address){.len = sizeof(*un)};
    un->sun_family = AF_UNIX;
    (void)snprintf(un->sun_path, sizeof(un->sun_path), "%s", path);
}

enum redis_resolving redis_resolver_begin(struct redis_resolver *resolver,
                                          const struct redis_url *url)
{
    resolver->count = 0;
    if (url->is_unix) {
        add_unix(resolver, url->path);
        return REDIS_RESOLVED;
    }
    if (ff_slice_is_equal_nocase(ff_slice_of(url->host), FF_SLICE("localhost")))
        return add_ip(resolver, "127.0.0.1", url->port) && add_ip(resolver, "::1", url->port)
                   ? REDIS_RESOLVED
                   : REDIS_UNRESOLVED;
    if (add_ip(resolver, url->host, url->port))
        return REDIS_RESOLVED;
    return begin_search(resolver, url);
}
