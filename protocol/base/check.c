/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/check.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 512 };

static void print(const char *text)
{
    (void)fputs(text, stderr);
}

static _Atomic(ff_check_fn *) tell = print;

void ff_check_tell(ff_check_fn *fn)
{
    tell = fn ? fn : print;
}

void ff_check_failed(const char *file, int line, const char *what)
{
    char text[TEXT_MAX];

    (void)snprintf(text, sizeof(text), "fanfare: check failed at %s:%d: %s\n", file, line, what);
    tell(text);
    abort();
}
