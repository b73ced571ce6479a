/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket/reader.h"

#include <string.h>

#include "protocol/base/bytes.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#define MAX_EMPTY_FRAGMENTS 64

enum { FIRST_CAPACITY = 256 };

static bool is_control(uint8_t opcode)
{
    return opcode >= FF_OP_CLOSE;
}

void ff_reader_init(struct ff_reader *r, enum ff_role role, uint32_t max_message)
{
    *r = (struct ff_reader){.is_masked = role == FF_ROLE_SERVER, .max_message = max_message};
}

void ff_reader_deinit(struct ff_reader *r)
{
    ff_mem_free(r->message);
    r->message = NULL;
    ff_mem_free(r->control);
    r->control = NULL;
}

void ff_reader_release(struct ff_reader *r)
{
    if (r->message_opcode == 0) {
        ff_mem_free(r->message);
        r->message = NULL;
        r->message_cap = 0;
        r->message_len = 0;
    }
    if (!r->in_frame || !is_control(r->opcode)) {
        ff_mem_free(r->control);
        r->control = NULL;
    }
}

static void fail(struct ff_reader *r, struct ff_reader_event *event, int code, const char *reason)
{
    r->is_failed = true;
    *event = (struct ff_reader_event){.kind = FF_READER_FAIL, .code = code, .reason = reason};
}

/* What is wrong with a frame's head by itself and in its place, or NULL. */
static const char *validate_head(const struct ff_reader *r, const struct ff_frame_head *head)
{
    if (head->rsv)
        return "reserved bits are set but no extension was negotiated";
    if (head->masked != r->is_masked)
        return r->is_masked ? "a client's frame must be masked" : "a server's frame is masked";
    if (is_control(head->opcode)) {
        if (head->opcode > FF_OP_PONG)
            return "reserved opcode";
        if (!head->fin)
            return "a control frame must not be fragmented";
        return head->len > FF_CONTROL_MAX ? "a control frame is over 125 octets" : NULL;
    }
    if (head->opcode > FF_OP_BINARY)
        return "reserved opcode";
    if (head->opcode == FF_OP_CONTINUATION)
        return r->message_opcode ? NULL : "a continuation without a message to continue";
    return r->message_opcode ? "a new message before the last one was finished" : NULL;
}

/* Enters the frame whose head was read; false when it failed. */
static bool enter_frame(struct ff_reader *r, const struct ff_frame_head *head,
                        struct ff_reader_event *event)
{
    const char *wrong = validate_head(r, head);

    if (wrong) {
        fail(r, event, FF_CLOSE_PROTOCOL, wrong);
        return false;
    }
    r->opcode = head->opcode;
    r->fin = head->fin;
    r->done = 0;
    r->in_frame = true;
    r->head_len = 0;
    memcpy(r->mask, head->mask, sizeof(r->mask));
    r->left = (uint32_t)head->len; /* within limits, or it fails below */
    if (is_control(head->opcode))
        return true;
    if (head->opcode != FF_OP_CONTINUATION) {
        r->message_opcode = head->opcode;
        r->utf8 = (struct ff_utf8){0};
        r->empty_fragments = 0;
    }
    if (head->len > r->max_message - r->message_len) {
        fail(r, event, FF_CLOSE_TOO_BIG, "message is over max_message");
        return false;
    }
    if (head->len == 0 && !head->fin && ++r->empty_fragments > MAX_EMPTY_FRAGMENTS) {
        fail(r, event, FF_CLOSE_POLICY,
             "more than " FF_DIGITS(MAX_EMPTY_FRAGMENTS) " empty fragments in a message");
        return false;
    }
    return true;
}

/*
 * Reads a head that may have come in pieces. Returns the octets taken from
 * `bytes`; `in_frame` tells whether the head is complete.
 */
static size_t read_head(struct ff_reader *r, const uint8_t *bytes, size_t len,
                        struct ff_reader_event *event)
{
    struct ff_frame_head head = {0};
    uint8_t joined[FF_FRAME_HEAD_MAX];
    const uint8_t *from = bytes;
    size_t before = r->head_len;
    size_t have = len;
    int took;

    if (before) {
        have = sizeof(joined) - before < len ? sizeof(joined) : before + len;
        memcpy(joined, r->head, before);
        memcpy(joined + before, bytes, have - before);
        from = joined;
    }
    took = ff_frame_parse_head(&head, from, have);
    if (took < 0) {
        fail(r, event, FF_CLOSE_PROTOCOL, "a length is not in its shortest form");
        return 0;
    }
    if (took == 0) { /* fewer than 14 octets, or it would be complete */
        memcpy(r->head + before, bytes, len);
        r->head_len = (uint8_t)(before + len);
        /* The first two octets tell enough to refuse a bad frame at once. */
        if (r->head_len >= 2) {
            const char *wrong;

            (void)ff_frame_parse_head(&head, r->head, r->head_len);
            wrong = validate_head(r, &head);
            if (wrong)
                fail(r, event, FF_CLOSE_PROTOCOL, wrong);
        }
        return len;
    }
    (void)enter_frame(r, &head, event);
    return (size_t)took - before;
}

static bool check_text(struct ff_reader *r, const uint8_t *bytes, size_t len, bool is_end)
{
    if (r->message_opcode != FF_OP_TEXT)
        return true;
    return ff_utf8_feed(&r->utf8, bytes, len) && (!is_end || ff_utf8_is_whole(&r->utf8));
}

/* Behind what is assembled; grows with what came, twofold, up to the maximum. */
static bool assemble(struct ff_reader *r, const uint8_t *bytes, size_t len)
{
    uint32_t need = r->message_len + (uint32_t)len;

    if (need > r->message_cap) {
        uint32_t cap = r->message_cap ? r->message_cap : FIRST_CAPACITY;
        uint8_t *moved;

        while (cap < need)
            cap *= 2;
        if (cap > r->max_message)
            cap = r->max_message;
        moved = ff_mem_realloc(r->message, cap);
        if (!moved)
            return false;
        r->message = moved;
        r->message_cap = cap;
    }
    if (len)
        memcpy(r->message + r->message_len, bytes, len);
    r->message_len = need;
    return true;
}

/* A piece of a data frame's payload, already unmasked. */
static void take_data(struct ff_reader *r, uint8_t *bytes, size_t len,
                      struct ff_reader_event *event)
{
    bool is_end = r->left == 0 && r->fin;

    if (!check_text(r, bytes, len, is_end)) {
        fail(r, event, FF_CLOSE_BAD_TEXT, "text is not UTF-8");
        return;
    }
    if (is_end && r->message_len == 0) { /* whole in the caller's memory: no copy */
        event->bytes = bytes;
        event->len = len;
    } else if (assemble(r, bytes, len)) {
        event->bytes = r->message;
        event->len = r->message_len;
    } else {
        fail(r, event, FF_CLOSE_INTERNAL, "out of memory");
        return;
    }
    r->in_frame = r->left > 0;
    if (!is_end)
        return;
    event->kind = FF_READER_MESSAGE;
    event->opcode = r->message_opcode == FF_OP_TEXT ? FF_OP_TEXT : FF_OP_BINARY;
    r->message_opcode = 0;
    r->message_len = 0; /* the bytes stay until the next message or release */
}

static void take_close(struct ff_reader *r, uint8_t *bytes, size_t len,
                       struct ff_reader_event *event)
{
    int code = len >= 2 ? ff_load_u16(bytes) : 0;

    if (len == 1) {
        fail(r, event, FF_CLOSE_PROTOCOL, "a close frame with half a code");
    } else if (len >= 2 && !ff_frame_is_close_code(code)) {
        fail(r, event, FF_CLOSE_PROTOCOL, "this close code may not be sent");
    } else if (len > 2 && !ff_utf8_is_valid(bytes + 2, len - 2)) {
        fail(r, event, FF_CLOSE_BAD_TEXT, "the close reason is not UTF-8");
    } else {
        event->kind = FF_READER_CLOSE;
        event->code = code;
        event->bytes = len > 2 ? bytes + 2 : bytes;
        event->len = len > 2 ? len - 2 : 0;
    }
}

/* A piece of a control frame's payload, already unmasked. */
static void take_control(struct ff_reader *r, uint8_t *bytes, size_t len,
                         struct ff_reader_event *event)
{
    size_t whole = r->done;

    if (r->left || len < whole) { /* it comes in pieces */
        if (!r->control)
            r->control = ff_mem_alloc(FF_CONTROL_MAX);
        if (!r->control) {
            fail(r, event, FF_CLOSE_INTERNAL, "out of memory");
            return;
        }
        if (len)
            memcpy(r->control + whole - len, bytes, len);
        bytes = r->control;
    }
    if (r->left)
        return;
    r->in_frame = false;
    event->bytes = bytes;
    event->len = whole;
    if (r->opcode == FF_OP_CLOSE)
        take_close(r, bytes, whole, event);
    else
        event->kind = r->opcode == FF_OP_PING ? FF_READER_PING : FF_READER_PONG;
}

void ff_reader_next(struct ff_reader *r, uint8_t *bytes, size_t len, size_t *used,
                    struct ff_reader_event *event)
{
    size_t at = 0;

    FF_CHECK(!r->is_failed);
    *event = (struct ff_reader_event){.kind = FF_READER_MORE};
    while (event->kind == FF_READER_MORE && (at < len || (r->in_frame && r->left == 0))) {
        size_t piece;

        if (!r->in_frame) {
            at += read_head(r, bytes + at, len - at, event);
            continue;
        }
        piece = r->left < len - at ? r->left : len - at;
        if (r->is_masked && piece)
            ff_frame_mask(bytes + at, piece, r->mask, r->done);
        r->left -= (uint32_t)piece;
        r->done = (uint8_t)((r->done + piece) & 127);
        if (is_control(r->opcode))
            take_control(r, bytes + at, piece, event);
        else
            take_data(r, bytes + at, piece, event);
        at += piece;
    }
    *used = at;
}
