/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls by which protocol/ has a foreign library write: MemorySanitizer sees
 * nothing of what libraries do that were built without it, and is told here.
 */
#include <msgpack.h>
#include <openssl/sha.h>
#include <sanitizer/msan_interface.h>
#include <stdbool.h>
#include <zlib.h>

unsigned char *__real_SHA1(const unsigned char *bytes, size_t len, unsigned char *digest);
unsigned char *__wrap_SHA1(const unsigned char *bytes, size_t len, unsigned char *digest);
msgpack_unpack_return __real_msgpack_unpack_next(msgpack_unpacked *result, const char *bytes,
                                                 size_t len, size_t *at);
msgpack_unpack_return __wrap_msgpack_unpack_next(msgpack_unpacked *result, const char *bytes,
                                                 size_t len, size_t *at);

unsigned char *__wrap_SHA1(const unsigned char *bytes, size_t len, unsigned char *digest)
{
    __msan_check_mem_is_initialized(bytes, len);
    __msan_scoped_disable_interceptor_checks();
    (void)__real_SHA1(bytes, len, digest);
    __msan_scoped_enable_interceptor_checks();
    __msan_unpoison(digest, SHA_DIGEST_LENGTH);
    return digest;
}

/* Objects lie within objects; strings point into the input. */
static void tell_of_object(const msgpack_object *object)
{
    __msan_unpoison(object, sizeof(*object));
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        for (uint32_t i = 0; i < object->via.array.size; i++)
            tell_of_object(&object->via.array.ptr[i]);
    } else if (object->type == MSGPACK_OBJECT_MAP) {
        for (uint32_t i = 0; i < object->via.map.size; i++) {
            tell_of_object(&object->via.map.ptr[i].key);
            tell_of_object(&object->via.map.ptr[i].val);
        }
    }
}

msgpack_unpack_return __wrap_msgpack_unpack_next(msgpack_unpacked *result, const char *bytes,
                                                 size_t len, size_t *at)
{
    msgpack_unpack_return done;

    __msan_check_mem_is_initialized(bytes, len);
    __msan_scoped_disable_interceptor_checks();
    done = __real_msgpack_unpack_next(result, bytes, len, at);
    __msan_scoped_enable_interceptor_checks();
    __msan_unpoison(at, sizeof(*at));
    __msan_unpoison(result, sizeof(*result));
    if (done == MSGPACK_UNPACK_SUCCESS)
        tell_of_object(&result->data);
    return done;
}

/*
 * zlib calls back for memory: what it hands over then is good. It is told of the stream, of
 * what came out, and whether what went in was.
 */
enum { CALLBACK_ARGUMENTS = 3 };

#define ZLIB_CALL(name, parameters, arguments, takes_input)           \
    int __real_##name parameters;                                     \
    int __wrap_##name parameters;                                     \
    int __wrap_##name parameters                                      \
    {                                                                 \
        Bytef *out = z->next_out;                                     \
        int result;                                                   \
                                                                      \
        __msan_check_mem_is_initialized(z, sizeof(*z));               \
        if ((takes_input) && z->avail_in)                             \
            __msan_check_mem_is_initialized(z->next_in, z->avail_in); \
        __msan_unpoison_param(CALLBACK_ARGUMENTS);                    \
        result = __real_##name arguments;                             \
        __msan_unpoison(z, sizeof(*z));                               \
        if (takes_input)                                              \
            __msan_unpoison(out, (size_t)(z->next_out - out));        \
        return result;                                                \
    }

ZLIB_CALL(inflateInit2_, (z_streamp z, int bits, const char *version, int size),
          (z, bits, version, size), false)
ZLIB_CALL(inflate, (z_streamp z, int flush), (z, flush), true)
ZLIB_CALL(inflateEnd, (z_streamp z), (z), false)
ZLIB_CALL(inflateResetKeep, (z_streamp z), (z), false)
ZLIB_CALL(deflateInit2_,
          (z_streamp z, int level, int method, int bits, int memory, int strategy,
           const char *version, int size),
          (z, level, method, bits, memory, strategy, version, size), false)
ZLIB_CALL(deflate, (z_streamp z, int flush), (z, flush), true)
ZLIB_CALL(deflateEnd, (z_streamp z), (z), false)
ZLIB_CALL(deflateReset, (z_streamp z), (z), false)
