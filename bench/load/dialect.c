/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/dialect.h"

#include "bench/load/options.h"

const struct dialect *const dialects[] = {
    &dialect_fanfare_json,  &dialect_fanfare_msgpack,
    &dialect_fanfare_plain, &dialect_raw,
    &dialect_nchan,         &dialect_mqtt,
    &dialect_nats,          NULL,
};

void put(struct ff_buf *out, const void *bytes, size_t len)
{
    if (ff_buf_append(out, bytes, len))
        die("out of memory");
}

void put_text(struct ff_buf *out, const char *text)
{
    put(out, text, strlen(text));
}
