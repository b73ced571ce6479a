/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/census.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "broker/carrier/sharded.h"
#include "broker/net/loop.h"
#include "protocol/base/mem.h"

enum { REPORT_MAX = 1024 * 1024 };

struct address_count {
    struct ff_map_node node;
    uint32_t count;
    uint8_t ip[16];
};

enum ff_err census_init(struct census *census, uint32_t workers)
{
    uint64_t bits[3];

    *census = (struct census){.workers = workers, .started_ms = loop_clock_us() / 1000};
    if (getrandom(bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        return FF_ESYS;
    census->key = (struct ff_hash_key){{bits[0], bits[1]}};
    (void)snprintf(census->node, sizeof(census->node), "%016llx", (unsigned long long)bits[2]);
    census->shares = ff_mem_zalloc(workers * sizeof(*census->shares));
    if (workers > 1) {
        qsbr_init(&census->qsbr, workers);
        census->exchange = exchange_new(workers, CHANNEL_REQUESTS, CHANNEL_ANSWERS);
    }
    if (!census->shares || (workers > 1 && !census->exchange) || ff_map_init(&census->addresses)) {
        ff_mem_free(census->shares);
        exchange_free(census->exchange);
        return FF_ENOMEM;
    }
    (void)pthread_mutex_init(&census->lock, NULL);
    trimmer_init(&census->trimmer);
    for (uint32_t i = 0; i < workers; i++)
        for (int list = 0; list < SYS_LISTS; list++)
            ff_buf_init(&census->shares[i][list].text, REPORT_MAX);
    return FF_OK;
}

void census_deinit(struct census *census)
{
    FF_CHECK(census->addresses.count == 0);
    trimmer_deinit(&census->trimmer);
    for (uint32_t i = 0; i < census->workers; i++)
        for (int list = 0; list < SYS_LISTS; list++)
            ff_buf_deinit(&census->shares[i][list].text);
    ff_mem_free(census->shares);
    ff_map_deinit(&census->addresses);
    exchange_free(census->exchange);
    (void)pthread_mutex_destroy(&census->lock);
}

static bool is_address(const void *arg, const struct ff_map_node *node)
{
    return memcmp(FF_CONTAINER_CONST(node, struct address_count, node)->ip, arg, 16) == 0;
}

/* Under the lock. NULL: out of memory. */
static struct address_count *get_entry(struct census *census, const uint8_t ip[16])
{
    uint32_t hash = ff_hash(&census->key, ip, 16);
    struct ff_map_node *node = ff_map_find(&census->addresses, hash, is_address, ip);
    struct address_count *entry;

    if (node)
        return FF_CONTAINER(node, struct address_count, node);
    entry = ff_mem_zalloc(sizeof(*entry));
    if (entry) {
        memcpy(entry->ip, ip, 16);
        ff_map_add(&census->addresses, &entry->node, hash);
    }
    return entry;
}

bool census_count_address(struct census *census, const struct address *address, uint32_t limit,
                          struct address_count **entry)
{
    uint8_t ip[16];
    bool is_within = false;

    *entry = NULL;
    if (!limit || address_is_loopback(address) || !address_ip(address, ip))
        return true;
    (void)pthread_mutex_lock(&census->lock);
    *entry = get_entry(census, ip);
    if (*entry)
        is_within = ++(*entry)->count <= limit;
    (void)pthread_mutex_unlock(&census->lock);
    return is_within;
}

void census_release_address(struct census *census, struct address_count *entry)
{
    if (!entry)
        return;
    (void)pthread_mutex_lock(&census->lock);
    if (--entry->count == 0) {
        ff_map_remove(&census->addresses, &entry->node);
        ff_mem_free(entry);
    }
    (void)pthread_mutex_unlock(&census->lock);
}
