/* SPDX-License-Identifier: Apache-2.0 */
/* Names and filters; the input is cut at the first zero octet into two. */
#include <stdint.h>
#include <stdlib.h>

#include "protocol/message/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ff_slice rest = {(const char *)data, size};
    struct ff_slice a;
    enum ff_topic_kind kind;

    if (!size)
        return 0;
    a = ff_slice_cut(&rest, '\0');
    kind = ff_topic_kind(a);
    if ((kind == FF_TOPIC_BAD) != (ff_topic_fault(a)[0] != '\0'))
        abort();
    if (kind == FF_TOPIC_NAME && !ff_topic_is_match(a, a))
        abort(); /* a name matches itself */
    if (kind != FF_TOPIC_BAD && rest.at && ff_topic_kind(rest) == FF_TOPIC_NAME)
        (void)ff_topic_is_match(a, rest);
    return 0;
}
