/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/redis/command.h"

enum { DECIMAL = 10 };

static size_t count_digits(size_t number)
{
    size_t digits = 1;

    for (; number >= DECIMAL; number /= DECIMAL)
        digits++;
    return digits;
}

/* "*3\r\n", "$5\r\n" */
static size_t head_size(size_t number)
{
    return 1 + count_digits(number) + 2;
}

static char *put_head(char *out, char sign, size_t number)
{
    size_t digits = count_digits(number);

    *out++ = sign;
    for (size_t i = digits; i > 0; i--, number /= DECIMAL)
        out[i - 1] = (char)('0' + number % DECIMAL);
    out += digits;
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

size_t redis_command_size(uint32_t argc, const struct ff_slice *argv)
{
    size_t size = head_size(argc);

    for (uint32_t i = 0; i < argc; i++) {
        size_t more = head_size(argv[i].len) + 2;

        if (argv[i].len > SIZE_MAX / 2 || size > SIZE_MAX / 2 - argv[i].len)
            return SIZE_MAX;
        size += more + argv[i].len;
    }
    return size;
}

enum ff_err redis_command_write(struct ff_buf *out, uint32_t argc, const struct ff_slice *argv)
{
    size_t size = redis_command_size(argc, argv);
    enum ff_err err = ff_buf_reserve(out, size);
    char *at;

    if (err)
        return err;
    at = put_head(out->data + out->len, '*', argc);
    for (uint32_t i = 0; i < argc; i++) {
        at = put_head(at, '$', argv[i].len);
        if (argv[i].len)
            memcpy(at, argv[i].at, argv[i].len);
        at += argv[i].len;
        *at++ = '\r';
        *at++ = '\n';
    }
    out->len += size;
    return FF_OK;
}
