/* SPDX-License-Identifier: Apache-2.0 */
/* The diagnostic echo endpoint: messages come back raw, through the same code as all others. */
#include "broker/session/session.h"

void echo_message(struct session *session, enum ff_opcode opcode, struct ff_slice bytes)
{
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t head_len = ff_frame_write_head(head, opcode, bytes.len);

    if (!ff_budget_has_room(&session->conn.net->budget, bytes.len))
        session_close_for_memory(session);
    /* One message may wait outside the outbox's limit; reading stops while it does. */
    else if (conn_send_over(&session->conn, head, head_len, bytes.at, bytes.len))
        session_close(session, FF_CLOSE_INTERNAL, "out of memory");
}
