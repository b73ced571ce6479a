/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/far.h"

#include "broker/topic/router.h"
#include "protocol/base/mem.h"

/* In the worker's turn: the log has a new head, or another tail. */
static void open_told(struct mail *mail)
{
    struct far_link *far = FF_CONTAINER(mail, struct far_link, told);

    if (far->state == FAR_FREE)
        ff_mem_free(far);
    else if (far->state == FAR_LINKED)
        router_note_told(far->router, far);
}

/* In the owner's turn: a worker needs less of the log. */
static void open_risen(struct mail *mail)
{
    struct far_link *far = FF_CONTAINER(mail, struct far_link, risen);

    router_touch_link(far->owner_router, far->near);
}

static struct far_link *find(const struct topic *topic, const struct far_request *request)
{
    struct far_link *far = topic->far;

    while (far && (far->owner != request->owner || far->link.encoding != request->encoding ||
                   far->state == FAR_LEAVING))
        far = far->next;
    return far;
}

static struct far_link *make(struct router *router, struct topic *topic,
                             const struct far_request *request)
{
    struct far_link *far = ff_mem_alloc_aligned(FF_CACHE_LINE, sizeof(*far));

    if (!far)
        return NULL;
    *far = (struct far_link){.router = router,
                             .owner_box = request->owner_box,
                             .worker_box = request->worker_box,
                             .owner = request->owner,
                             .next = topic->far};
    link_init(&far->link, topic, request->encoding, NULL);
    far->link.is_far = true;
    ff_list_init(&far->waiters);
    mail_init(&far->risen, open_risen);
    mail_init(&far->told, open_told);
    topic->far = far;
    return far;
}

enum ff_err far_get(struct router *router, const struct far_request *request, struct far_link **far)
{
    struct topic *topic;
    enum ff_err err = registry_get(&router->registry, request->name, true, &topic);

    if (err)
        return err;
    *far = find(topic, request);
    if (!*far)
        *far = make(router, topic, request);
    if (!*far)
        (void)registry_drop_unused(&router->registry, topic);
    return *far ? FF_OK : FF_ENOMEM;
}

void far_ask(struct far_link *far, struct subscription *s, void *waiter)
{
    s->waiter = waiter;
    s->link = &far->link;
    s->index = SUBSCRIPTION_ASKED;
    s->zone = ZONE_TIMED;
}

void far_take(struct far_link *far, const struct cursor *place)
{
    far->taken_count++;
    if (far->state == FAR_NEW) {
        far->state = FAR_LINKED;
        far->walked = far->link.active_needed = place->byte;
    }
    router_note_told(far->router, far); /* what came since may have been told before */
}

enum ff_err far_tie(struct far_link *far, struct subscription *s, const struct cursor *place)
{
    enum ff_err err;

    s->cursor = *place;
    err = link_add(&far->link, s);
    if (!err)
        far_note_count(far);
    return err;
}

bool far_is_idle(const struct far_link *far)
{
    return far->state == FAR_LINKED && link_count(&far->link) == 0 &&
           ff_list_is_empty(&far->waiters);
}

void far_leave(struct far_link *far)
{
    far->state = FAR_LEAVING;
    far->link.is_dirty = far->link.is_trimmed = false;
    ff_list_remove(&far->link.turn);
}

void far_drop(struct far_link *far)
{
    struct topic *topic = far->link.topic;
    struct far_link **at = &topic->far;

    while (*at != far)
        at = &(*at)->next;
    *at = far->next;
    ff_list_remove(&far->link.turn);
    link_deinit(&far->link);
    (void)registry_drop_unused(&far->router->registry, topic);
    far->state = FAR_FREE;
    if (!mail_is_in(&far->told))
        ff_mem_free(far);
}

static enum ff_err attach(struct router *owner, struct far_link *far)
{
    enum ff_encoding encoding = (enum ff_encoding)far->link.encoding;
    struct topic_log *log;
    struct topic *topic;
    enum ff_err err = registry_get(&owner->registry, topic_name(far->link.topic), false, &topic);

    if (err)
        return err;
    log = registry_get_log(topic, encoding);
    if (!log) {
        (void)registry_drop_unused(&owner->registry, topic);
        return FF_ENOMEM;
    }
    atomic_store_explicit(&far->needed, log_head_byte(&log->log), memory_order_relaxed);
    atomic_store_explicit(&far->active_needed, UINT64_MAX, memory_order_relaxed);
    log->log.is_shared = true;
    far->owner_router = owner;
    far->near = &log->link;
    far->link.log = &log->log;
    far->next_of_log = log->far;
    log->far = far;
    return FF_OK;
}

enum ff_err far_give(struct router *owner, struct far_link *far, struct cursor *place)
{
    enum ff_err err = far->near ? FF_OK : attach(owner, far);
    struct log_view view;

    if (err)
        return err;
    view = log_look(far->near->log);
    cursor_to_head(place, &view);
    if (atomic_load_explicit(&far->taken, memory_order_relaxed) == far->given)
        far->floor = place->byte;
    far->given++;
    return FF_OK;
}

void far_detach(struct far_link *far)
{
    struct router *owner = far->owner_router;
    struct topic_log *log = link_topic_log(far->near);
    struct far_link **at = &log->far;

    while (*at != far)
        at = &(*at)->next_of_log;
    *at = far->next_of_log;
    log->log.is_shared = log->far != NULL;
    router_touch_link(owner, &log->link);
    router_drop_unused(owner, log->link.topic);
}

void far_tell(struct far_link *far)
{
    mailbox_post(far->worker_box, &far->told);
}

/* The end of the oldest segment: the owner is only told when that much may be freed. */
static uint64_t first_end(const struct log_view *view)
{
    return view->first->first_byte + view_end(view, view->first);
}

void far_publish_needed(struct far_link *far, const struct log_view *view)
{
    uint64_t needed = link_update_needed(&far->link, view, far->walked);

    atomic_store_explicit(&far->active_needed, link_active_needed(&far->link),
                          memory_order_relaxed);
    atomic_store_explicit(&far->buffered, far->link.buffered, memory_order_relaxed);
    if (needed == atomic_load_explicit(&far->needed, memory_order_relaxed) &&
        far->taken_count == atomic_load_explicit(&far->taken, memory_order_relaxed))
        return;
    atomic_store_explicit(&far->needed, needed, memory_order_release);
    atomic_store_explicit(&far->taken, far->taken_count, memory_order_release);
    if (view->first && needed >= first_end(view))
        mailbox_post(far->owner_box, &far->risen);
}

void far_note_count(struct far_link *far)
{
    atomic_store_explicit(&far->receivers, link_count(&far->link), memory_order_relaxed);
}

uint64_t far_needed(const struct far_link *first, uint64_t *active)
{
    uint64_t least = UINT64_MAX;

    for (const struct far_link *far = first; far; far = far->next_of_log) {
        /* In this order: who has taken a place needs it as long as it says so. */
        uint32_t taken = atomic_load_explicit(&far->taken, memory_order_acquire);
        uint64_t needed = atomic_load_explicit(&far->needed, memory_order_acquire);

        uint64_t far_active = atomic_load_explicit(&far->active_needed, memory_order_relaxed);

        *active = far_active < *active ? far_active : *active;
        least = needed < least ? needed : least;
        if (taken != far->given && far->floor < least)
            least = far->floor;
    }
    return least;
}
