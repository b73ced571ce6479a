/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP heads of both directions. Where a head ends must not depend on how it
 * was cut on its way: the first octet says into what pieces.
 */
#include <stdint.h>
#include <stdlib.h>

#include "protocol/websocket/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int find_in_pieces(const char *text, size_t size, size_t piece)
{
    size_t from = 0;
    int end = 0;

    for (size_t len = piece; end == 0; len += piece) {
        end = ff_http_find_end(text, len < size ? len : size, &from, FF_HTTP_HEAD_MAX);
        if (len >= size)
            break;
    }
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    struct ff_http_head head;
    struct ff_handshake handshake;
    size_t from = 0;
    int end;

    if (size < 2)
        return 0;
    end = ff_http_find_end(text, --size, &from, FF_HTTP_HEAD_MAX);
    if (end != find_in_pieces(text, size, data[0] + 1U))
        abort();
    if (end <= 0)
        return 0;
    if (ff_http_parse_request(&head, text, (size_t)end) == 0) {
        char decoded[FF_HTTP_HEAD_MAX];
        struct ff_slice topic = ff_http_query(head.target, "topic");

        if (!ff_handshake_check(&head, &handshake) && !handshake.why)
            abort();
        if (topic.at && ff_http_percent_decode(decoded, topic) > (long)topic.len)
            abort();
    }
    (void)ff_http_parse_response(&head, text, (size_t)end);
    return 0;
}
