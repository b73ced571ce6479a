/* SPDX-License-Identifier: Apache-2.0 */
/*
 * positions.c - entries in chunks, found by buckets of numbers: no pointer is longer
 * than it must be. Entries form one list by age, and the free ones another.
 */
#include "broker/topic/positions.h"

#include "protocol/base/bytes.h"
#include "protocol/base/mem.h"

#define NOWHERE UINT32_MAX

enum { FIRST_BUCKETS = 64 };

void positions_init(struct positions *positions)
{
    *positions = (struct positions){.free = NOWHERE, .oldest = NOWHERE, .newest = NOWHERE};
}

void positions_deinit(struct positions *positions)
{
    for (uint32_t i = 0; i < positions->chunk_count; i++)
        ff_mem_free(positions->chunks[i]);
    ff_mem_free(positions->chunks);
    ff_mem_free(positions->buckets);
    positions_init(positions);
}

static struct position_entry *entry_at(const struct positions *positions, uint32_t place)
{
    return &positions->chunks[place / POSITIONS_CHUNK][place % POSITIONS_CHUNK];
}

static uint32_t *bucket_of(const struct positions *positions, const struct ff_digest *digest)
{
    return &positions->buckets[digest->words[0] & positions->bucket_mask];
}

static void fill_buckets(struct positions *positions)
{
    memset(positions->buckets, 0xff, (positions->bucket_mask + 1UL) * sizeof(uint32_t));
    for (uint32_t place = positions->oldest; place != NOWHERE;) {
        struct position_entry *entry = entry_at(positions, place);
        uint32_t *bucket = bucket_of(positions, &entry->digest);

        entry->next = *bucket;
        *bucket = place;
        place = entry->newer;
    }
}

/* As many buckets as entries. Where there is no memory chains get longer; false: there is none. */
static bool grow_buckets(struct positions *positions)
{
    uint32_t size = positions->buckets ? (positions->bucket_mask + 1) * 2 : FIRST_BUCKETS;
    uint32_t *buckets;

    if (positions->buckets && positions->count <= positions->bucket_mask)
        return true;
    buckets = ff_mem_alloc(size * sizeof(*buckets));
    if (!buckets)
        return positions->buckets != NULL;
    ff_mem_free(positions->buckets);
    positions->buckets = buckets;
    positions->bucket_mask = size - 1;
    fill_buckets(positions);
    return true;
}

static bool grow_entries(struct positions *positions)
{
    struct position_entry **chunks;
    struct position_entry *chunk;

    if (positions->free != NOWHERE)
        return true;
    chunk = ff_mem_alloc(POSITIONS_CHUNK * sizeof(*chunk));
    chunks = chunk ? ff_mem_realloc(positions->chunks, (positions->chunk_count + 1UL) *
                                                           sizeof(struct position_entry *))
                   : NULL;
    if (!chunks) {
        ff_mem_free(chunk);
        return false;
    }
    positions->chunks = chunks;
    chunks[positions->chunk_count] = chunk;
    for (uint32_t i = 0; i < POSITIONS_CHUNK; i++) {
        chunk[i].next = positions->free;
        positions->free = positions->chunk_count * POSITIONS_CHUNK + i;
    }
    positions->chunk_count++;
    return true;
}

/* Where the number of an entry stands in its bucket; NULL: there is none. */
static uint32_t *find(const struct positions *positions, const struct ff_digest *digest)
{
    uint32_t *at = positions->buckets ? bucket_of(positions, digest) : NULL;

    while (at && *at != NOWHERE) {
        struct position_entry *entry = entry_at(positions, *at);

        if (ff_digest_is_equal(&entry->digest, digest))
            return at;
        at = &entry->next;
    }
    return NULL;
}

static void link_newest(struct positions *positions, uint32_t place)
{
    struct position_entry *entry = entry_at(positions, place);

    entry->older = positions->newest;
    entry->newer = NOWHERE;
    if (positions->newest != NOWHERE)
        entry_at(positions, positions->newest)->newer = place;
    else
        positions->oldest = place;
    positions->newest = place;
}

static void unlink_aged(struct positions *positions, const struct position_entry *entry)
{
    if (entry->older != NOWHERE)
        entry_at(positions, entry->older)->newer = entry->newer;
    else
        positions->oldest = entry->newer;
    if (entry->newer != NOWHERE)
        entry_at(positions, entry->newer)->older = entry->older;
    else
        positions->newest = entry->older;
}

/* `at`: where its number stands in its bucket. The last one gives all memory back. */
static void drop(struct positions *positions, uint32_t *at)
{
    uint32_t place = *at;
    struct position_entry *entry = entry_at(positions, place);

    *at = entry->next;
    unlink_aged(positions, entry);
    entry->next = positions->free;
    positions->free = place;
    if (--positions->count == 0)
        positions_deinit(positions);
}

void positions_keep(struct positions *positions, const struct ff_digest *digest,
                    struct ff_position at, uint32_t second)
{
    uint32_t *bucket = find(positions, digest);
    struct position_entry *entry;
    uint32_t place;

    if (bucket)
        drop(positions, bucket);
    if (!grow_entries(positions) || !grow_buckets(positions))
        return;
    place = positions->free;
    entry = entry_at(positions, place);
    positions->free = entry->next;
    bucket = bucket_of(positions, digest);
    *entry =
        (struct position_entry){.digest = *digest, .at = at, .next = *bucket, .kept_at = second};
    *bucket = place;
    link_newest(positions, place);
    positions->count++;
}

bool positions_find(const struct positions *positions, const struct ff_digest *digest,
                    struct ff_position *at)
{
    const uint32_t *place = find(positions, digest);

    if (place)
        *at = entry_at(positions, *place)->at;
    return place;
}

bool positions_take(struct positions *positions, const struct ff_digest *digest,
                    struct ff_position *at)
{
    uint32_t *place = find(positions, digest);

    if (!place)
        return false;
    *at = entry_at(positions, *place)->at;
    drop(positions, place);
    return true;
}

void positions_forget(struct positions *positions)
{
    drop(positions, find(positions, &entry_at(positions, positions->oldest)->digest));
}

bool positions_expire(struct positions *positions, uint32_t second, uint32_t seconds, uint32_t most)
{
    while (positions->count && second - entry_at(positions, positions->oldest)->kept_at > seconds) {
        if (most-- == 0)
            return true;
        positions_forget(positions);
    }
    return false;
}

size_t positions_size(const struct positions *positions)
{
    size_t buckets = positions->buckets ? (positions->bucket_mask + 1UL) * sizeof(uint32_t) : 0;

    return buckets + (size_t)positions->chunk_count *
                         (POSITIONS_CHUNK * sizeof(struct position_entry) + sizeof(void *));
}
