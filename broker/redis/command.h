/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - a command as Redis reads it: an array of texts (RESP2), of any octets.
 */
#ifndef REDIS_COMMAND_H
#define REDIS_COMMAND_H

#include "protocol/base/buf.h"

/* Octets of it; SIZE_MAX where they cannot be counted. */
size_t redis_command_size(uint32_t argc, const struct ff_slice *argv);

/*
 * Appends it. FF_OK; FF_ENOMEM, FF_ELIMIT (of the buffer): nothing was appended.
 */
FF_MUST_CHECK enum ff_err redis_command_write(struct ff_buf *out, uint32_t argc,
                                              const struct ff_slice *argv);

#endif
