/* SPDX-License-Identifier: Apache-2.0 */
/* What an owner keeps for a worker that reads its log from afar. */
#include "broker/topic/remote.h"
#include "tests/support/lone_router.h"

/* The lone router owns the topic; this one has the subscriptions. */
static struct router reader;
static struct pool reader_pool;
static struct mailbox owner_box;
static struct mailbox reader_box;

static bool on_ready(void *arg, struct subscription *s)
{
    (void)arg;
    (void)s;
    return true;
}

static void begin_reader(void)
{
    static const struct router_ops ops = {.ready = on_ready};
    struct router_env env = {
        .pool = &reader_pool, .wheel = &wheel, .now_ms = &now_ms, .key = {{3, 4}}, .ops = &ops};
    struct router_limits limits = {
        .max_message = 65536, .max_buffered = 1 << 20, .max_topics = 1000, .max_filters = 1000};

    pool_init(&reader_pool, 1 << 20);
    mailbox_init(&owner_box, NULL, NULL);
    mailbox_init(&reader_box, NULL, NULL);
    assert_int_equal(router_init(&reader, &env, &limits), FF_OK);
}

static void end_reader(struct remote_link *remote)
{
    mailbox_open(&owner_box);
    remote_leave(remote);
    remote_detach(remote);
    remote_drop(remote);
    mailbox_open(&reader_box);
    router_deinit(&reader);
    pool_deinit(&reader_pool);
}

/* A whole turn of the worker in which its one reader takes all there is. */
static void read_all(struct subscription *s)
{
    struct log_view view = log_look(s->link->log);

    mailbox_open(&reader_box);
    router_mark_ready(&reader);
    cursor_to_head(&s->cursor, &view);
    link_set_pending(s, NULL);
    router_touch(&reader, s);
    (void)router_trim(&reader);
}

/*
 * The worker's flush saw a new message before the answer that grants its second
 * subscription a start in front of it was opened.
 */
static void a_start_that_is_not_accepted_yet_is_kept(void **state)
{
    struct remote_key key = {.name = FF_SLICE("a"),
                             .kind = KIND_JSON,
                             .owner_box = &owner_box,
                             .worker_box = &reader_box};
    struct subscription first = {.overflow = OVERFLOW_SKIP};
    struct subscription second = {.overflow = OVERFLOW_SKIP};
    struct remote_link *remote;
    struct receipt receipt;
    struct remote_start start;

    (void)state;
    begin_reader();
    assert_int_equal(remote_get(&reader, &key, &remote), FF_OK);
    assert_int_equal(remote_grant(&router, remote, NULL, &start), FF_OK);
    remote_accept(remote, &start);
    assert_int_equal(remote_attach(remote, &first, &start), FF_OK);
    assert_int_equal(remote_grant(&router, remote, NULL, &start), FF_OK);
    assert_int_equal(publish_hello("a", &receipt), FF_OK);
    router_mark_ready(&router);
    read_all(&first);
    mailbox_open(&owner_box);
    router_touch_link(&router, remote->owner_link);
    (void)router_trim(&router);
    assert_int_equal(log_tail_byte(remote->owner_link->log), start.cursor.byte);

    remote_accept(remote, &start);
    assert_int_equal(remote_attach(remote, &second, &start), FF_OK);
    read_all(&second);
    mailbox_open(&owner_box);
    router_touch_link(&router, remote->owner_link);
    (void)router_trim(&router);
    assert_int_equal(log_tail_byte(remote->owner_link->log),
                     log_head_byte(remote->owner_link->log));
    router_unsubscribe(&reader, &first);
    router_unsubscribe(&reader, &second);
    end_reader(remote);
}

int main(void)
{
    const struct CMUnitTest tests[] = {WITH_ROUTER(a_start_that_is_not_accepted_yet_is_kept)};

    return cmocka_run_group_tests_name("remote", tests, NULL, NULL);
}
