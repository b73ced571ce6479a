/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gateway.h - what all sessions of a worker share, and who may come in.
 *
 * The gateway accepts connections, counts them (in all, of one address, half
 * open), knows every session by its place and its tag, and holds the memory
 * that a command works in. A place is taken again when its session is gone; a
 * tag never is, in any worker, because messages in a topic's log name their
 * publisher by it and may outlive him by days. An answer of the carrier finds
 * its session by both, or nobody.
 */
#ifndef SESSION_GATEWAY_H
#define SESSION_GATEWAY_H

#include "broker/carrier/carrier.h"
#include "broker/net/listener.h"
#include "broker/net/tls.h"
#include "broker/session/settings.h"
#include "broker/session/shared.h"
#include "broker/worker/worker.h"

struct session;
struct console;
struct traces;

/* A place for a session. */
union session_slot {
    struct session *session;
    uint64_t free; /* see gateway.c */
};

/* The lowest bits of a tag are the worker's index, above them its sessions are counted: 2^58. */
enum { TAG_WORKER_BITS = 6 };
_Static_assert(1 << TAG_WORKER_BITS >= WORKERS_MAX, "every worker has tags of its own");

/* How much was behind of the session that was asked about last, and when. */
struct known_backlog {
    uint64_t tag;
    uint64_t turn;
    uint64_t octets;
};

struct gateway {
    struct worker *worker;
    struct shared *shared;
    struct router router;
    struct carrier *carrier;
    const struct settings *settings;
    struct tls_context *tls; /* NULL: no TLS listener can be served */
    const struct console *console;
    struct traces *traces; /* trace.h; NULL: none yet */
    union session_slot *slots;
    uint64_t newcomers; /* sessions so far */
    uint64_t id_seed;   /* session_id() */
    uint32_t slot_count;
    uint32_t first_free;
    uint32_t session_count;
    uint32_t half_open_count;
    uint64_t head_octets;     /* of half heads that half-open sessions keep */
    uint32_t window_bits;     /* of what is sent compressed, as of the start: its readers know it */
    uint32_t lean_count;      /* sessions whose messages may lean on earlier ones: upgrade.c */
    struct ff_list half_open; /* sessions in their handshake, the oldest first */
    struct ff_list deferred[CARRIER_QUEUES]; /* requests that wait for room: deferred.h */
    struct ff_buf scratch;                   /* a message being written */
    struct ff_buf unescape_buf;              /* a payload being unescaped or quoted */
    struct ff_message *message;              /* a message being read */
    struct flush_ranges *ranges;
    struct known_backlog backlog;
    struct wheel_timer second;     /* $SYS */
    struct wheel_timer compaction; /* more topics are to be compacted */
    uint64_t last_published;       /* when $SYS last looked */
    bool is_counting[SYS_LISTS];   /* it did a second ago */
    uint64_t random_state[2];      /* gateway_random() */
};

/*
 * Takes up work in `worker` (its ops are set), one of those that the broker
 * counts. `settings` is borrowed until the next gateway_configure(). All
 * gateways are made before any worker runs. FF_OK, FF_ENOMEM, FF_ESYS (no entropy).
 */
FF_MUST_CHECK enum ff_err gateway_init(struct gateway *gateway, struct worker *worker,
                                       struct shared *shared, const struct settings *settings);

/* All sessions must be gone. */
void gateway_deinit(struct gateway *gateway);

void gateway_configure(struct gateway *gateway, const struct settings *settings,
                       const struct topic_rule *rules, uint32_t rule_count);

/* The listeners' part. */
extern const struct listener_ops gateway_listener_ops;

/* Who asked; NULL: it is gone. O(1). */
struct session *gateway_find(const struct gateway *gateway, struct ticket ticket);

/* The session in a place, `i` < slot_count; NULL: it is free. */
struct session *gateway_at(const struct gateway *gateway, uint32_t i);

/* Calls `visit` for every session; it may end the session. */
void gateway_each(struct gateway *gateway, void (*visit)(void *arg, struct session *session),
                  void *arg);

/* A new session gets its place and its tag. False: out of memory. */
FF_MUST_CHECK bool gateway_admit(struct gateway *gateway, struct session *session);

/* Its connection stands: it is half open until its handshake is over. */
void gateway_enter_half_open(struct gateway *gateway, struct session *session);

/* A session's handshake is over, one way or the other. */
void gateway_leave_half_open(struct gateway *gateway, struct session *session);

/* A session is over: its place and its address are given back. */
void gateway_forget(struct gateway *gateway, struct session *session);

/* 64 random bits. */
uint64_t gateway_random(struct gateway *gateway);

#endif
