/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.c - both ends of a remote link. Functions say whose turn they run in: the
 * worker's, who has the subscriptions, or the owner's, who has the log; between
 * them only the atomics, the grant of a start and two mails.
 */
#include "broker/topic/remote.h"

#include "broker/topic/past.h"
#include "broker/topic/router.h"
#include "protocol/base/mem.h"

/* In the worker's turn: the log has a new head, or another tail. */
static void open_log_changed(struct mail *mail)
{
    struct remote_link *remote = FF_CONTAINER(mail, struct remote_link, log_changed);

    if (remote->state == REMOTE_FREE)
        ff_mem_free(remote);
    else if (remote->state == REMOTE_LINKED)
        router_note_log_change(remote->router, remote);
}

/* In the owner's turn: a worker needs less of the log. */
static void open_need_lowered(struct mail *mail)
{
    struct remote_link *remote = FF_CONTAINER(mail, struct remote_link, need_lowered);

    router_touch_link(remote->owner_router, remote->owner_link);
}

static struct remote_link *find(const struct topic *topic, const struct remote_key *request)
{
    struct remote_link *remote = topic->remotes;

    while (remote && (remote->owner != request->owner || remote->link.kind != request->kind ||
                      remote->state == REMOTE_LEAVING))
        remote = remote->next;
    return remote;
}

static struct remote_link *make(struct router *router, struct topic *topic,
                                const struct remote_key *request)
{
    struct remote_link *remote = ff_mem_alloc_aligned(FF_CACHE_LINE, sizeof(*remote));

    if (!remote)
        return NULL;
    *remote = (struct remote_link){.router = router,
                                   .owner_box = request->owner_box,
                                   .worker_box = request->worker_box,
                                   .owner = request->owner,
                                   .next = topic->remotes};
    link_init(&remote->link, topic, request->kind, NULL);
    remote->link.is_remote = true;
    ff_list_init(&remote->waiters);
    mail_init(&remote->need_lowered, open_need_lowered);
    mail_init(&remote->log_changed, open_log_changed);
    topic->remotes = remote;
    return remote;
}

enum ff_err remote_get(struct router *router, const struct remote_key *request,
                       struct remote_link **remote)
{
    struct topic *topic;
    enum ff_err err = registry_get(&router->registry, request->name, TOPIC_FOREIGN, NULL, &topic);

    if (err)
        return err;
    *remote = find(topic, request);
    if (!*remote)
        *remote = make(router, topic, request);
    if (!*remote)
        (void)registry_drop_unused(&router->registry, topic);
    return *remote ? FF_OK : FF_ENOMEM;
}

void remote_accept(struct remote_link *remote, const struct remote_start *start)
{
    remote->accepted_count++;
    if (remote->state == REMOTE_NEW) {
        remote->state = REMOTE_LINKED;
        remote->offered_head = remote->link.active_needed = start->cursor.byte;
    }
    router_note_log_change(remote->router, remote); /* what came since may have been told before */
}

enum ff_err remote_attach(struct remote_link *remote, struct subscription *s,
                          const struct remote_start *start)
{
    enum ff_err err;

    s->cursor = start->cursor;
    s->asked_byte = start->asked_byte;
    err = link_add(&remote->link, s);
    if (!err)
        remote_note_count(remote);
    return err;
}

bool remote_is_idle(const struct remote_link *remote)
{
    return remote->state == REMOTE_LINKED && link_count(&remote->link) == 0 &&
           ff_list_is_empty(&remote->waiters);
}

void remote_leave(struct remote_link *remote)
{
    remote->state = REMOTE_LEAVING;
    remote->link.is_dirty = remote->link.is_trimmed = false;
    ff_list_remove(&remote->link.turn);
}

void remote_drop(struct remote_link *remote)
{
    struct topic *topic = remote->link.topic;
    struct remote_link **at = &topic->remotes;

    while (*at != remote)
        at = &(*at)->next;
    *at = remote->next;
    ff_list_remove(&remote->link.turn);
    link_deinit(&remote->link);
    (void)registry_drop_unused(&remote->router->registry, topic);
    remote->state = REMOTE_FREE;
    if (!mail_is_in(&remote->log_changed))
        ff_mem_free(remote);
}

static enum ff_err attach_log(struct router *owner, struct remote_link *remote,
                              const struct ff_position *life)
{
    enum log_kind kind = (enum log_kind)remote->link.kind;
    struct topic_log *log;
    struct topic *topic;
    enum ff_err err =
        registry_get(&owner->registry, topic_name(remote->link.topic), TOPIC_READ, life, &topic);

    if (err)
        return err;
    log = past_get_log(owner, topic, kind);
    if (!log) {
        (void)registry_drop_unused(&owner->registry, topic);
        return FF_ENOMEM;
    }
    atomic_store_explicit(&remote->needed, log_head_byte(&log->log), memory_order_relaxed);
    atomic_store_explicit(&remote->active_needed, UINT64_MAX, memory_order_relaxed);
    log->log.is_shared = true;
    remote->owner_router = owner;
    remote->owner_link = &log->link;
    remote->link.log = &log->log;
    remote->next_of_log = log->remotes;
    log->remotes = remote;
    return FF_OK;
}

enum ff_err remote_grant(struct router *owner, struct remote_link *remote,
                         const struct history_start *from, struct remote_start *start)
{
    enum ff_err err =
        remote->owner_link ? FF_OK : attach_log(owner, remote, from ? &from->at : NULL);
    uint64_t byte;

    if (err)
        return err;
    router_place(&start->cursor, &start->asked_byte, remote->owner_link->log, from);
    byte = start->cursor.byte;
    if (atomic_load_explicit(&remote->accepted, memory_order_relaxed) == remote->granted ||
        byte < remote->lowest_unaccepted)
        remote->lowest_unaccepted = byte;
    remote->granted++;
    return FF_OK;
}

void remote_detach(struct remote_link *remote)
{
    struct router *owner = remote->owner_router;
    struct topic_log *log = link_topic_log(remote->owner_link);
    struct remote_link **at = &log->remotes;

    while (*at != remote)
        at = &(*at)->next_of_log;
    *at = remote->next_of_log;
    log->log.is_shared = log->remotes != NULL;
    router_touch_link(owner, &log->link);
    router_drop_unused(owner, log->link.topic);
}

void remote_notify(struct remote_link *remote)
{
    mailbox_post(remote->worker_box, &remote->log_changed);
}

/* The end of the oldest segment: the owner is only told when that much may be freed. */
static uint64_t first_end(const struct log_view *view)
{
    return view->first->first_byte + view_end(view, view->first);
}

void remote_publish_needed(struct remote_link *remote, const struct log_view *view)
{
    uint64_t needed = link_update_needed(&remote->link, view, remote->offered_head);

    atomic_store_explicit(&remote->active_needed, link_active_needed(&remote->link),
                          memory_order_relaxed);
    atomic_store_explicit(&remote->buffered, remote->link.buffered, memory_order_relaxed);
    if (needed == atomic_load_explicit(&remote->needed, memory_order_relaxed) &&
        remote->accepted_count == atomic_load_explicit(&remote->accepted, memory_order_relaxed))
        return;
    atomic_store_explicit(&remote->needed, needed, memory_order_release);
    atomic_store_explicit(&remote->accepted, remote->accepted_count, memory_order_release);
    if (view->first && needed >= first_end(view))
        mailbox_post(remote->owner_box, &remote->need_lowered);
}

void remote_note_count(struct remote_link *remote)
{
    atomic_store_explicit(&remote->receivers, link_count(&remote->link), memory_order_relaxed);
}

uint64_t remote_needed(const struct remote_link *first, uint64_t *active)
{
    uint64_t least = UINT64_MAX;

    for (const struct remote_link *remote = first; remote; remote = remote->next_of_log) {
        /* In this order: who has accepted a start needs it as long as it says so. */
        uint32_t accepted = atomic_load_explicit(&remote->accepted, memory_order_acquire);
        uint64_t needed = atomic_load_explicit(&remote->needed, memory_order_acquire);

        uint64_t remote_active = atomic_load_explicit(&remote->active_needed, memory_order_relaxed);

        *active = remote_active < *active ? remote_active : *active;
        least = needed < least ? needed : least;
        if (accepted != remote->granted && remote->lowest_unaccepted < least)
            least = remote->lowest_unaccepted;
    }
    return least;
}
