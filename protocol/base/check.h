/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.h - assertions about our own mistakes, never about a peer's input.
 *
 * They stay on in release builds: a broker that goes on after its own
 * invariant broke would lose messages in silence.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#define FF_MUST_CHECK  __attribute__((warn_unused_result))
#define FF_LIKELY(x)   __builtin_expect(!!(x), 1)
#define FF_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Gets the line that says what failed, and may be called in any state of the program. */
typedef void ff_check_fn(const char *text);

/* Who tells it from now on; NULL: stdio, as at first, which waits for whoever reads it. */
void ff_check_tell(ff_check_fn *fn);

/* Tells file, line and expression, then aborts. */
__attribute__((noreturn, cold)) void ff_check_failed(const char *file, int line, const char *what);

#define FF_CHECK(cond)   (FF_LIKELY(cond) ? (void)0 : ff_check_failed(__FILE__, __LINE__, #cond))
#define FF_UNREACHABLE() ff_check_failed(__FILE__, __LINE__, "unreachable")

/* The object around an intrusive member. */
#define FF_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define FF_CONTAINER_CONST(ptr, type, member) \
    ((const type *)(const void *)((const char *)(ptr)-offsetof(type, member)))

#define FF_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A number that is a macro, as text: so that a message names the limit it is about. */
#define FF_DIGITS(number)  FF_DIGITS_(number)
#define FF_DIGITS_(number) #number

#endif
