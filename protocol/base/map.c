/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/map.h"

#include <string.h>

#include "protocol/base/mem.h"

enum { FIRST_BUCKETS = 16 };

/* "somepseudorandomlygeneratedbytes", the constants of SipHash. */
#define SIP_0 0x736f6d6570736575U
#define SIP_1 0x646f72616e646f6dU
#define SIP_2 0x6c7967656e657261U
#define SIP_3 0x7465646279746573U

static uint64_t rotate(uint64_t v, int by)
{
    return (v << by) | (v >> (64 - by));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* The state after all octets, before its finish. */
static void absorb(uint64_t v[4], const unsigned char *p, size_t len)
{
    uint64_t last = (uint64_t)len << 56;
    uint64_t word;

    for (size_t left = len; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < (len & 7); i++)
        last |= (uint64_t)p[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
}

static uint64_t squeeze(uint64_t v[4])
{
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint32_t ff_hash(const struct ff_hash_key *key, const void *bytes, size_t len)
{
    uint64_t v[4] = {key->words[0] ^ SIP_0, key->words[1] ^ SIP_1, key->words[0] ^ SIP_2,
                     key->words[1] ^ SIP_3};
    uint64_t h;

    absorb(v, bytes, len);
    v[2] ^= 0xff;
    h = squeeze(v);
    return (uint32_t)(h ^ (h >> 32));
}

struct ff_digest ff_digest_of(const struct ff_hash_key *key, const void *bytes, size_t len)
{
    uint64_t v[4] = {key->words[0] ^ SIP_0, key->words[1] ^ SIP_1 ^ 0xee, key->words[0] ^ SIP_2,
                     key->words[1] ^ SIP_3};
    struct ff_digest digest;

    absorb(v, bytes, len);
    v[2] ^= 0xee;
    digest.words[0] = squeeze(v);
    v[1] ^= 0xdd;
    digest.words[1] = squeeze(v);
    return digest;
}

enum ff_err ff_map_init(struct ff_map *map)
{
    map->buckets = ff_mem_zalloc(FIRST_BUCKETS * sizeof(struct ff_map_node *));
    map->mask = FIRST_BUCKETS - 1;
    map->count = 0;
    return map->buckets ? FF_OK : FF_ENOMEM;
}

void ff_map_deinit(struct ff_map *map)
{
    ff_mem_free(map->buckets);
    map->buckets = NULL;
}

struct ff_map_node *ff_map_find(const struct ff_map *map, uint32_t hash, ff_map_match_fn *match,
                                const void *arg)
{
    struct ff_map_node *node = map->buckets[hash & map->mask];

    while (node && !(node->hash == hash && match(arg, node)))
        node = node->next;
    return node;
}

/* Moves to `size` buckets; without memory it stays as it is, only slower or larger. */
static void resize(struct ff_map *map, size_t size)
{
    struct ff_map_node **buckets = ff_mem_zalloc(size * sizeof(struct ff_map_node *));

    if (!buckets)
        return;
    for (size_t i = 0; i <= map->mask; i++) {
        struct ff_map_node *node = map->buckets[i];

        while (node) {
            struct ff_map_node *next = node->next;
            struct ff_map_node **to = &buckets[node->hash & (size - 1)];

            node->next = *to;
            *to = node;
            node = next;
        }
    }
    ff_mem_free(map->buckets);
    map->buckets = buckets;
    map->mask = size - 1;
}

void ff_map_add(struct ff_map *map, struct ff_map_node *node, uint32_t hash)
{
    struct ff_map_node **bucket;

    if (map->count > map->mask)
        resize(map, (map->mask + 1) * 2);
    bucket = &map->buckets[hash & map->mask];
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    map->count++;
}

void ff_map_remove(struct ff_map *map, struct ff_map_node *node)
{
    struct ff_map_node **at = &map->buckets[node->hash & map->mask];

    while (*at != node) {
        FF_CHECK(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    map->count--;
    if (map->mask >= FIRST_BUCKETS && map->count < map->mask / 8)
        resize(map, (map->mask + 1) / 2);
}

struct ff_map_node *ff_map_next(const struct ff_map *map, const struct ff_map_node *node)
{
    size_t i = 0;

    if (node && node->next)
        return node->next;
    if (node)
        i = (node->hash & map->mask) + 1;
    for (; i <= map->mask; i++)
        if (map->buckets[i])
            return map->buckets[i];
    return NULL;
}
