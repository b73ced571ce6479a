/* SPDX-License-Identifier: Apache-2.0 */
/* environment.h - the names of options in the environment: `max_message` is FANFARE_MAX_MESSAGE. */
#ifndef APP_ENVIRONMENT_H
#define APP_ENVIRONMENT_H

#include <stdbool.h>

#include "protocol/base/check.h"

#define ENVIRONMENT_PREFIX "FANFARE_"

enum { ENVIRONMENT_NAME_MAX = 64 };

void environment_name(const char *option, char name[ENVIRONMENT_NAME_MAX]);

/*
 * A variable that has the prefix and is no option was meant to do something. False:
 * `error` (CONFIG_ERROR_MAX octets) names one, and what may have been meant.
 */
FF_MUST_CHECK bool environment_check(char *error);

#endif
