/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/bulletin.h"

struct ff_slice bulletin_name(struct ff_slice topic, char room[FF_TOPIC_MAX])
{
    FF_CHECK(topic.len <= BULLETIN_TOPIC_MAX);
    memcpy(room, BULLETIN_PREFIX, BULLETIN_PREFIX_LEN);
    memcpy(room + BULLETIN_PREFIX_LEN, topic.at, topic.len);
    return (struct ff_slice){room, BULLETIN_PREFIX_LEN + topic.len};
}

enum ff_err bulletin_find(struct router *router, struct ff_slice name, struct topic **bulletin)
{
    return registry_find_expanded(&router->registry, name, bulletin);
}

static enum ff_err reserve(struct router *router, const struct topic *bulletin,
                           const struct ff_slice frames[FF_ENCODINGS])
{
    for (int i = 0; i < FF_ENCODINGS; i++) {
        enum ff_err err;

        if (!bulletin->logs[i])
            continue;
        err = log_reserve(&bulletin->logs[i]->log, &router->registry.limbo, frames[i].len);
        if (err)
            return err;
    }
    return FF_OK;
}

static void commit(struct router *router, struct topic_log *log, struct ff_slice frame)
{
    struct log_stamp stamp = {.tick = wheel_now(router->wheel)};

    memcpy(log_reserved(&log->log), frame.at, frame.len);
    log_commit(&log->log, &router->registry.limbo, &stamp);
}

enum ff_err bulletin_append(struct router *router, struct topic *bulletin,
                            const struct ff_slice frames[FF_ENCODINGS])
{
    enum ff_err err = reserve(router, bulletin, frames);

    for (int i = 0; i < FF_ENCODINGS; i++) {
        struct topic_log *log = bulletin->logs[i];

        if (log && err)
            log_cancel(&log->log, &router->registry.limbo);
        else if (log)
            commit(router, log, frames[i]);
        if (log && !err) /* its readers still need it, though they are not told yet */
            log->link.is_dirty = true;
    }
    bulletin->offset += !err;
    return err;
}

void bulletin_tell(struct router *router, struct topic *bulletin)
{
    for (int i = 0; i < FF_ENCODINGS; i++) {
        struct topic_log *log = bulletin->logs[i];

        if (log)
            router_touch_link(router, &log->link);
    }
}

void bulletin_count(const struct topic *bulletin, uint32_t members)
{
    for (int i = 0; i < FF_ENCODINGS; i++)
        if (bulletin->logs[i])
            atomic_store_explicit(&bulletin->logs[i]->members, members, memory_order_relaxed);
}

size_t bulletin_write_count(const struct link *link, char out[GAP_MAX])
{
    const struct topic_log *log = FF_CONTAINER_CONST(link->log, struct topic_log, log);
    uint32_t members = atomic_load_explicit(&log->members, memory_order_relaxed);

    return kind_write_count((enum log_kind)link->kind, bulletin_topic(topic_name(link->topic)),
                            members, out);
}
