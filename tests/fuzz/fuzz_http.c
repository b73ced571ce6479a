/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP heads of both directions, and the handshake's judgement. */
#include <stdint.h>

#include "protocol/websocket/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct ff_http_head head;
    struct ff_handshake handshake;
    size_t from = 0;
    int end = ff_http_find_end(text, size, &from);

    if (end <= 0)
        return 0;
    if (ff_http_parse_request(&head, text, (size_t)end) == 0) {
        char decoded[FF_HTTP_LINE_MAX];
        struct ff_slice topic = ff_http_query(head.target, "topic");

        (void)ff_handshake_check(&head, &handshake);
        if (topic.at)
            (void)ff_http_percent_decode(decoded, topic);
    }
    (void)ff_http_parse_response(&head, text, (size_t)end);
    return 0;
}
