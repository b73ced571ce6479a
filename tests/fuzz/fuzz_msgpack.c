/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "tests/fuzz/fuzz_message.h"
#include "tests/fuzz/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return grammar_mutate(data, size, max_size, seed, grammar_packed_envelope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size)
        fuzz_decode(FF_MSGPACK, data, size);
    return 0;
}
