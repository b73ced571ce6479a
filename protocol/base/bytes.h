/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.h - borrowed ranges of bytes, and integers in network order.
 *
 * A slice owns nothing: it is valid as long as what it points into is. The
 * bytes of a slice need not end with a NUL. Loads and stores work at any
 * alignment.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed octets. `at` NULL is "none", and has no length: who takes one looks at `len` alone. */
struct ff_slice {
    const char *at;
    size_t len;
};

#define FF_SLICE(literal) ((struct ff_slice){(literal), sizeof(literal) - 1})

static inline struct ff_slice ff_slice_of(const char *text)
{
    return (struct ff_slice){text, text ? strlen(text) : 0};
}

static inline bool ff_slice_is_equal(struct ff_slice a, struct ff_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* ASCII letters compare equal in either case. */
bool ff_slice_is_equal_nocase(struct ff_slice a, struct ff_slice b);

/* Without the spaces and tabs at both ends. */
struct ff_slice ff_slice_trim(struct ff_slice s);

/*
 * Cuts the part before the first `separator` off `rest` and returns it; `rest`
 * is then what follows it, or {NULL, 0} when there was no separator.
 */
struct ff_slice ff_slice_cut(struct ff_slice *rest, char separator);

static inline uint16_t ff_load_u16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t ff_load_u32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t ff_load_u64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void ff_store_u16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void ff_store_u32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void ff_store_u64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

#endif
