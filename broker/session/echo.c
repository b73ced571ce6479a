/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The diagnostic echo endpoint: messages come back raw, through the same code as all others,
 * and compressed for each connection where that was agreed upon and makes them smaller.
 */
#include "broker/session/session.h"
#include "protocol/base/mem.h"
#include "protocol/websocket/deflater.h"

static void answer(struct session *session, enum ff_opcode opcode, unsigned bits,
                   struct ff_slice bytes)
{
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t head_len = ff_frame_write_head(head, opcode, bytes.len);

    head[0] |= (uint8_t)bits;
    /* One message may wait outside the outbox's limit; reading stops while it does. */
    if (conn_send_over(&session->conn, head, head_len, bytes.at, bytes.len))
        session_close(session, FF_CLOSE_INTERNAL, "out of memory");
}

/*
 * Its size in `out`; 0: it is to be sent as it is. The window is this connection's own, so
 * the deflater is, too; it is made for a message, because who diagnoses is in no hurry.
 */
static size_t compress(const struct session *session, struct ff_slice bytes, uint8_t *out)
{
    int level = (int)gateway_of(session)->settings->deflate_level;
    struct ff_deflater *deflater = ff_deflater_new(session->window_bits, level);
    size_t size = 0;

    if (deflater)
        size = ff_deflater_run(deflater, out, bytes.len, (const uint8_t *)bytes.at, bytes.len);
    ff_deflater_free(deflater);
    return size;
}

void echo_message(struct session *session, enum ff_opcode opcode, struct ff_slice bytes)
{
    uint8_t *out = NULL;
    size_t size = 0;

    if (!ff_budget_has_room(&session->conn.net->budget, bytes.len)) {
        session_close_for_memory(session);
        return;
    }
    if (session->window_bits >= FF_DEFLATER_BITS_LEAST && bytes.len)
        out = ff_mem_alloc(bytes.len);
    if (out)
        size = compress(session, bytes, out);
    if (size)
        answer(session, opcode, FF_FRAME_RSV1, (struct ff_slice){(const char *)out, size});
    else
        answer(session, opcode, 0, bytes);
    ff_mem_free(out);
}
