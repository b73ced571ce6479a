/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void ff_check_failed(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "fanfare: check failed at %s:%d: %s\n", file, line, what);
    abort();
}
