/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - the console page that is served at `/`, out of the binary.
 *
 * Its Content-Security-Policy names the hashes of the page's own script and
 * style and allows nothing else, so a message that was put in as HTML by
 * mistake could still not run.
 */
#ifndef SESSION_CONSOLE_H
#define SESSION_CONSOLE_H

#include "protocol/base/bytes.h"

enum { CONSOLE_HEADERS_MAX = 512 };

struct console {
    struct ff_slice page;              /* static */
    struct ff_slice icon;              /* SVG; static */
    char headers[CONSOLE_HEADERS_MAX]; /* each with CRLF behind it */
};

void console_init(struct console *console);

#endif
