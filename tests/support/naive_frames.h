/* SPDX-License-Identifier: Apache-2.0 */
/*
 * naive_frames.h - a second reader of WebSocket frames, written from RFC 6455
 * alone: one octet at a time, no tables, no words, no cleverness, everything
 * copied. What the real reader answers is held against it.
 */
#ifndef SUPPORT_NAIVE_FRAMES_H
#define SUPPORT_NAIVE_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What a reader saw: events folded into a number, so that two streams compare in a word. */
struct seen {
    uint64_t hash;
    unsigned events;
};

enum { SEEN_MESSAGE = 1, SEEN_PING, SEEN_PONG, SEEN_CLOSE, SEEN_FAIL };

static inline void seen_note(struct seen *seen, int kind, int code, const uint8_t *bytes,
                             size_t len)
{
    seen->events++;
    seen->hash = (seen->hash + (uint64_t)kind * 65536 + (uint64_t)code) * 1099511628211U;
    for (size_t i = 0; i < len; i++)
        seen->hash = (seen->hash ^ bytes[i]) * 1099511628211U;
}

enum { NAIVE_MESSAGE_MAX = 4096 };

struct naive {
    struct seen seen;
    size_t max_message;
    uint8_t head[14];
    size_t head_len;
    bool in_payload;
    bool has_failed;
    uint64_t left;
    uint64_t at; /* place in the frame's payload */
    uint8_t control[125];
    uint8_t message[NAIVE_MESSAGE_MAX];
    size_t message_len;
    int message_opcode; /* -1: none */
    int empty_fragments;
};

static inline void naive_init(struct naive *n, size_t max_message)
{
    memset(n, 0, sizeof(*n));
    n->seen.hash = 14695981039346656037U;
    n->max_message = max_message;
    n->message_opcode = -1;
}

static inline void naive_fail(struct naive *n, int code)
{
    seen_note(&n->seen, SEEN_FAIL, code, NULL, 0);
    n->has_failed = true;
}

/* 1: whole code points; 0: the last one is cut; -1: no UTF-8 (Unicode, table 3-7). */
static inline int naive_utf8(const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len;) {
        int more = b[i] < 0x80 ? 0 : b[i] < 0xc2 ? -1 : b[i] < 0xe0 ? 1 : b[i] < 0xf0 ? 2 : 3;

        if (more < 0 || b[i] > 0xf4)
            return -1;
        for (int k = 1; k <= more; k++) {
            uint8_t low = 0x80;
            uint8_t high = 0xbf;

            if (i + (size_t)k >= len)
                return 0;
            if (k == 1 && b[i] == 0xe0)
                low = 0xa0;
            if (k == 1 && b[i] == 0xed)
                high = 0x9f;
            if (k == 1 && b[i] == 0xf0)
                low = 0x90;
            if (k == 1 && b[i] == 0xf4)
                high = 0x8f;
            if (b[i + (size_t)k] < low || b[i + (size_t)k] > high)
                return -1;
        }
        i += (size_t)more + 1;
    }
    return 1;
}

static inline int naive_opcode(const struct naive *n)
{
    return n->head[0] & 15;
}

/* What two octets of a head can be wrong about. */
static inline bool naive_is_bad_start(const struct naive *n)
{
    int opcode = naive_opcode(n);
    bool fin = n->head[0] >= 0x80;

    if (n->head[0] & 0x70 || !(n->head[1] & 0x80))
        return true;
    if ((opcode >= 3 && opcode <= 7) || opcode >= 11)
        return true;
    if (opcode >= 8)
        return !fin || (n->head[1] & 0x7f) > 125;
    return (opcode == 0) == (n->message_opcode < 0);
}

static inline void naive_end_control(struct naive *n)
{
    size_t len = (size_t)n->at;
    int code = len >= 2 ? n->control[0] * 256 + n->control[1] : 0;

    n->in_payload = false;
    if (naive_opcode(n) == 9)
        seen_note(&n->seen, SEEN_PING, 0, n->control, len);
    else if (naive_opcode(n) == 10)
        seen_note(&n->seen, SEEN_PONG, 0, n->control, len);
    else if (len == 1 || (len > 1 && (code < 1000 || code > 4999 || (code > 1014 && code < 3000) ||
                                      (code >= 1004 && code <= 1006))))
        naive_fail(n, 1002);
    else if (len > 2 && naive_utf8(n->control + 2, len - 2) != 1)
        naive_fail(n, 1007);
    else
        seen_note(&n->seen, SEEN_CLOSE, code, n->control + 2, len > 2 ? len - 2 : 0);
}

static inline void naive_end_data(struct naive *n)
{
    n->in_payload = false;
    if (!(n->head[0] & 0x80))
        return;
    if (n->message_opcode == 1 && naive_utf8(n->message, n->message_len) != 1) {
        naive_fail(n, 1007);
        return;
    }
    seen_note(&n->seen, SEEN_MESSAGE, n->message_opcode, n->message, n->message_len);
    n->message_opcode = -1;
    n->message_len = 0;
}

static inline void naive_begin(struct naive *n, uint64_t len)
{
    n->in_payload = true;
    n->left = len;
    n->at = 0;
    if (naive_opcode(n) >= 8)
        return;
    if (naive_opcode(n) > 0) {
        n->message_opcode = naive_opcode(n);
        n->message_len = 0;
        n->empty_fragments = 0;
    }
    if (len > n->max_message - n->message_len)
        naive_fail(n, 1009);
    else if (len == 0 && !(n->head[0] & 0x80) && ++n->empty_fragments > 64)
        naive_fail(n, 1008);
}

static inline void naive_head_octet(struct naive *n, uint8_t octet)
{
    size_t len_octets;
    uint64_t len = 0;

    n->head[n->head_len++] = octet;
    if (n->head_len < 2)
        return;
    if (n->head_len == 2 && naive_is_bad_start(n)) {
        naive_fail(n, 1002);
        return;
    }
    len_octets = (n->head[1] & 0x7f) == 127 ? 8 : (n->head[1] & 0x7f) == 126 ? 2 : 0;
    if (n->head_len < 2 + len_octets)
        return;
    for (size_t i = 0; i < len_octets; i++)
        len = len * 256 + n->head[2 + i];
    if (!len_octets)
        len = n->head[1] & 0x7f;
    if ((len_octets == 2 && len < 126) || (len_octets == 8 && (len < 65536 || len >> 63))) {
        naive_fail(n, 1002);
        return;
    }
    if (n->head_len == 2 + len_octets + 4)
        naive_begin(n, len);
}

static inline void naive_payload_octet(struct naive *n, uint8_t octet)
{
    octet ^= n->head[n->head_len - 4 + n->at % 4];
    n->left--;
    if (naive_opcode(n) >= 8) {
        n->control[n->at++] = octet;
        return;
    }
    n->at++;
    n->message[n->message_len++] = octet;
    if (n->message_opcode == 1 && naive_utf8(n->message, n->message_len) < 0)
        naive_fail(n, 1007);
}

/* All octets of a stream that never ends; afterwards `seen` holds what came of them. */
static inline void naive_read(struct naive *n, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len && !n->has_failed; i++) {
        if (n->in_payload)
            naive_payload_octet(n, bytes[i]);
        else
            naive_head_octet(n, bytes[i]);
        if (!n->has_failed && n->in_payload && n->left == 0) {
            if (naive_opcode(n) >= 8)
                naive_end_control(n);
            else
                naive_end_data(n);
            n->head_len = 0;
        }
    }
}

#endif
