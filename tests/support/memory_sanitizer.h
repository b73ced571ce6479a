/* SPDX-License-Identifier: Apache-2.0 */
/* memory_sanitizer.h - asks MemorySanitizer, where the build has it; nothing elsewhere. */
#ifndef SUPPORT_MEMORY_SANITIZER_H
#define SUPPORT_MEMORY_SANITIZER_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define HAS_MEMORY_SANITIZER 1
#endif
#endif

/* Ends the program when an octet of these was never written. */
static inline void check_initialized(const void *bytes, size_t len)
{
#ifdef HAS_MEMORY_SANITIZER
    __msan_check_mem_is_initialized(bytes, len);
#else
    (void)bytes;
    (void)len;
#endif
}

#endif
