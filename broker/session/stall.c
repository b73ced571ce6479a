/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/stall.h"

#include "protocol/base/mem.h"

enum { MAX_REFUSALS = 8 };

struct stalled {
    struct ff_list node;
    struct session *session;
    struct ff_decoder decoder; /* typed: reads `bytes` */
    enum ff_opcode opcode;     /* plain */
    bool is_subscription;
    size_t len;
    char bytes[];
};

bool stall_run(struct session *session, struct ff_decoder *decoder)
{
    struct gateway *gateway = gateway_of(session);

    for (;;) {
        struct ff_decoder before = *decoder;

        if (!conn_is_open(&session->conn) || !ff_decode_next(decoder, gateway->message))
            return true;
        gateway->is_refused = false;
        session_handle(session, gateway->message);
        if (gateway->is_refused) {
            *decoder = before;
            return false;
        }
        if (conn_owed(&session->conn) > OUTBOX_PAUSE) /* a batch may be owed more than the outbox */
            conn_flush(&session->conn);
    }
}

/* NULL: out of memory, and the session ends of it. */
static struct stalled *keep(struct session *session, struct ff_slice bytes)
{
    struct stalled *stalled = ff_mem_alloc(sizeof(*stalled) + bytes.len);

    if (!stalled) {
        session_close(session, FF_CLOSE_INTERNAL, "out of memory");
        return NULL;
    }
    *stalled = (struct stalled){.session = session, .len = bytes.len};
    if (bytes.len)
        memcpy(stalled->bytes, bytes.at, bytes.len);
    ff_list_append(&gateway_of(session)->stalled, &stalled->node);
    conn_pause(&session->conn, PAUSE_OWNER);
    return stalled;
}

void stall_keep(struct session *session, const struct ff_decoder *decoder)
{
    struct stalled *stalled = keep(session, decoder->rest);

    if (!stalled)
        return;
    stalled->decoder = *decoder;
    stalled->decoder.rest.at = stalled->bytes;
}

void stall_keep_plain(struct session *session, enum ff_opcode opcode, struct ff_slice bytes)
{
    struct stalled *stalled = keep(session, bytes);

    if (!stalled)
        return;
    stalled->opcode = opcode;
    stalled->is_subscription = !bytes.at;
}

/* True: nothing of it is left to do. */
static bool try_again(struct stalled *stalled)
{
    struct session *session = stalled->session;

    if (session->mode == SESSION_TYPED)
        return stall_run(session, &stalled->decoder);
    gateway_of(session)->is_refused = false;
    if (stalled->is_subscription)
        (void)session_subscribe_plain(session);
    else
        plain_message(session, stalled->opcode, (struct ff_slice){stalled->bytes, stalled->len});
    return !gateway_of(session)->is_refused;
}

/* In the list's order; some refusals tell that there is no more room, or not for most. */
void stall_resume(struct gateway *gateway)
{
    struct ff_list *refused[MAX_REFUSALS];
    struct ff_list *node;
    unsigned count = 0;

    while (count < MAX_REFUSALS && (node = ff_list_pop(&gateway->stalled))) {
        struct stalled *stalled = FF_CONTAINER(node, struct stalled, node);
        struct conn *conn = &stalled->session->conn;

        /* It is in no list now: if its session ends, it is freed here. */
        if (!try_again(stalled) && conn_is_open(conn)) {
            refused[count++] = node;
            continue;
        }
        ff_mem_free(stalled);
        if (conn_is_open(conn))
            conn_resume(conn, PAUSE_OWNER);
    }
    while (count > 0) /* they keep their places: first come, first served */
        ff_list_prepend(&gateway->stalled, refused[--count]);
}

void stall_drop(struct session *session)
{
    struct gateway *gateway = gateway_of(session);

    if (!(session->conn.pauses & PAUSE_OWNER))
        return;
    for (struct ff_list *node = gateway->stalled.next; node != &gateway->stalled;
         node = node->next) {
        struct stalled *stalled = FF_CONTAINER(node, struct stalled, node);

        if (stalled->session != session)
            continue;
        ff_list_remove(node);
        ff_mem_free(stalled);
        return;
    }
}
