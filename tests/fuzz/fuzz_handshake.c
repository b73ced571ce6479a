/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a handshake that lists are in: subprotocols, extensions,
 * Connection, Upgrade, key, version, Origin. The input is cut at line feeds into
 * header values which stand in a good head; so every execution reaches the
 * judgement. What is accepted is answered, and the answer is held against what
 * was offered.
 */
#include <stdio.h>
#include <stdlib.h>

#include "protocol/websocket/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {
    "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Connection", "Upgrade",
    "Sec-WebSocket-Key",      "Sec-WebSocket-Version",    "Origin",     "Sec-WebSocket-Protocol",
};
static const char *const defaults[] = {
    NULL, NULL, "Upgrade", "websocket", "dGhlIHNhbXBsZSBub25jZQ==", "13", NULL, NULL,
};

/* Is `name` a whole element of one of the offered lists? */
static bool is_offered(const struct ff_http_head *head, const char *name)
{
    for (size_t i = 0; i < head->count; i++) {
        struct ff_slice rest = head->headers[i].value;

        while (ff_slice_is_equal(head->headers[i].name, FF_SLICE("Sec-WebSocket-Protocol")) &&
               rest.at)
            if (ff_slice_is_equal(ff_slice_trim(ff_slice_cut(&rest, ',')), ff_slice_of(name)))
                return true;
    }
    return false;
}

/* What is agreed upon must be within what RFC 7692 and the server's wishes allow. */
static void check_terms(const struct ff_http_head *head, struct ff_handshake *handshake)
{
    struct ff_deflate_wishes wishes = {(uint8_t)(9 + handshake->key.at[0] % 7),
                                       handshake->key.at[1] & 1};
    struct ff_deflate_terms *terms = &handshake->deflate;

    if (!ff_terms_choose(head, &wishes, terms)) {
        if (terms->server_bits)
            abort();
        return;
    }
    if (terms->server_bits < FF_WINDOW_BITS_LEAST || terms->server_bits > wishes.server_bits ||
        terms->client_bits < FF_WINDOW_BITS_LEAST || terms->client_bits > FF_WINDOW_BITS_MOST ||
        (wishes.client_forgets && !terms->client_forgets))
        abort();
}

static void check_answer(const struct ff_http_head *head, const struct ff_handshake *handshake)
{
    static const uint8_t key[FF_KEY_SIZE] = "the sample nonc\x65";
    struct ff_http_head answer;
    struct ff_buf out;
    const char *name = ff_subprotocol_name(handshake->subprotocol);
    struct ff_deflate_terms terms;
    const char *why;
    size_t from = 0;

    if (name && !is_offered(head, name))
        abort();
    ff_buf_init(&out, 1024);
    if (ff_handshake_write_answer(&out, handshake))
        abort();
    if (ff_http_find_end(out.data, out.len, &from, FF_HTTP_HEAD_MAX) != (int)out.len ||
        ff_http_parse_response(&answer, out.data, out.len))
        abort();
    if (ff_terms_read_answer(&answer, &terms) == FF_OK &&
        terms.server_bits != handshake->deflate.server_bits)
        abort();
    if (!handshake->deflate.server_bits &&
        ff_slice_is_equal(handshake->key, ff_slice_of(defaults[4])) &&
        ff_handshake_check_answer(&answer, handshake->subprotocol, key, &why))
        abort();
    ff_buf_deinit(&out);
}

static size_t write_head(char *out, size_t room, struct ff_slice rest)
{
    size_t len = (size_t)snprintf(out, room, "GET /ws HTTP/1.1\r\nHost: a\r\n");

    for (size_t i = 0; i < FF_COUNT(names); i++) {
        struct ff_slice value = ff_slice_cut(&rest, '\n');

        if (!value.at || value.len == 0)
            value = ff_slice_of(defaults[i]);
        if (value.at && value.len + 64 < room - len)
            len += (size_t)snprintf(out + len, room - len, "%s: %.*s\r\n", names[i], (int)value.len,
                                    value.at);
    }
    return len + (size_t)snprintf(out + len, room - len, "\r\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[FF_HTTP_HEAD_MAX];
    struct ff_http_head head;
    struct ff_handshake handshake;
    size_t len;
    size_t from = 0;

    if (size > 6000 || memchr(data, 0, size))
        return 0;
    len = write_head(text, sizeof(text), (struct ff_slice){(const char *)data, size});
    if (ff_http_find_end(text, len, &from, FF_HTTP_HEAD_MAX) != (int)len)
        return 0;
    if (ff_http_parse_request(&head, text, len))
        return 0;
    if (ff_handshake_check(&head, &handshake)) {
        check_terms(&head, &handshake);
        check_answer(&head, &handshake);
    } else if (!handshake.why ||
               (handshake.status != 400 && handshake.status != 405 && handshake.status != 426))
        abort();
    return 0;
}
