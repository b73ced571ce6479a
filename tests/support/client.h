/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - what a client in C writes: the head of a handshake, masked frames. */
#ifndef SUPPORT_CLIENT_H
#define SUPPORT_CLIENT_H

#include <stdio.h>
#include <string.h>

#include "protocol/websocket/frame.h"

/* Writes the head of a handshake, with a subprotocol or NULL; returns its size. */
static inline size_t client_put_head(char *out, size_t size, const char *path, const char *protocol)
{
    return (size_t)snprintf(out, size,
                            "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                            "Sec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                            path, protocol ? "Sec-WebSocket-Protocol: " : "",
                            protocol ? protocol : "", protocol ? "\r\n" : "");
}

/* Writes a masked frame with this first octet; returns its size. */
static inline size_t client_put_frame(uint8_t *out, uint8_t first, const void *bytes, size_t len)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    size_t head = ff_frame_write_masked_head(out, (enum ff_opcode)(first & 15), len, mask);

    out[0] = first;
    memcpy(out + head, bytes, len);
    ff_frame_mask(out + head, len, mask, 0);
    return head + len;
}

#endif
