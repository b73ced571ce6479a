/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two calls by which protocol/ has a foreign library write: MemorySanitizer sees
 * nothing of what libraries do that were built without it, and is told here.
 */
#include <msgpack.h>
#include <openssl/sha.h>
#include <sanitizer/msan_interface.h>

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
