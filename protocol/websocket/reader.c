/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket/reader.h"

#include <string.h>

#include "protocol/base/bytes.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"
#include "protocol/websocket/inflater.h"

#define MAX_EMPTY_FRAGMENTS 64

enum {
    FIRST_CAPACITY = 256,
    FIRST_GROWTH = 4, /* times its compressed octets: what a message may become */
    RSV1 = 4,
    INFLATE_PIECE = 512,    /* compressed octets at a time: half a MiB at the very most */
    INFLATE_STEP = 16384,   /* octets made in a call, and what the last piece made beyond */
    INFLATER_OCTETS = 7168, /* about, and the window */
    /* Compressed, a message is at most an 8th larger, and some octets for its blocks. */
    LARGER_PART = 8,
    LARGER_OCTETS = 1024,
};

/* Half a control frame, an inflater. */
struct ff_reader_aside {
    struct ff_inflater *inflater; /* NULL: no message is to be inflated, or to be leant on */
    bool has_control;
    uint8_t control[FF_CONTROL_MAX]; /* the payload of a control frame that came in pieces */
};

static bool is_control(uint8_t opcode)
{
    return opcode >= FF_OP_CLOSE;
}

void ff_reader_init(struct ff_reader *r, enum ff_role role, uint32_t max_message)
{
    *r = (struct ff_reader){.is_masked = role == FF_ROLE_SERVER, .max_message = max_message};
}

void ff_reader_inflate(struct ff_reader *r, unsigned window_bits, bool may_lean)
{
    r->window_bits = window_bits & 15;
    r->may_lean = may_lean;
}

/* NULL: out of memory. */
static struct ff_reader_aside *get_aside(struct ff_reader *r)
{
    if (r->aside)
        return r->aside;
    r->aside = ff_mem_alloc(sizeof(*r->aside));
    if (r->aside) {
        r->aside->inflater = NULL;
        r->aside->has_control = false;
    }
    return r->aside;
}

static void drop_aside_if_empty(struct ff_reader *r)
{
    if (!r->aside || r->aside->has_control || r->aside->inflater)
        return;
    ff_mem_free(r->aside);
    r->aside = NULL;
}

void ff_reader_deinit(struct ff_reader *r)
{
    ff_mem_free(r->message);
    r->message = NULL;
    if (r->aside)
        ff_inflater_free(r->aside->inflater);
    ff_mem_free(r->aside);
    r->aside = NULL;
}

void ff_reader_release(struct ff_reader *r)
{
    if (r->message_opcode == 0) {
        ff_mem_free(r->message);
        r->message = NULL;
        r->message_cap = 0;
        r->message_len = 0;
    }
    if (!r->aside)
        return;
    if (r->message_opcode == 0 && !r->may_lean) {
        ff_inflater_free(r->aside->inflater);
        r->aside->inflater = NULL;
    }
    if (!r->in_frame || !is_control(r->opcode))
        r->aside->has_control = false;
    drop_aside_if_empty(r);
}

size_t ff_reader_held(const struct ff_reader *r)
{
    size_t held = r->message_cap;

    if (r->message_opcode && r->is_compressed && r->aside && r->aside->inflater)
        held += INFLATER_OCTETS + ((size_t)1 << r->window_bits);
    return held;
}

static void fail(struct ff_reader *r, struct ff_reader_event *event, int code, const char *reason)
{
    r->is_failed = true;
    *event = (struct ff_reader_event){.kind = FF_READER_FAIL, .code = code, .reason = reason};
}

/* What is wrong with a frame's head by itself and in its place, or NULL. */
static const char *validate_head(const struct ff_reader *r, const struct ff_frame_head *head)
{
    if (head->rsv && !r->window_bits)
        return "reserved bits are set but no extension was negotiated";
    if (head->rsv &&
        (head->rsv != RSV1 || is_control(head->opcode) || head->opcode == FF_OP_CONTINUATION))
        return "only RSV1 may be set, and only in a message's first frame";
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

/* The most that a frame of the message under way may hold. */
static uint64_t find_room(const struct ff_reader *r)
{
    if (r->is_compressed) /* what it becomes is judged as it is made */
        return (uint64_t)r->max_message + r->max_message / LARGER_PART + LARGER_OCTETS;
    return r->max_message - r->message_len;
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
        r->is_compressed = head->rsv != 0;
        r->utf8 = (struct ff_utf8){0};
        r->empty_fragments = 0;
    }
    if (head->len > find_room(r)) {
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

/* Room for `need` octets of a message, at most the maximum; grows twofold. */
static bool grow(struct ff_reader *r, uint32_t need)
{
    uint32_t cap = r->message_cap ? r->message_cap : FIRST_CAPACITY;
    uint8_t *moved;

    if (need <= r->message_cap)
        return true;
    while (cap < need)
        cap *= 2;
    if (cap > r->max_message)
        cap = r->max_message;
    moved = ff_mem_realloc(r->message, cap);
    if (!moved)
        return false;
    r->message = moved;
    r->message_cap = cap;
    return true;
}

/* Behind what is assembled. */
static bool assemble(struct ff_reader *r, const uint8_t *bytes, size_t len)
{
    if (!grow(r, r->message_len + (uint32_t)len))
        return false;
    if (len)
        memcpy(r->message + r->message_len, bytes, len);
    r->message_len += (uint32_t)len;
    return true;
}

/* The whole message is there: text, or binary. */
static void finish_message(struct ff_reader *r, struct ff_reader_event *event)
{
    event->kind = FF_READER_MESSAGE;
    event->opcode = r->message_opcode == FF_OP_TEXT ? FF_OP_TEXT : FF_OP_BINARY;
    r->message_opcode = 0;
    r->message_len = 0; /* the bytes stay until the next message or release */
}

/* A piece of a data frame's payload that is not compressed, already unmasked. */
static void take_plain(struct ff_reader *r, uint8_t *bytes, size_t len,
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
    if (is_end)
        finish_message(r, event);
}

static struct ff_inflater *get_inflater(struct ff_reader *r)
{
    struct ff_reader_aside *aside = get_aside(r);

    if (aside && !aside->inflater)
        aside->inflater = ff_inflater_new(r->window_bits);
    return aside ? aside->inflater : NULL;
}

static void fail_inflating(struct ff_reader *r, struct ff_reader_event *event, enum ff_err err)
{
    if (err == FF_ETOOBIG)
        fail(r, event, FF_CLOSE_TOO_BIG, "message is over max_message");
    else if (err == FF_EINVAL)
        fail(r, event, FF_CLOSE_BAD_TEXT, "the compressed data is broken");
    else
        fail(r, event, FF_CLOSE_INTERNAL, "out of memory");
}

/* Behind what is assembled, until the input is used up: FF_OK, FF_ENOMEM, FF_EINVAL, FF_ETOOBIG. */
static enum ff_err inflate_more(struct ff_reader *r, struct ff_inflation *io)
{
    enum ff_err err = FF_OK;
    uint8_t beyond; /* an octet that is made here is one too many */

    do {
        bool is_full = r->message_len == r->max_message;

        if (!is_full && r->message_len == r->message_cap &&
            !grow(r,
                  r->message_cap ? r->message_cap + 1 : (uint32_t)(io->in_len * FIRST_GROWTH + 1)))
            return FF_ENOMEM;
        io->out = is_full ? &beyond : r->message + r->message_len;
        io->out_len = is_full ? 1 : r->message_cap - r->message_len;
        err = ff_inflater_step(r->aside->inflater, io);
        if (is_full && io->out_len == 0)
            return FF_ETOOBIG;
        if (!is_full)
            r->message_len = (uint32_t)(io->out - r->message);
    } while (!err && io->out_len == 0);
    return err;
}

/* All that a piece of a compressed frame becomes, and what a message's end adds. */
static enum ff_err inflate_piece(struct ff_reader *r, const uint8_t *bytes, size_t len, bool is_end)
{
    struct ff_inflater *inflater = r->aside->inflater;
    struct ff_inflation io = {.in = bytes, .in_len = len};
    enum ff_err err = len ? inflate_more(r, &io) : FF_OK;

    if (!err && ff_inflater_taken(inflater) >
                    (uint64_t)r->max_message + r->max_message / LARGER_PART + LARGER_OCTETS)
        return FF_ETOOBIG;
    if (err || !is_end)
        return err;
    if (ff_inflater_begin_end(inflater, &io))
        err = inflate_more(r, &io);
    if (err)
        return err;
    return ff_inflater_end(inflater) ? FF_OK : FF_EINVAL;
}

/* A piece of a compressed frame's payload, already unmasked. */
static void take_compressed(struct ff_reader *r, uint8_t *bytes, size_t len,
                            struct ff_reader_event *event)
{
    bool is_end = r->left == 0 && r->fin;
    uint32_t before = r->message_len;
    enum ff_err err = get_inflater(r) ? inflate_piece(r, bytes, len, is_end) : FF_ENOMEM;

    event->inflated += r->message_len - before;
    if (r->message) /* a message that became nothing yet has no memory */
        bytes = r->message + before;
    /* What is wrong first is said, however the octets are cut: so this comes before `err`. */
    if (!check_text(r, bytes, r->message_len - before, is_end && !err)) {
        fail(r, event, FF_CLOSE_BAD_TEXT, "text is not UTF-8");
        return;
    }
    if (err) {
        fail_inflating(r, event, err);
        return;
    }
    r->in_frame = r->left > 0;
    if (!is_end)
        return;
    event->bytes = bytes - (r->message ? before : 0);
    event->len = r->message_len;
    finish_message(r, event);
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
        if (!get_aside(r)) {
            fail(r, event, FF_CLOSE_INTERNAL, "out of memory");
            return;
        }
        r->aside->has_control = true;
        if (len)
            memcpy(r->aside->control + whole - len, bytes, len);
        bytes = r->aside->control;
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

/* How much of the frame's payload is taken at once, of `len` octets that are there. */
static size_t piece_of(const struct ff_reader *r, size_t len)
{
    size_t piece = r->left < len ? r->left : len;

    if (r->is_compressed && !is_control(r->opcode) && piece > INFLATE_PIECE)
        piece = INFLATE_PIECE;
    return piece;
}

static void take_piece(struct ff_reader *r, uint8_t *bytes, size_t piece,
                       struct ff_reader_event *event)
{
    if (r->is_masked && piece)
        ff_frame_mask(bytes, piece, r->mask, r->done);
    r->left -= (uint32_t)piece;
    r->done = (uint8_t)((r->done + piece) & 127);
    if (is_control(r->opcode))
        take_control(r, bytes, piece, event);
    else if (r->is_compressed)
        take_compressed(r, bytes, piece, event);
    else
        take_plain(r, bytes, piece, event);
}

void ff_reader_next(struct ff_reader *r, uint8_t *bytes, size_t len, size_t *used,
                    struct ff_reader_event *event)
{
    size_t at = 0;

    FF_CHECK(!r->is_failed);
    *event = (struct ff_reader_event){.kind = FF_READER_MORE};
    while (event->kind == FF_READER_MORE && event->inflated < INFLATE_STEP &&
           (at < len || (r->in_frame && r->left == 0))) {
        if (r->in_frame) {
            size_t piece = piece_of(r, len - at);

            take_piece(r, bytes + at, piece, event);
            at += piece;
        } else {
            at += read_head(r, bytes + at, len - at, event);
        }
    }
    *used = at;
}
