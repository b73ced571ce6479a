/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket/handshake.h"

#include <openssl/sha.h>

#include "protocol/base/base64.h"

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
static const char family_prefix[] = "fanfare.";
static const char token_prefix[] = "fanfare.token.";

static const char *const names[] = {
    [FF_SUBPROTOCOL_NONE] = NULL,
    [FF_SUBPROTOCOL_JSON] = "fanfare.v1.json",
    [FF_SUBPROTOCOL_MSGPACK] = "fanfare.v1.msgpack",
};

const char *ff_subprotocol_name(enum ff_subprotocol subprotocol)
{
    return names[subprotocol];
}

bool ff_handshake_is_upgrade(const struct ff_http_head *head)
{
    return ff_http_has_token(head, "Upgrade", "websocket") ||
           ff_http_find(head, "Sec-WebSocket-Key", NULL);
}

static bool refuse(struct ff_handshake *out, int status, const char *why)
{
    out->status = status;
    out->why = why;
    return false;
}

/* Exactly one header of this name, or none where it may be missing. */
static bool take_single(const struct ff_http_head *head, const char *name, struct ff_slice *out)
{
    size_t count;
    const struct ff_http_header *header = ff_http_find(head, name, &count);

    *out = header ? header->value : (struct ff_slice){NULL, 0};
    return count <= 1;
}

/*
 * Exactly 24 characters that are base64 of 16 octets. What the last of them has beyond
 * those octets is nobody's business (RFC 4648, 3.5): there are clients that draw the text.
 */
static bool is_key(struct ff_slice key)
{
    enum { WHOLE = 20, DIGITS = 22 };
    uint8_t raw[WHOLE / 4 * 3];
    size_t size;
    char last[4] = {'A', 'A', 'A', 'A'};

    if (key.len != FF_KEY_TEXT || memcmp(key.at + DIGITS, "==", 2) != 0)
        return false;
    memcpy(last, key.at + WHOLE, DIGITS - WHOLE);
    return ff_base64_decode(raw, &size, key.at, WHOLE) == FF_OK && size == sizeof(raw) &&
           ff_base64_decode(NULL, &size, last, sizeof(last)) == FF_OK && size == 3;
}

static bool cut_prefix(struct ff_slice *text, const char *prefix)
{
    size_t len = strlen(prefix);

    if (text->len < len || memcmp(text->at, prefix, len) != 0)
        return false;
    text->at += len;
    text->len -= len;
    return true;
}

/* Takes what is offered; false where it claims to be one of ours and is none that is known. */
static bool take_offer(struct ff_handshake *out, struct ff_slice offer)
{
    if (cut_prefix(&offer, token_prefix)) {
        if (!out->token.at && offer.len)
            out->token = offer;
        return true;
    }
    for (int i = FF_SUBPROTOCOL_JSON; i <= FF_SUBPROTOCOL_MSGPACK; i++) {
        if (!ff_slice_is_equal(offer, ff_slice_of(names[i])))
            continue;
        if (out->subprotocol == FF_SUBPROTOCOL_NONE)
            out->subprotocol = (enum ff_subprotocol)i;
        return true;
    }
    return !cut_prefix(&offer, family_prefix);
}

/*
 * Picks the first of the client's offers that is known. Where none is, and none is meant
 * to be (embedded clients offer "arduino", or nothing in an empty header), none is
 * named in the answer: RFC 6455, section 4.2.2. Browsers fail such an answer by themselves.
 */
static bool choose_subprotocol(const struct ff_http_head *head, struct ff_handshake *out)
{
    bool has_unknown = false;

    for (size_t i = 0; i < head->count; i++) {
        struct ff_slice rest = head->headers[i].value;

        if (!ff_slice_is_equal_nocase(head->headers[i].name, FF_SLICE("Sec-WebSocket-Protocol")))
            continue;
        while (rest.at)
            has_unknown |= !take_offer(out, ff_slice_trim(ff_slice_cut(&rest, ',')));
    }
    if (has_unknown && out->subprotocol == FF_SUBPROTOCOL_NONE)
        return refuse(out, 400,
                      "none of the offered subprotocols is known; known are fanfare.v1.json and "
                      "fanfare.v1.msgpack, none at all means plain mode");
    return true;
}

bool ff_handshake_check(const struct ff_http_head *head, struct ff_handshake *out)
{
    struct ff_slice version;

    *out = (struct ff_handshake){.status = 400};
    if (!ff_slice_is_equal(head->method, FF_SLICE("GET")))
        return refuse(out, 405, "a WebSocket handshake is a GET");
    if (head->minor_version != 1)
        return refuse(out, 400, "a WebSocket handshake needs HTTP/1.1");
    out->host = head->authority;
    if (!out->host.at && (!take_single(head, "Host", &out->host) || !out->host.len))
        return refuse(out, 400, "exactly one Host header is needed");
    if (!take_single(head, "Origin", &out->origin))
        return refuse(out, 400, "more than one Origin header");
    if (!ff_http_has_token(head, "Upgrade", "websocket"))
        return refuse(out, 400, "the Upgrade header does not say websocket");
    if (!ff_http_has_token(head, "Connection", "upgrade"))
        return refuse(out, 400, "the Connection header does not say Upgrade");
    if (!take_single(head, "Sec-WebSocket-Version", &version))
        return refuse(out, 400, "more than one Sec-WebSocket-Version header");
    if (!version.at)
        return refuse(out, 400, "the Sec-WebSocket-Version header is missing");
    if (!ff_slice_is_equal(version, FF_SLICE("13")))
        return refuse(out, 426, "only WebSocket version 13 is spoken here");
    if (!take_single(head, "Sec-WebSocket-Key", &out->key) || !is_key(out->key))
        return refuse(out, 400, "Sec-WebSocket-Key must be one base64 text of 16 octets");
    return choose_subprotocol(head, out);
}

static void write_accept(char out[FF_ACCEPT_TEXT], const char key[FF_KEY_TEXT])
{
    char joined[FF_KEY_TEXT + sizeof(guid) - 1];
    unsigned char digest[SHA_DIGEST_LENGTH];

    memcpy(joined, key, FF_KEY_TEXT);
    memcpy(joined + FF_KEY_TEXT, guid, sizeof(guid) - 1);
    (void)SHA1((const unsigned char *)joined, sizeof(joined), digest);
    ff_base64_encode(out, digest, sizeof(digest));
}

enum ff_err ff_handshake_write_answer(struct ff_buf *out, const struct ff_handshake *handshake)
{
    const char *name = names[handshake->subprotocol];
    char accept[FF_ACCEPT_TEXT];
    enum ff_err err;

    if (!is_key(handshake->key))
        return FF_EINVAL;
    write_accept(accept, handshake->key.at);
    err = ff_buf_printf(out,
                        "HTTP/1.1 101 Switching Protocols\r\n"
                        "Upgrade: websocket\r\n"
                        "Connection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %.*s\r\n%s%s%s",
                        FF_ACCEPT_TEXT, accept, name ? "Sec-WebSocket-Protocol: " : "",
                        name ? name : "", name ? "\r\n" : "");
    if (!err)
        err = ff_terms_write(out, &handshake->deflate);
    return err ? err : ff_buf_printf(out, "\r\n");
}

enum ff_err ff_handshake_write_request(struct ff_buf *out, const char *host, const char *target,
                                       enum ff_subprotocol subprotocol,
                                       const uint8_t key[FF_KEY_SIZE])
{
    const char *name = names[subprotocol];
    char key_text[FF_KEY_TEXT];

    ff_base64_encode(key_text, key, FF_KEY_SIZE);
    return ff_buf_printf(out,
                         "GET %s HTTP/1.1\r\n"
                         "Host: %s\r\n"
                         "Upgrade: websocket\r\n"
                         "Connection: Upgrade\r\n"
                         "Sec-WebSocket-Key: %.*s\r\n"
                         "Sec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                         target, host, FF_KEY_TEXT, key_text,
                         name ? "Sec-WebSocket-Protocol: " : "", name ? name : "",
                         name ? "\r\n" : "");
}

enum ff_err ff_handshake_check_answer(const struct ff_http_head *head, enum ff_subprotocol wanted,
                                      const uint8_t key[FF_KEY_SIZE], const char **why)
{
    struct ff_slice accept;
    struct ff_slice protocol;
    char key_text[FF_KEY_TEXT];
    char expected[FF_ACCEPT_TEXT];

    ff_base64_encode(key_text, key, FF_KEY_SIZE);
    write_accept(expected, key_text);
    *why = NULL;
    if (head->status != 101)
        *why = "the server did not switch protocols";
    else if (!ff_http_has_token(head, "Upgrade", "websocket") ||
             !ff_http_has_token(head, "Connection", "upgrade"))
        *why = "the server's answer is no WebSocket upgrade";
    else if (!take_single(head, "Sec-WebSocket-Accept", &accept) ||
             !ff_slice_is_equal(accept, (struct ff_slice){expected, FF_ACCEPT_TEXT}))
        *why = "the server's Sec-WebSocket-Accept is wrong";
    else if (!take_single(head, "Sec-WebSocket-Protocol", &protocol) ||
             !ff_slice_is_equal(protocol, ff_slice_of(names[wanted])))
        *why = "the server did not pick the subprotocol";
    else if (ff_http_find(head, "Sec-WebSocket-Extensions", NULL))
        *why = "the server picked an extension that was not offered";
    return *why ? FF_EINVAL : FF_OK;
}
