/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request and its session find each other without a pointer in every
 * session: `conn.group`, which a session does not use once its handshake is
 * over, is the only node in a list of the request's.
 */
#include "broker/session/deferred.h"

#include <limits.h>

#include "broker/net/turn.h"
#include "protocol/base/mem.h"

struct deferred_request {
    struct ff_list node;       /* in a queue of the gateway, while its next message has no room */
    struct ff_list session;    /* conn.group of its session, alone */
    struct ff_decoder decoder; /* typed: reads `bytes` */
    enum ff_opcode opcode;     /* plain */
    bool is_subscription;
    size_t len;
    char bytes[];
};

enum progress {
    PROGRESS_ALL,     /* nothing is left, or the session ended */
    PROGRESS_SOME,    /* as many messages as were wanted */
    PROGRESS_PAUSED,  /* what is left waits until answers have gone out */
    PROGRESS_NO_ROOM, /* the carrier has no room for the next message: carrier->full */
};

static struct session *session_of_request(struct deferred_request *request)
{
    return FF_CONTAINER(request->session.next, struct session, conn.group);
}

/* Takes the request off its session, which keeps nothing then. NULL: it did not before. */
static struct deferred_request *take(struct session *session)
{
    struct ff_list *group = &session->conn.group;
    struct deferred_request *request;

    if (!session->conn.is_kept)
        return NULL;
    request = FF_CONTAINER(group->next, struct deferred_request, session);
    ff_list_remove(group);
    session->conn.is_kept = false;
    return request;
}

static void hold(struct session *session, struct deferred_request *request)
{
    ff_list_append(&request->session, &session->conn.group);
    session->conn.is_kept = true;
}

/* The request waits for room, behind all others. */
static void enqueue(struct session *session, struct deferred_request *request)
{
    struct gateway *gateway = gateway_of(session);

    ff_list_append(&gateway->deferred[gateway->carrier->full], &request->node);
    conn_pause(&session->conn, PAUSE_DEFERRED);
}

/* Has the session more answers to take, or to get, than it may go on with? */
static bool must_pause(struct session *session)
{
    struct conn *conn = &session->conn;

    if (conn->pauses & PAUSE_OUTBOX)
        conn_flush(conn);
    return session_is_open(session) && conn->pauses & (PAUSE_OUTBOX | PAUSE_ANSWERS);
}

static uint64_t rewritten(struct session *session)
{
    return gateway_of(session)->router.rewritten;
}

/*
 * A list costs its turn what a large message does, and so does a past that was written again
 * since `before`. False: what is left of the frame comes later.
 */
static bool may_go_on(struct session *session, const struct ff_message *message, uint64_t before,
                      const struct ff_decoder *decoder)
{
    bool is_list = message->type == FF_TYPE_HISTORY || message->type == FF_TYPE_PRESENCE;
    size_t costs = (is_list ? TURN_LIST_OCTETS : 0) + (size_t)(rewritten(session) - before);

    if (costs == 0 || input_spend(&session->conn.net->input, costs) || decoder->left == 0 ||
        !conn_is_open(&session->conn))
        return true;
    input_yield(&session->conn);
    return false;
}

static enum progress handle_some(struct session *session, struct ff_decoder *decoder, unsigned most)
{
    struct ff_message *message = gateway_of(session)->message;

    while (most-- > 0) {
        struct ff_decoder before = *decoder;
        uint64_t rewritten_before = rewritten(session);

        if (decoder->left > 0 && must_pause(session))
            return PROGRESS_PAUSED;
        if (!session_is_open(session) || !ff_decode_next(decoder, message))
            return PROGRESS_ALL;
        switch (session_handle(session, message)) {
        case REQUEST_DONE:
            if (!may_go_on(session, message, rewritten_before, decoder))
                return PROGRESS_PAUSED;
            break;
        case REQUEST_DEFERRED:
            *decoder = before;
            return PROGRESS_NO_ROOM;
        case REQUEST_PAUSED:
            *decoder = before;
            return PROGRESS_PAUSED;
        }
    }
    return PROGRESS_SOME;
}

static enum progress handle_plain(struct session *session, enum ff_opcode opcode,
                                  struct ff_slice bytes)
{
    uint64_t before = rewritten(session);
    enum request_outcome outcome =
        bytes.at ? plain_message(session, opcode, bytes) : session_subscribe_plain(session);

    if (rewritten(session) != before)
        (void)input_spend(&session->conn.net->input, (size_t)(rewritten(session) - before));
    return outcome == REQUEST_DEFERRED ? PROGRESS_NO_ROOM
           : outcome == REQUEST_PAUSED ? PROGRESS_PAUSED
                                       : PROGRESS_ALL;
}

/* NULL: out of memory, and the session ends of it. */
static struct deferred_request *make(struct session *session, struct ff_slice bytes)
{
    struct deferred_request *request = ff_mem_alloc(sizeof(*request) + bytes.len);

    if (!request) {
        session_close(session, FF_CLOSE_INTERNAL, "out of memory");
        return NULL;
    }
    *request = (struct deferred_request){.len = bytes.len};
    ff_list_init(&request->session);
    if (bytes.len)
        memcpy(request->bytes, bytes.at, bytes.len);
    return request;
}

void deferred_handle(struct session *session, struct ff_decoder *decoder)
{
    enum progress progress = handle_some(session, decoder, UINT_MAX);
    struct deferred_request *request =
        progress != PROGRESS_ALL ? make(session, decoder->rest) : NULL;

    if (!request)
        return;
    request->decoder = *decoder;
    request->decoder.rest.at = request->bytes;
    hold(session, request);
    if (progress == PROGRESS_NO_ROOM)
        enqueue(session, request);
}

void deferred_handle_plain(struct session *session, enum ff_opcode opcode, struct ff_slice bytes)
{
    enum progress progress = handle_plain(session, opcode, bytes);
    struct deferred_request *request = progress != PROGRESS_ALL ? make(session, bytes) : NULL;

    if (!request)
        return;
    request->opcode = opcode;
    request->is_subscription = !bytes.at;
    hold(session, request);
    if (progress == PROGRESS_NO_ROOM)
        enqueue(session, request);
}

static enum progress go_on(struct session *session, struct deferred_request *request, unsigned most)
{
    struct ff_slice bytes = {request->is_subscription ? NULL : request->bytes, request->len};

    return session->mode == SESSION_TYPED ? handle_some(session, &request->decoder, most)
                                          : handle_plain(session, request->opcode, bytes);
}

/* Whatever was made of it, the request goes back to its session, or is freed. */
static bool put_back(struct session *session, struct deferred_request *request,
                     enum progress progress)
{
    if (progress == PROGRESS_ALL || !session_is_open(session)) {
        ff_mem_free(request);
        return false;
    }
    hold(session, request);
    return true;
}

bool deferred_go_on(struct session *session)
{
    struct deferred_request *request = take(session);
    enum progress progress = go_on(session, request, UINT_MAX);

    if (!put_back(session, request, progress))
        return true;
    if (progress == PROGRESS_NO_ROOM)
        enqueue(session, request);
    return false;
}

void deferred_retry(struct gateway *gateway, uint32_t queue)
{
    struct ff_list *node;

    while ((node = ff_list_pop(&gateway->deferred[queue]))) {
        struct deferred_request *request = FF_CONTAINER(node, struct deferred_request, node);
        struct session *session = session_of_request(request);
        enum progress progress;

        (void)take(session); /* if it ends now, the request is freed here */
        progress = go_on(session, request, 1);
        if (put_back(session, request, progress) && progress == PROGRESS_NO_ROOM) {
            ff_list_prepend(&gateway->deferred[queue], node); /* the same request: the same queue */
            return;
        }
        conn_resume(&session->conn, PAUSE_DEFERRED);
    }
}

void deferred_drop(struct session *session)
{
    struct deferred_request *request = take(session);

    if (!request)
        return;
    ff_list_remove(&request->node);
    ff_mem_free(request);
}
