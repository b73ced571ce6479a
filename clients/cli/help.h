/* SPDX-License-Identifier: Apache-2.0 */
/* help.h - what `fanfare --help` and `fanfare COMMAND --help` teach. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

#include "clients/cli/options.h"

void help_print(FILE *out);

/* Of one command: what it does, its options, examples. */
void help_print_command(FILE *out, enum cli_command command);

#endif
