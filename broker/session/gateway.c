/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway.c - what the sessions of a worker share: their places and tags, who may
 * come in, and the ends of a turn. In this order: places, the turn's hooks, the
 * second's work, life, sessions, accepting and handing over.
 */
#include "broker/session/gateway.h"

#include <stdio.h>
#include <sys/random.h>

#include "broker/carrier/carrier.h"
#include "broker/engine/dedup.h"
#include "broker/engine/memory.h"
#include "broker/engine/redis.h"
#include "broker/net/logger.h"
#include "broker/session/session.h"
#include "broker/session/sys.h"
#include "broker/session/trace.h"
#include "protocol/base/mem.h"
#include "protocol/base/reserve.h"

enum {
    SCRATCH_MAX = 1024 * 1024,
    SCRATCH_KEPT = 16 * 1024,
    COMPACT_AGAIN_MS = 10,
    MIN_SLOTS = 64,
    HALF_OPEN_MIN_TICKS = WHEEL_TICKS_A_SECOND, /* a younger handshake is not dropped for another */
    SPARE_CONNECTIONS = 32, /* beyond max_connections, to be told so by a close code */
    KEYS_SHARE = 16,        /* of all memory, at most */
};

/* A free place holds the number of the next one with the lowest bit set: no pointer has it. */
#define SLOT_STEP    2ULL
#define SLOT_IS_FREE 1ULL
#define NO_SLOT      UINT32_MAX

/* The place that is taken next. */
static void push_slot(struct gateway *gateway, uint32_t i)
{
    gateway->slots[i].free = gateway->first_free * SLOT_STEP + SLOT_IS_FREE;
    gateway->first_free = i;
}

uint64_t gateway_random(struct gateway *gateway)
{
    /* xorshift128+ (Vigna, 2014): nothing drawn from it needs to be secret. */
    uint64_t a = gateway->random_state[0];
    uint64_t b = gateway->random_state[1];

    gateway->random_state[0] = b;
    a ^= a << 23;
    gateway->random_state[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return gateway->random_state[1] + b;
}

/* A worker's part of the keys that are remembered. */
static uint32_t max_keys(const struct settings *settings, uint32_t workers)
{
    uint64_t most = settings->max_memory / KEYS_SHARE / DEDUP_KEY_SIZE;

    return (uint32_t)((most < settings->max_keys ? most : settings->max_keys) / workers + 1);
}

static struct router_limits router_limits(const struct settings *settings, uint32_t workers,
                                          uint32_t window_bits)
{
    return (struct router_limits){
        .max_message = settings->max_message,
        .max_buffered = settings->max_buffered,
        .max_topics = settings->max_topics,
        .max_filters = settings->max_filters,
        .max_retained = settings->max_retained,
        .history = {.messages = settings->history,
                    .octets = settings->history_bytes,
                    .seconds = settings->history_seconds,
                    .position_seconds = settings->position_seconds,
                    .memory = settings->history_memory / workers},
        .dedup_seconds = settings->dedup_seconds,
        .max_keys = max_keys(settings, workers),
        .packing = {.level = settings->deflate_level,
                    .window_bits = window_bits,
                    .min_octets = settings->deflate_min,
                    .min_readers = settings->deflate_readers},
    };
}

static void route(void *arg)
{
    struct gateway *gateway = arg;

    carrier_notify(gateway->carrier);
    router_mark_ready(&gateway->router);
}

/* Is there no room for one more handshake? */
static bool is_crowded(const struct gateway *gateway, bool in_tls)
{
    uint32_t workers = gateway->shared->workers; /* each has its share */
    uint32_t limit = in_tls ? (uint32_t)NET_MAX_HANDSHAKES : gateway->settings->max_half_open;
    const struct net *net = &gateway->worker->net;
    uint32_t count = in_tls ? net->handshakes : gateway->half_open_count + net->guest_count;

    return count >= (limit + workers - 1) / workers;
}

static uint32_t load_of(const struct gateway *gateway)
{
    return atomic_load_explicit(&gateway->worker->load, memory_order_relaxed);
}

/* Does a request wait for another worker? What its session asks is not done, then. */
static bool has_deferred(const struct gateway *gateway)
{
    for (uint32_t i = 0; i <= gateway->shared->workers; i++) /* and those who need all of them */
        if (!ff_list_is_empty(&gateway->deferred[i]))
            return true;
    return false;
}

static bool end_turn(void *arg)
{
    struct gateway *gateway = arg;
    struct worker_figures *figures = &gateway->shared->figures[gateway->worker->index];
    struct input *input = &gateway->worker->net.input;
    uint32_t closing = gateway->worker->net.connections - gateway->session_count;

    input->is_behind |= has_deferred(gateway);
    atomic_store_explicit(&figures->closing, closing, memory_order_relaxed);
    atomic_store_explicit(&figures->is_crowded,
                          is_crowded(gateway, false) || is_crowded(gateway, true) ||
                              input->is_behind,
                          memory_order_relaxed);
    carrier_notify(gateway->carrier); /* who was held back may have asked in the flush */
    return router_trim(&gateway->router);
}

/* One more than the last place in use. */
static uint32_t find_end(const struct gateway *gateway)
{
    uint32_t end = gateway->slot_count;

    while (end > 0 && !gateway_at(gateway, end - 1))
        end--;
    return end;
}

/* The places that a crowd needed go, when the crowd has gone; the others keep their numbers. */
static void shrink_slots(struct gateway *gateway)
{
    uint32_t count = find_end(gateway) + MIN_SLOTS;
    union session_slot *slots;

    if (count > gateway->slot_count / 4)
        return;
    gateway->first_free = NO_SLOT;
    for (uint32_t i = count; i-- > 0;)
        if (!gateway_at(gateway, i))
            push_slot(gateway, i);
    slots = ff_mem_realloc(gateway->slots, count * sizeof(*slots));
    gateway->slots = slots ? slots : gateway->slots;
    gateway->slot_count = count;
}

static void give_back_buf(struct ff_buf *buf)
{
    if (buf->cap > SCRATCH_KEPT)
        ff_buf_deinit(buf);
}

/* Memory that a busy second needed and a quiet one does not. */
static void give_back(struct gateway *gateway)
{
    give_back_buf(&gateway->scratch);
    give_back_buf(&gateway->unescape_buf);
    for (int i = 0; i < KINDS; i++)
        give_back_buf(&gateway->router.payload_bufs[i]);
    packer_give_back(&gateway->router.packer);
    shrink_slots(gateway);
    pool_trim(&gateway->worker->net.pool);
    trimmer_look(&gateway->shared->trimmer);
}

/* A million topics are compacted in many turns: nothing else waits for them. */
static void compact_topics(struct gateway *gateway)
{
    bool is_more = router_release_idle(&gateway->router);

    is_more |= history_expire(&gateway->router);
    if (is_more)
        wheel_set(&gateway->worker->net.wheel, &gateway->compaction, COMPACT_AGAIN_MS);
}

static void on_compaction(struct wheel_timer *timer)
{
    compact_topics(FF_CONTAINER(timer, struct gateway, compaction));
}

static void on_second(struct wheel_timer *timer)
{
    struct gateway *gateway = FF_CONTAINER(timer, struct gateway, second);

    sys_report(gateway);
    log_tell_suppressed();
    router_close_too_slow(&gateway->router);
    compact_topics(gateway);
    carrier_release_idle(gateway->carrier);
    give_back(gateway);
    wheel_set(&gateway->worker->net.wheel, &gateway->second, 1000);
}

static enum ff_err draw_entropy(struct gateway *gateway)
{
    uint64_t bits[3];

    if (getrandom(bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        return FF_ESYS;
    gateway->random_state[0] = bits[0];
    gateway->random_state[1] = bits[1] | 1;
    gateway->id_seed = bits[2];
    return FF_OK;
}

/* NULL: out of memory. */
static struct engine *make_engine(struct gateway *gateway)
{
    struct redis_url url;
    char why[REDIS_WHY_MAX];
    struct redis_engine_env env = {.router = &gateway->router,
                                   .net = &gateway->worker->net,
                                   .box = &gateway->worker->mailbox,
                                   .url = &url,
                                   .prefix = gateway->settings->redis_prefix,
                                   .node = gateway->shared->life,
                                   .index = gateway->worker->index,
                                   .workers = gateway->shared->workers};

    if (gateway->settings->engine == ENGINE_MEMORY)
        return memory_engine_new(&gateway->router);
    FF_CHECK(redis_url_parse(&url, gateway->settings->redis, why)); /* the configuration has */
    return redis_engine_new(&env);
}

/* NULL: out of memory. */
static struct carrier *make_carrier(struct gateway *gateway)
{
    struct carrier_env env = {.engine = make_engine(gateway),
                              .router = &gateway->router,
                              .exchange = gateway->shared->exchange,
                              .box = &gateway->worker->mailbox,
                              .index = gateway->worker->index,
                              .events = &session_carrier_events,
                              .arg = gateway};
    struct carrier *carrier = env.engine ? carrier_new(&env) : NULL;

    if (!carrier)
        engine_free(env.engine);
    return carrier;
}

enum ff_err gateway_init(struct gateway *gateway, struct worker *worker, struct shared *shared,
                         const struct settings *settings)
{
    static const struct worker_ops ops = {.route = route, .end_turn = end_turn};
    struct router_env env = {.pool = &worker->net.pool,
                             .wheel = &worker->net.wheel,
                             .budget = &worker->net.budget,
                             .now_ms = &worker->net.loop.now_ms,
                             .key = shared->key,
                             .ops = &delivery_router_ops,
                             .arg = gateway,
                             .qsbr = shared->exchange ? &shared->qsbr : NULL,
                             .all_topics = &shared->topics,
                             .all_retained = &shared->retained};
    struct router_limits limits =
        router_limits(settings, shared->workers, settings->deflate_window);
    enum ff_err err;

    *gateway = (struct gateway){.worker = worker,
                                .shared = shared,
                                .settings = settings,
                                .window_bits = settings->deflate_window,
                                .first_free = NO_SLOT};
    err = draw_entropy(gateway);
    if (err)
        return err;
    ff_list_init(&gateway->half_open);
    for (int i = 0; i < CARRIER_QUEUES; i++)
        ff_list_init(&gateway->deferred[i]);
    ff_buf_init(&gateway->scratch, SCRATCH_MAX);
    ff_buf_init(&gateway->unescape_buf, 0);
    err = router_init(&gateway->router, &env, &limits);
    if (err)
        return err;
    gateway->carrier = make_carrier(gateway);
    gateway->message = ff_mem_alloc(sizeof(*gateway->message));
    gateway->ranges = flush_ranges_new(settings->flush != FLUSH_SEND);
    if (!gateway->carrier || !gateway->message || !gateway->ranges) {
        gateway_deinit(gateway);
        return FF_ENOMEM;
    }
    gateway_configure(gateway, settings, NULL, 0);
    shared->gateways[worker->index] = gateway;
    net_serve(&worker->net, &session_conn_ops, gateway);
    worker_set_ops(worker, &ops, gateway);
    wheel_timer_init(&gateway->compaction, on_compaction);
    wheel_timer_init(&gateway->second, on_second);
    wheel_set(&worker->net.wheel, &gateway->second, 1000);
    return FF_OK;
}

void gateway_deinit(struct gateway *gateway)
{
    FF_CHECK(gateway->session_count == 0);
    wheel_stop(&gateway->worker->net.wheel, &gateway->second);
    wheel_stop(&gateway->worker->net.wheel, &gateway->compaction);
    carrier_free(gateway->carrier);
    router_deinit(&gateway->router);
    ff_buf_deinit(&gateway->scratch);
    ff_buf_deinit(&gateway->unescape_buf);
    ff_mem_free(gateway->message);
    ff_mem_free(gateway->ranges);
    traces_free(gateway);
    ff_mem_free(gateway->slots);
}

void gateway_configure(struct gateway *gateway, const struct settings *settings,
                       const struct topic_rule *rules, uint32_t rule_count)
{
    struct router_limits limits =
        router_limits(settings, gateway->shared->workers, gateway->window_bits);

    gateway->settings = settings;
    gateway->worker->net.budget.max = settings->max_memory;
    ff_budget_look(&gateway->worker->net.budget);
    if (gateway->unescape_buf.max <
        (size_t)settings->max_message * 6 + 64) /* never less: see router */
        gateway->unescape_buf.max = (size_t)settings->max_message * 6 + 64;
    router_configure(&gateway->router, &limits, rules, rule_count);
}

/* A quarter more places; those that are there do not move in number, only in memory. */
static bool grow_slots(struct gateway *gateway)
{
    uint32_t count = gateway->slot_count + gateway->slot_count / 4 + MIN_SLOTS;
    union session_slot *slots;

    slots = ff_mem_realloc(gateway->slots, count * sizeof(*slots));
    if (!slots)
        return false;
    gateway->slots = slots;
    for (uint32_t i = count; i-- > gateway->slot_count;)
        push_slot(gateway, i);
    gateway->slot_count = count;
    return true;
}

bool gateway_admit(struct gateway *gateway, struct session *session)
{
    union session_slot *slot;
    uint32_t i;

    if (gateway->first_free == NO_SLOT && !grow_slots(gateway))
        return false;
    i = gateway->first_free;
    slot = &gateway->slots[i];
    gateway->first_free = (uint32_t)(slot->free / SLOT_STEP);
    slot->session = session;
    session->place = i;
    session->tag = ++gateway->newcomers << TAG_WORKER_BITS | gateway->worker->index; /* never 0 */
    gateway->session_count++;
    atomic_fetch_add_explicit(&gateway->shared->sessions, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&gateway->worker->load, 1, memory_order_relaxed);
    return true;
}

struct session *gateway_at(const struct gateway *gateway, uint32_t i)
{
    const union session_slot *slot = &gateway->slots[i];

    return slot->free & SLOT_IS_FREE ? NULL : slot->session;
}

struct session *gateway_find(const struct gateway *gateway, struct ticket ticket)
{
    uint32_t i = ticket.session_place; /* there may be fewer places now */
    struct session *session = i < gateway->slot_count ? gateway_at(gateway, i) : NULL;

    return session && session->tag == ticket.session_tag ? session : NULL;
}

void gateway_each(struct gateway *gateway, void (*visit)(void *arg, struct session *session),
                  void *arg)
{
    for (uint32_t i = 0; i < gateway->slot_count; i++)
        if (gateway_at(gateway, i))
            visit(arg, gateway_at(gateway, i));
}

void gateway_leave_half_open(struct gateway *gateway, struct session *session)
{
    if (!ff_list_is_in(&session->conn.group))
        return;
    ff_list_remove(&session->conn.group);
    gateway->half_open_count--;
    gateway->head_octets -= session->http.scanned;
}

void gateway_forget(struct gateway *gateway, struct session *session)
{
    gateway_leave_half_open(gateway, session);
    shared_release_address(gateway->shared, session->address);
    session->address = NULL;
    push_slot(gateway, session->place);
    gateway->session_count--;
    atomic_fetch_sub_explicit(&gateway->shared->sessions, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&gateway->worker->load, 1, memory_order_relaxed);
}

/* The oldest half-open session that may be dropped for another; NULL while all are young. */
static struct session *find_droppable(const struct gateway *gateway, bool in_tls_handshake)
{
    const struct net *net = &gateway->worker->net;

    for (struct ff_list *node = gateway->half_open.next; node != &gateway->half_open;
         node = node->next) {
        struct session *session = FF_CONTAINER(node, struct session, conn.group);

        if (in_tls_handshake && !session->conn.is_in_handshake)
            continue;
        return net_tick(net) - session->http.accepted_at < HALF_OPEN_MIN_TICKS ? NULL : session;
    }
    return NULL;
}

/* May one more handshake begin, if need be in the place of another? */
static bool has_place(const struct gateway *gateway, bool is_tls)
{
    if (is_tls && is_crowded(gateway, true) && !find_droppable(gateway, true))
        return false;
    return !is_crowded(gateway, false) || find_droppable(gateway, false);
}

/* Of all workers, with those on their way to another one and those that only close. */
static uint32_t count_connections(const struct shared *shared)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < shared->workers; i++)
        count += load_of(shared->gateways[i]) +
                 atomic_load_explicit(&shared->figures[i].closing, memory_order_relaxed);
    return count;
}

/* Asked before each accept, also when nobody waits: so nothing is dropped here. */
static bool can_accept(void *arg, const struct listener *listener)
{
    const struct gateway *gateway = arg;

    return count_connections(gateway->shared) <
               gateway->settings->max_connections + SPARE_CONNECTIONS &&
           !ff_reserve_is_low() && has_place(gateway, listener->is_tls);
}

/* Begins a conversation; a crowd's oldest make room for it. */
static void admit_socket(struct gateway *gateway, const struct newcomer *newcomer)
{
    for (int in_tls = 0; in_tls <= newcomer->is_tls; in_tls++) {
        struct session *oldest =
            is_crowded(gateway, in_tls) ? find_droppable(gateway, in_tls) : NULL;

        if (oldest)
            conn_abort(&oldest->conn);
    }
    session_accept(gateway, newcomer);
}

/* An accepted socket on its way to another worker. */
struct handover {
    struct mail mail;
    struct gateway *to;
    struct newcomer newcomer;
};

static void open_handover(struct mail *mail)
{
    struct handover *handover = FF_CONTAINER(mail, struct handover, mail);

    if (has_place(handover->to, handover->newcomer.is_tls))
        admit_socket(handover->to, &handover->newcomer);
    else /* it has got crowded meanwhile */
        socket_reset(handover->newcomer.fd);
    atomic_fetch_sub_explicit(&handover->to->worker->load, 1, memory_order_relaxed);
    ff_mem_free(handover);
}

/* The worker with the fewest connections, if it has clearly fewer than this one; else this one. */
static struct gateway *find_least(struct gateway *gateway)
{
    struct gateway *least = gateway;

    for (uint32_t i = 0; i < gateway->shared->workers; i++) {
        struct gateway *other = gateway->shared->gateways[i];

        if (load_of(other) < load_of(least) &&
            !atomic_load_explicit(&gateway->shared->figures[i].is_crowded, memory_order_relaxed))
            least = other;
    }
    return load_of(gateway) > load_of(least) + load_of(least) / 16 ? least : gateway;
}

/* Nothing was read of it, but for a PROXY head: it may still go to whoever has the least to do. */
static void accepted(void *arg, const struct newcomer *newcomer)
{
    struct gateway *gateway = arg;
    struct gateway *least = find_least(gateway);
    struct handover *handover = least != gateway ? ff_mem_alloc(sizeof(*handover)) : NULL;

    if (!handover) {
        admit_socket(gateway, newcomer);
        return;
    }
    *handover = (struct handover){.to = least, .newcomer = *newcomer};
    mail_init(&handover->mail, open_handover);
    atomic_fetch_add_explicit(&least->worker->load, 1, memory_order_relaxed);
    mailbox_post(&least->worker->mailbox, &handover->mail);
}

static bool is_proxy(void *arg, const struct address *peer)
{
    const struct settings *settings = ((const struct gateway *)arg)->settings;

    return address_is_listed(peer, settings->proxies.at, settings->proxies.count);
}

const struct listener_ops gateway_listener_ops = {
    .can_accept = can_accept, .accepted = accepted, .is_proxy = is_proxy};

void gateway_enter_half_open(struct gateway *gateway, struct session *session)
{
    ff_list_append(&gateway->half_open, &session->conn.group);
    gateway->half_open_count++;
}
