/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - one client's conversation.
 *
 * A session is born with its connection, in HTTP; an upgrade makes it typed (in
 * JSON or MessagePack), plain, or an echo. This file is the trunk: state, what
 * comes in, what goes out. What a message means is in one file for each family:
 * subscribe.c, publish.c, hello.c, plain.c, echo.c; the handshake is in
 * upgrade.c, what is delivered from logs in delivery.c, clocks in heartbeat.c.
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include "broker/net/conn.h"
#include "broker/session/gateway.h"
#include "broker/session/subscriptions.h"
#include "broker/session/wire.h"
#include "protocol/message/encode.h"
#include "protocol/websocket/reader.h"
#include "protocol/websocket/terms.h"

enum session_mode { SESSION_HTTP, SESSION_TYPED, SESSION_PLAIN, SESSION_ECHO };

/* What a session's `name` is. */
enum session_name {
    NAME_NONE,
    NAME_TOPIC,        /* the plain topic, a text: it is not subscribed to it, */
    NAME_TOPIC_SINCE,  /* and asked for the past of it: query_since() */
    NAME_SUBSCRIPTION, /* of the plain topic, where its name stands */
    NAME_USER,         /* typed: as members are told */
};

enum {
    CLOSE_AFTER_ERRORS = 10,  /* malformed messages in a minute */
    HEARTBEAT_LOST_MS = 2500, /* for each second of the interval */
    REASON_MAX = 256,
};

/* Why a newcomer is closed with 1013 right after its handshake. */
enum refusal { REFUSED_NOT, REFUSED_ADDRESS, REFUSED_CONNECTIONS, REFUSED_MEMORY };

/*
 * What became of a request. DEFERRED: its topic's owner has no room for it now; nothing was done,
 * and the same request may be made again (deferred.h).
 */
enum request_outcome {
    REQUEST_DONE,
    REQUEST_DEFERRED,
    REQUEST_PAUSED, /* nor was this one: it waits until answers that are awaited have come */
};

struct bucket;

struct session {
    struct conn conn;
    struct ff_reader reader;
    struct subscriptions subscriptions;
    struct ff_list pending;        /* those that have something to send */
    struct bucket *bucket;         /* NULL: no rate limit */
    struct address_count *address; /* NULL: not counted */
    union {                        /* `name_kind` says which */
        struct subscription *subscription;
        char *topic;
        char *user; /* behind its length */
    } name;
    uint64_t tag;        /* gateway.h */
    uint32_t place;      /* among its gateway's */
    uint32_t awaited;    /* octets set aside for answers that are to come: answers.h */
    uint32_t errors_at;  /* tick of the first malformed message of this minute */
    uint32_t control_at; /* tick of the first control frame of this second */
    union {              /* `mode` says which */
        struct {
            uint32_t accepted_at; /* tick */
            uint32_t scanned;     /* octets of the head already looked at */
        } http;
        struct {
            uint32_t pinged_at;   /* tick of the last PING */
            uint16_t answered_at; /* plain mode: a HEARTBEAT of the client, by 16 bits of a tick, */
            uint16_t beat_at;     /* and our own last one: they come again after 655 s */
        } talk;
    };
    uint16_t controls;
    uint16_t heartbeat_s;
    uint8_t errors;
    enum session_mode mode : 2;
    enum ff_encoding encoding : 2; /* in which it is answered, */
    enum log_kind kind : 4;        /* and what its subscriptions read */
    enum refusal refusal : 3;
    unsigned window_bits : 4; /* of what it may be sent compressed; 0: nothing */
    enum session_name name_kind : 3;
    bool is_named : 1;       /* whose it is was said by a proxy before all else, */
    bool is_of_proxy : 1;    /* and that is a proxy again, which names its client in HTTP */
    bool is_head : 1;        /* in HTTP: it asked by HEAD */
    bool is_parting : 1;     /* the close frame waits for answers: parting.h */
    bool has_answered : 1;   /* plain mode: talk.answered_at holds */
    bool has_subscribed : 1; /* its user is who it is */
};

/* With the heap's own head it fills 336 octets, and there is one for every connection. */
_Static_assert(sizeof(struct session) <= 328, "a session is as small as it was");

static inline struct session *session_of(struct conn *conn)
{
    return FF_CONTAINER(conn, struct session, conn);
}

/* Its worker's: all sessions of one have it from the net, not from a pointer each. */
static inline struct gateway *gateway_of(const struct session *session)
{
    return session->conn.net->owner;
}

/* Are its requests taken, and is it sent messages? Not when it is parting. */
static inline bool session_is_open(const struct session *session)
{
    return conn_is_open(&session->conn) && !session->is_parting;
}

extern const struct conn_ops session_conn_ops;

/* An accepted socket. Closed at once when there is no memory for it. */
void session_accept(struct gateway *gateway, const struct newcomer *newcomer);

/* The handshake is done: what follows are frames. */
void session_open(struct session *session, enum session_mode mode, enum log_kind kind,
                  const struct ff_deflate_terms *terms);

/* Does it keep a copy of its plain topic's name? */
static inline bool session_has_topic_text(const struct session *session)
{
    return session->name_kind == NAME_TOPIC || session->name_kind == NAME_TOPIC_SINCE;
}

/* A plain client that is sent no envelopes: what went wrong can only be told by a close frame. */
static inline bool session_is_raw(const struct session *session)
{
    return session->mode == SESSION_PLAIN && session->kind == KIND_RAW;
}

/*
 * Ends the conversation with a close frame, behind the answers that are awaited
 * (parting.h); in HTTP without one.
 */
__attribute__((format(printf, 3, 4))) void session_close(struct session *session, int code,
                                                         const char *format, ...);

/* 1013: what this session needs there is no memory for. */
void session_close_for_memory(struct session *session);

/* answers.c: begins a message to this client; session_end_message() sends it. */
struct ff_writer session_begin_message(struct session *session, enum ff_type type);
void session_end_message(struct session *session, struct ff_writer *w);

/* The same for one that may be larger than an outbox: CONN_LARGE_MOST, one at a time. */
void session_end_large_message(struct session *session, struct ff_writer *w);

/* Sends a finished frame; what cannot be owed any more ends the session. */
void session_send(struct session *session, const void *frame, size_t len);

/* The same where something could not even be written: FF_ENOMEM, FF_ELIMIT. It ends at once. */
void session_fail_send(struct session *session, enum ff_err err);

/*
 * Octets that the broker still holds for this connection. Backlogs of topics are added up once a
 * turn, however many HEARTBEATs ask for them.
 */
uint64_t session_buffered(const struct session *session);

/* Is all memory used that may be? Then nothing new is taken in: it is logged, and refused by name.
 */
bool session_is_memory_short(const struct session *session);

/* How it talks, once it is no longer in HTTP. */
static inline const struct wire *session_wire(const struct session *session)
{
    (void)session; /* one wire as yet: which one follows from the session's mode */
    return &wire_websocket;
}

/* For wires: a whole message came. */
void session_take_message(struct session *session, enum ff_opcode opcode, struct ff_slice bytes);

/* What people without PINGs keep connections alive by: nothing, white space, or the text `ping`. */
bool session_is_keepalive(struct ff_slice text);

/* One decoded message. */
FF_MUST_CHECK enum request_outcome session_handle(struct session *session,
                                                  const struct ff_message *m);

/* Public, unlike any other session's, not secret: what clients call a session by. */
uint64_t session_id(const struct session *session);

/* For an answer that may come later: without an id, and with a request's. */
static inline struct ticket session_ticket(const struct session *session)
{
    return (struct ticket){.session_tag = session->tag, .session_place = session->place};
}
struct ticket session_ticket_of(const struct session *session, const struct ff_message *m);

__attribute__((format(printf, 4, 5))) void session_error(struct session *session,
                                                         struct ticket ticket, enum ff_error code,
                                                         const char *format, ...);

/*
 * A malformed message: ERROR 400, and at the tenth in a minute, of a client that got nothing
 * right meanwhile, close 1008. `fault_at`: an octet of its frame, or FF_NOWHERE.
 */
void session_malformed(struct session *session, struct ticket ticket, const char *reason,
                       size_t fault_at);

/* One file for each family of commands. */
FF_MUST_CHECK enum request_outcome session_subscribe(struct session *session,
                                                     const struct ff_message *m);
FF_MUST_CHECK enum request_outcome session_unsubscribe(struct session *session,
                                                       const struct ff_message *m);
FF_MUST_CHECK enum request_outcome session_publish(struct session *session,
                                                   const struct ff_message *m);

/* presence.c: the request PRESENCE, and the user by which members know the session. */
FF_MUST_CHECK enum request_outcome session_presence(struct session *session,
                                                    const struct ff_message *m);
struct ff_slice session_user(const struct session *session);
/* A HELLO named one. False: it may not, or cannot, and the error is sent. */
FF_MUST_CHECK bool session_set_user(struct session *session, struct ticket ticket,
                                    struct ff_slice user);
/* Whether `name` may have members; if not, the error that says so is sent. */
FF_MUST_CHECK bool session_has_presence(struct session *session, struct ticket ticket,
                                        struct ff_slice name);
/* What a list of members for this session is to be like; its answer has so many octets. */
struct engine_listing session_listing(const struct session *session);
uint32_t session_list_octets(const struct session *session, struct ticket ticket,
                             struct ff_slice name);
void session_on_members(struct session *session, struct ticket ticket, struct ff_slice name,
                        const struct engine_roll *roll);
/* recall.c: the request HISTORY; lists that a carrier brings, of messages and of members. */
FF_MUST_CHECK enum request_outcome session_recall(struct session *session,
                                                  const struct ff_message *m);
void session_on_listed(void *arg, struct ticket ticket, struct ff_slice name,
                       const struct engine_roll *roll);
void session_write_members(struct ff_writer *w, struct ff_slice members, uint32_t count);

/* What a client may publish is asked of the carrier, as its own, else an error is sent. */
FF_MUST_CHECK enum request_outcome
session_ask_publish(struct session *session, struct ticket ticket, const struct publication *asked);

/* The ERROR for what a carrier answers to a subscription. */
void session_refuse_subscription(struct session *session, struct ticket ticket, enum ff_err err);
void session_hello(struct session *session, const struct ff_message *m);
void session_heartbeat(struct session *session, const struct ff_message *m);
void session_welcome(struct session *session, struct ticket ticket);

/* subscribe.c: to a plain client's own topic, by the broker itself; it may close the session. */
FF_MUST_CHECK enum request_outcome session_subscribe_plain(struct session *session);
struct ff_slice session_plain_topic(const struct session *session);

/* The session is over: its subscriptions end at once, their memory is freed later. */
void session_leave_all(struct session *session);
void session_free_all(struct session *session);

/* The subscription to a topic or filter, or NULL. */
struct subscription *session_find(const struct session *session, struct ff_slice name);

/* Answers of the carrier, by a ticket; `arg` is the gateway. */
void session_on_published(void *arg, struct ticket ticket, const struct engine_receipt *receipt,
                          uint32_t count);
extern const struct carrier_events session_carrier_events;

/* upgrade.c */
size_t upgrade_input(struct session *session, const uint8_t *bytes, size_t len);
/* No complete request came within handshake_seconds: 408. */
void upgrade_late(struct session *session);

/* plain.c, echo.c */
/* The last answer to a HEARTBEAT is so long ago that it does not matter any more? */
void plain_forget_answer(struct session *session, uint32_t now);
FF_MUST_CHECK enum request_outcome plain_message(struct session *session, enum ff_opcode opcode,
                                                 struct ff_slice bytes);
void echo_message(struct session *session, enum ff_opcode opcode, struct ff_slice bytes);

/* heartbeat.c */
void heartbeat_start(struct session *session);
void heartbeat_timer(struct session *session);

/* delivery.c */
void delivery_collect(struct conn *conn, struct plan *plan);
void delivery_taken(struct conn *conn, const struct plan *plan, size_t len);
void delivery_blocked(struct conn *conn);
/* Sends a GAP: so many messages were passed over by the subscription's rate. */
void delivery_tell_skipped(struct session *session, struct subscription *s, uint64_t count);
extern const struct router_ops delivery_router_ops;
/* To be freed with ff_mem_free(). NULL: out of memory. */
FF_MUST_CHECK struct flush_ranges *flush_ranges_new(bool of_many_plans);

#endif
