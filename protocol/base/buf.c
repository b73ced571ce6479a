/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "protocol/base/mem.h"

enum { SMALLEST = 64 };

void ff_buf_deinit(struct ff_buf *b)
{
    ff_mem_free(b->data);
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
}

enum ff_err ff_buf_reserve(struct ff_buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : SMALLEST;
    char *moved;

    if (more <= b->cap - b->len)
        return FF_OK;
    if (more > b->max - b->len)
        return FF_ELIMIT;
    while (cap - b->len < more)
        cap *= 2;
    if (cap > b->max)
        cap = b->max;
    moved = ff_mem_realloc(b->data, cap);
    if (!moved)
        return FF_ENOMEM;
    b->data = moved;
    b->cap = cap;
    return FF_OK;
}

enum ff_err ff_buf_append(struct ff_buf *b, const void *bytes, size_t len)
{
    enum ff_err err = ff_buf_reserve(b, len);

    if (err)
        return err;
    if (len)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    return FF_OK;
}

enum ff_err ff_buf_printf(struct ff_buf *b, const char *format, ...)
{
    va_list args;
    int len;
    enum ff_err err;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    FF_CHECK(len >= 0);
    err = ff_buf_reserve(b, (size_t)len + 1); /* vsnprintf writes its NUL */
    if (err)
        return err;
    va_start(args, format);
    (void)vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
    va_end(args);
    b->len += (size_t)len;
    return FF_OK;
}

void ff_buf_consume(struct ff_buf *b, size_t len)
{
    FF_CHECK(len <= b->len);
    b->len -= len;
    if (b->len)
        memmove(b->data, b->data + len, b->len);
}
