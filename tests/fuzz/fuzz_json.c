/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "protocol/message/json.h"
#include "protocol/message/number.h"
#include "tests/fuzz/fuzz_message.h"
#include "tests/fuzz/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return grammar_mutate(data, size, max_size, seed, grammar_envelope);
}

/* Helpers are defined for every input, also for what a scanner found fault with. */
static void use(struct ff_slice raw)
{
    char *text = malloc(raw.len + 1); /* to the octet: what is written behind it is found */
    char digits[32];

    if (!text || ff_json_unescape(text, raw) > raw.len)
        abort();
    free(text);
    (void)ff_number_write(digits, ff_number_read(raw).d);
    for (int kind = FF_PAYLOAD_JSON; kind <= FF_PAYLOAD_BYTES; kind++) {
        struct ff_payload payload = {(enum ff_payload_kind)kind, raw};
        struct ff_buf out;

        ff_buf_init(&out, 1 << 16);
        (void)!ff_transcode(&payload, kind == FF_PAYLOAD_MSGPACK ? FF_JSON : FF_MSGPACK, &out);
        ff_buf_deinit(&out);
    }
}

/* A copy that ends where its memory ends. */
static void walk(const uint8_t *data, size_t size)
{
    char *copy = malloc(size);
    struct ff_slice all = {copy, size};
    struct ff_json j;
    struct ff_slice key;
    struct ff_slice value;

    if (!copy)
        abort();
    memcpy(copy, data, size);
    use(all);
    j = ff_json_enter(all);
    while (ff_json_next(&j, &key, &value)) {
        use(value);
        if (key.at)
            use(key);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    fuzz_decode(FF_JSON, data, size);
    walk(data, size);
    return 0;
}
