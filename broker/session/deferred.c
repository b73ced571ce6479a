/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/deferred.h"

#include "protocol/base/mem.h"

enum { MAX_REFUSALS = 8 };

struct deferred_request {
    struct ff_list node;
    struct session *session;
    struct ff_decoder decoder; /* typed: reads `bytes` */
    enum ff_opcode opcode;     /* plain */
    bool is_subscription;
    size_t len;
    char bytes[];
};

/* NULL: out of memory, and the session ends of it. */
static struct deferred_request *keep(struct session *session, struct ff_slice bytes)
{
    struct deferred_request *request = ff_mem_alloc(sizeof(*request) + bytes.len);

    if (!request) {
        session_close(session, FF_CLOSE_INTERNAL, "out of memory");
        return NULL;
    }
    *request = (struct deferred_request){.session = session, .len = bytes.len};
    if (bytes.len)
        memcpy(request->bytes, bytes.at, bytes.len);
    ff_list_append(&gateway_of(session)->deferred, &request->node);
    conn_pause(&session->conn, PAUSE_DEFERRED);
    return request;
}

void deferred_keep(struct session *session, const struct ff_decoder *decoder)
{
    struct deferred_request *request = keep(session, decoder->rest);

    if (!request)
        return;
    request->decoder = *decoder;
    request->decoder.rest.at = request->bytes;
}

void deferred_keep_plain(struct session *session, enum ff_opcode opcode, struct ff_slice bytes)
{
    struct deferred_request *request = keep(session, bytes);

    if (!request)
        return;
    request->opcode = opcode;
    request->is_subscription = !bytes.at;
}

static enum request_outcome make_again(struct deferred_request *request)
{
    struct session *session = request->session;

    if (session->mode == SESSION_TYPED)
        return session_handle_all(session, &request->decoder);
    if (request->is_subscription)
        return session_subscribe_plain(session);
    return plain_message(session, request->opcode, (struct ff_slice){request->bytes, request->len});
}

/* In the list's order; some refusals tell that there is no more room, or not for most. */
void deferred_retry(struct gateway *gateway)
{
    struct ff_list *again[MAX_REFUSALS];
    struct ff_list *node;
    unsigned count = 0;

    while (count < MAX_REFUSALS && (node = ff_list_pop(&gateway->deferred))) {
        struct deferred_request *request = FF_CONTAINER(node, struct deferred_request, node);
        struct conn *conn = &request->session->conn;

        /* The request is in no list now: if its session ends, it is freed here. */
        if (make_again(request) == REQUEST_DEFERRED && conn_is_open(conn)) {
            again[count++] = node;
            continue;
        }
        ff_mem_free(request);
        if (conn_is_open(conn))
            conn_resume(conn, PAUSE_DEFERRED);
    }
    while (count > 0) /* they keep their places: first come, first served */
        ff_list_prepend(&gateway->deferred, again[--count]);
}

void deferred_drop(struct session *session)
{
    struct gateway *gateway = gateway_of(session);

    if (!(session->conn.pauses & PAUSE_DEFERRED))
        return;
    for (struct ff_list *node = gateway->deferred.next; node != &gateway->deferred;
         node = node->next) {
        struct deferred_request *request = FF_CONTAINER(node, struct deferred_request, node);

        if (request->session != session)
            continue;
        ff_list_remove(node);
        ff_mem_free(request);
        return;
    }
}
