/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/fuzz_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size)
        fuzz_decode(FF_MSGPACK, data, size);
    return 0;
}
