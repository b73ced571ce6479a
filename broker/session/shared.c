/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/shared.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "broker/carrier/channel.h"
#include "broker/net/loop.h"
#include "protocol/base/mem.h"

enum { REPORT_MAX = 1024 * 1024 };

struct address_count {
    struct ff_map_node node;
    uint32_t count;
    uint8_t ip[16];
};

enum ff_err shared_init(struct shared *shared, uint32_t workers)
{
    uint64_t bits[3];

    *shared = (struct shared){.workers = workers, .started_ms = loop_clock_us() / 1000};
    if (getrandom(bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        return FF_ESYS;
    shared->key = (struct ff_hash_key){{bits[0], bits[1]}};
    shared->life = bits[2];
    (void)snprintf(shared->node, sizeof(shared->node), "%016llx", (unsigned long long)bits[2]);
    shared->shares = ff_mem_zalloc(workers * sizeof(*shared->shares));
    if (workers > 1) {
        qsbr_init(&shared->qsbr, workers);
        shared->exchange = exchange_new(workers, CHANNEL_REQUESTS, CHANNEL_ANSWERS);
    }
    if (!shared->shares || (workers > 1 && !shared->exchange) || ff_map_init(&shared->addresses)) {
        ff_mem_free(shared->shares);
        exchange_free(shared->exchange);
        return FF_ENOMEM;
    }
    (void)pthread_mutex_init(&shared->lock, NULL);
    trimmer_init(&shared->trimmer);
    for (uint32_t i = 0; i < workers; i++)
        for (int list = 0; list < SYS_LISTS; list++)
            ff_buf_init(&shared->shares[i][list].text, REPORT_MAX);
    return FF_OK;
}

void shared_deinit(struct shared *shared)
{
    FF_CHECK(shared->addresses.count == 0);
    trimmer_deinit(&shared->trimmer);
    for (uint32_t i = 0; i < shared->workers; i++)
        for (int list = 0; list < SYS_LISTS; list++)
            ff_buf_deinit(&shared->shares[i][list].text);
    ff_mem_free(shared->shares);
    ff_map_deinit(&shared->addresses);
    exchange_free(shared->exchange);
    (void)pthread_mutex_destroy(&shared->lock);
}

static bool is_address(const void *arg, const struct ff_map_node *node)
{
    return memcmp(FF_CONTAINER_CONST(node, struct address_count, node)->ip, arg, 16) == 0;
}

/* Under the lock. NULL: out of memory. */
static struct address_count *get_entry(struct shared *shared, const uint8_t ip[16])
{
    uint32_t hash = ff_hash(&shared->key, ip, 16);
    struct ff_map_node *node = ff_map_find(&shared->addresses, hash, is_address, ip);
    struct address_count *entry;

    if (node)
        return FF_CONTAINER(node, struct address_count, node);
    entry = ff_mem_zalloc(sizeof(*entry));
    if (entry) {
        memcpy(entry->ip, ip, 16);
        ff_map_add(&shared->addresses, &entry->node, hash);
    }
    return entry;
}

bool shared_count_address(struct shared *shared, const struct address *address, uint32_t limit,
                          struct address_count **entry)
{
    uint8_t ip[16];
    bool is_within = false;

    *entry = NULL;
    if (!limit || address_is_loopback(address) || !address_ip(address, ip))
        return true;
    (void)pthread_mutex_lock(&shared->lock);
    *entry = get_entry(shared, ip);
    if (*entry)
        is_within = ++(*entry)->count <= limit;
    (void)pthread_mutex_unlock(&shared->lock);
    return is_within;
}

void shared_release_address(struct shared *shared, struct address_count *entry)
{
    if (!entry)
        return;
    (void)pthread_mutex_lock(&shared->lock);
    if (--entry->count == 0) {
        ff_map_remove(&shared->addresses, &entry->node);
        ff_mem_free(entry);
    }
    (void)pthread_mutex_unlock(&shared->lock);
}
