/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf.h - a growable run of bytes with a maximum.
 *
 * The memory belongs to the buffer; what `data` points to is valid until the
 * next change. Growth doubles, and never passes `max`. A failed append leaves
 * the buffer as it was.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/check.h"
#include "protocol/base/err.h"

struct ff_buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
};

static inline void ff_buf_init(struct ff_buf *b, size_t max)
{
    *b = (struct ff_buf){.max = max};
}

/* Frees the memory; the buffer is empty and can be used again. */
void ff_buf_deinit(struct ff_buf *b);

/*
 * Room for `more` bytes behind the `len` there are.
 * FF_OK, FF_ENOMEM, FF_ELIMIT (it would pass `max`).
 */
FF_MUST_CHECK enum ff_err ff_buf_reserve(struct ff_buf *b, size_t more);

/* Appends a copy. FF_OK, FF_ENOMEM, FF_ELIMIT. */
FF_MUST_CHECK enum ff_err ff_buf_append(struct ff_buf *b, const void *bytes, size_t len);

/* Appends formatted text (no NUL counted). FF_OK, FF_ENOMEM, FF_ELIMIT. */
__attribute__((format(printf, 2, 3))) FF_MUST_CHECK enum ff_err
ff_buf_printf(struct ff_buf *b, const char *format, ...);

/* Forgets the first `len` bytes; what follows moves to the front. */
void ff_buf_consume(struct ff_buf *b, size_t len);

static inline struct ff_slice ff_buf_slice(const struct ff_buf *b)
{
    return (struct ff_slice){b->data, b->len};
}

#endif
