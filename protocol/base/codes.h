/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codes.h - close codes and error codes as names; the table is codes.def.
 *
 * It stands in the lowest floor because WebSocket framing closes with them and
 * messages carry them.
 */
#ifndef BASE_CODES_H
#define BASE_CODES_H

#include <stdbool.h>

enum ff_close {
    FF_CLOSE_NONE = 0, /* no close, or one without a code */
#define FF_CLOSE(number, name, come_back, text) FF_CLOSE_##name = (number),
#include "protocol/base/codes.def"
};

enum ff_error {
    FF_ERROR_NONE = 0,
#define FF_ERROR(number, name, retry, text) FF_ERROR_##name = (number),
#include "protocol/base/codes.def"
};

/* The table's text, or "" for a number that is not in it. Static. */
const char *ff_close_text(int code);
const char *ff_error_text(int code);

/*
 * Should a client that was closed with this code come back by itself? Known
 * codes by the table, unknown ones by range: 4000 to 4499 yes, others no. 1006
 * (no close frame seen) is yes.
 */
bool ff_close_can_come_back(int code);

/* May the same request succeed later as it is? */
bool ff_error_can_retry(int code);

#endif
