/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads of the PROXY protocol. However a head is cut on its way, the same is read of it,
 * its size is not more than there is, and while it is not complete nothing but the head
 * was seen: more octets change no answer that was given.
 */
#include <stdlib.h>

#include "broker/net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_head whole;
    struct proxy_head part;
    char text[ADDRESS_TEXT_MAX];
    int end;

    if (size == 0)
        return 0;
    end = proxy_protocol_read(&whole, data, size);
    if (end > (int)size || end > PROXY_HEAD_MAX || (end == 0 && size >= PROXY_HEAD_MAX))
        abort();
    if (whole.has_client) {
        if (end <= 0 && end != FF_EINVAL)
            abort();
        address_text(&whole.client, true, text);
    }
    for (size_t n = 1; n <= size && n < 256; n++) {
        int answer = proxy_protocol_read(&part, data, n);

        if (answer == 0)
            continue;
        if ((answer > 0) != (end > 0) || (answer > 0 && answer != end))
            abort();
        break;
    }
    return 0;
}
