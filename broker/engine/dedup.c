/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dedup.c - a map of what is remembered, and lists of it by age.
 *
 * Topics remember for different times, so one list would hold what has ended behind what
 * has not. There is one for each power of two of seconds: what has ended stands behind
 * others for no longer than it was remembered, and each list's first is its oldest.
 */
#include "broker/engine/dedup.h"

#include "protocol/base/mem.h"

enum {
    LISTS = 17, /* a day has less than 2^17 seconds */
    SWEPT = 1000,
    SWEEP_AGAIN_MS = 10,
    SWEEP_MS = 1000,
    KEY_MAX = 64,
};

_Static_assert(DEDUP_SECONDS_MAX < 1 << LISTS, "every time has its list");

struct remembered {
    struct ff_map_node node;
    struct ff_list by_age;
    struct ff_digest id;      /* of topic and key */
    struct ff_digest payload; /* and its kind */
    uint64_t ends_ms;         /* by the router's clock */
    struct engine_receipt receipt;
};

_Static_assert(sizeof(struct remembered) + 16 <= DEDUP_KEY_SIZE, "as large as the header says");

struct dedup {
    struct router *router;
    struct ff_map map;
    struct ff_list lists[LISTS]; /* the oldest first */
    struct remembered *spare;    /* for the publish that is asked about; NULL: none is needed */
    uint64_t lasts_ms;           /* so long, once it is taken */
    struct wheel_timer sweep;    /* runs while something is remembered */
    uint64_t forgotten;
};

static struct remembered *remembered_of(struct ff_list *by_age)
{
    return FF_CONTAINER(by_age, struct remembered, by_age);
}

/* The first of a list; NULL: it is empty. */
static struct remembered *first_of(struct ff_list *list)
{
    return ff_list_is_empty(list) ? NULL : remembered_of(list->next);
}

static bool has_ended(const struct dedup *dedup, const struct remembered *r)
{
    return r->ends_ms <= router_now_ms(dedup->router);
}

static void forget(struct dedup *dedup, struct remembered *r)
{
    ff_map_remove(&dedup->map, &r->node);
    ff_list_remove(&r->by_age);
}

/* Of the firsts of all lists the one that would end next; NULL: nothing is remembered. */
static struct remembered *find_oldest(struct dedup *dedup)
{
    struct remembered *oldest = NULL;

    for (int i = 0; i < LISTS; i++) {
        struct remembered *first = first_of(&dedup->lists[i]);

        if (first && (!oldest || first->ends_ms < oldest->ends_ms))
            oldest = first;
    }
    return oldest;
}

/* The oldest one goes; NULL: there is none. It is the caller's to free. */
static struct remembered *take_oldest(struct dedup *dedup)
{
    struct remembered *oldest = find_oldest(dedup);

    if (!oldest)
        return NULL;
    forget(dedup, oldest);
    dedup->forgotten += !has_ended(dedup, oldest);
    return oldest;
}

/* Of each list what has ended, and what is too much by a new limit. True: there is more. */
static bool sweep(struct dedup *dedup)
{
    int left = SWEPT;

    for (int i = 0; i < LISTS; i++) {
        struct remembered *first;

        while ((first = first_of(&dedup->lists[i])) && has_ended(dedup, first)) {
            if (left-- == 0)
                return true;
            forget(dedup, first);
            ff_mem_free(first);
        }
    }
    while (dedup->map.count > dedup->router->registry.limits.max_keys) {
        if (left-- <= 0)
            return true;
        ff_mem_free(take_oldest(dedup));
    }
    return false;
}

static void on_sweep(struct wheel_timer *timer)
{
    struct dedup *dedup = FF_CONTAINER(timer, struct dedup, sweep);
    bool is_more = sweep(dedup);

    if (dedup->map.count)
        wheel_set(router_wheel(dedup->router), timer, is_more ? SWEEP_AGAIN_MS : SWEEP_MS);
}

struct dedup *dedup_new(struct router *router)
{
    struct dedup *dedup = ff_mem_zalloc(sizeof(*dedup));

    if (!dedup)
        return NULL;
    if (ff_map_init(&dedup->map)) {
        ff_mem_free(dedup);
        return NULL;
    }
    for (int i = 0; i < LISTS; i++)
        ff_list_init(&dedup->lists[i]);
    dedup->router = router;
    wheel_timer_init(&dedup->sweep, on_sweep);
    return dedup;
}

void dedup_free(struct dedup *dedup)
{
    struct remembered *r;

    if (!dedup)
        return;
    while ((r = take_oldest(dedup)))
        ff_mem_free(r);
    wheel_stop(router_wheel(dedup->router), &dedup->sweep);
    ff_map_deinit(&dedup->map);
    ff_mem_free(dedup->spare);
    ff_mem_free(dedup);
}

/* Without a name between them "a" and "bc" would be "ab" and "c". */
static struct ff_digest digest_id(const struct dedup *dedup, const struct publication *p)
{
    char text[1 + FF_TOPIC_MAX + KEY_MAX];

    FF_CHECK(p->topic.len <= FF_TOPIC_MAX && p->key.len <= KEY_MAX);
    text[0] = (char)p->topic.len;
    memcpy(text + 1, p->topic.at, p->topic.len);
    memcpy(text + 1 + p->topic.len, p->key.at, p->key.len);
    return ff_digest_of(&dedup->router->registry.key, text, 1 + p->topic.len + p->key.len);
}

static struct ff_digest digest_payload(const struct dedup *dedup, const struct ff_payload *payload)
{
    struct ff_digest digest =
        ff_digest_of(&dedup->router->registry.key, payload->bytes.at, payload->bytes.len);

    digest.words[0] ^= (uint64_t)payload->kind;
    return digest;
}

static bool is_remembered(const void *id, const struct ff_map_node *node)
{
    const struct remembered *r = FF_CONTAINER_CONST(node, struct remembered, node);

    return ff_digest_is_equal(&r->id, id);
}

static struct remembered *find(const struct dedup *dedup, struct ff_digest id)
{
    struct ff_map_node *node = ff_map_find(&dedup->map, (uint32_t)id.words[0], is_remembered, &id);

    return node ? FF_CONTAINER(node, struct remembered, node) : NULL;
}

static void answer(const struct remembered *r, struct ff_digest payload,
                   struct engine_receipt *receipt)
{
    if (ff_digest_is_equal(&r->payload, &payload)) {
        *receipt = r->receipt;
        receipt->is_duplicate = true;
    } else {
        *receipt = (struct engine_receipt){.err = FF_EOTHER};
    }
}

/* Is there a place for one more, without another one's? */
static bool has_place(const struct dedup *dedup)
{
    struct ff_budget *budget = dedup->router->registry.limbo.budget;

    return dedup->map.count < dedup->router->registry.limits.max_keys &&
           (!budget || ff_budget_level(budget) < FF_MEMORY_FULL);
}

/* Memory for the next one. NULL: there is none, not even another one's. */
static struct remembered *make_spare(struct dedup *dedup)
{
    struct remembered *spare = has_place(dedup) ? ff_mem_alloc(sizeof(*spare)) : NULL;

    return spare ? spare : take_oldest(dedup);
}

bool dedup_answers(struct dedup *dedup, const struct publication *p, struct engine_receipt *receipt)
{
    struct ff_digest id;
    struct ff_digest payload;
    struct remembered *r;

    if (!p->key.len)
        return false;
    id = digest_id(dedup, p);
    payload = digest_payload(dedup, &p->payload);
    r = find(dedup, id);
    if (r && !has_ended(dedup, r)) {
        answer(r, payload, receipt);
        return true;
    }
    if (r) {
        forget(dedup, r);
        ff_mem_free(r);
    }
    if (!dedup->spare)
        dedup->spare = make_spare(dedup);
    if (!dedup->spare) {
        *receipt = (struct engine_receipt){.err = FF_ENOMEM};
        return true;
    }
    dedup->spare->id = id;
    dedup->spare->payload = payload;
    /* Before it is published, which may end the topic whose name was given. */
    dedup->lasts_ms = registry_dedup_seconds(&dedup->router->registry, p->topic) * 1000ULL;
    return false;
}

/* Which list is for what is remembered so long. */
static struct ff_list *list_for(struct dedup *dedup, uint64_t ms)
{
    uint64_t seconds = ms / 1000;
    int i = 0;

    while (seconds >>= 1)
        i++;
    return &dedup->lists[i];
}

void dedup_note(struct dedup *dedup, const struct publication *p,
                const struct engine_receipt *receipt)
{
    struct remembered *r = dedup->spare;
    struct wheel *wheel = router_wheel(dedup->router);

    if (!p->key.len || receipt->err)
        return;
    dedup->spare = NULL;
    r->receipt = *receipt;
    ff_list_init(&r->by_age);
    r->ends_ms = router_now_ms(dedup->router) + dedup->lasts_ms;
    ff_list_append(list_for(dedup, dedup->lasts_ms), &r->by_age);
    ff_map_add(&dedup->map, &r->node, (uint32_t)r->id.words[0]);
    if (!wheel_is_set(&dedup->sweep))
        wheel_set(wheel, &dedup->sweep, SWEEP_MS);
}

uint64_t dedup_count(const struct dedup *dedup)
{
    return dedup->map.count;
}

uint64_t dedup_forgotten(const struct dedup *dedup)
{
    return dedup->forgotten;
}
