/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/console.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "protocol/base/base64.h"

/* Made from console.html by the build. */
extern const char console_page[];
extern const unsigned long console_page_len;

enum { HASH_TEXT = 44 };

/* Browsers ask for /favicon.ico whatever the page says: a horn, and what comes out of it. */
static const char icon[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\">"
    "<rect width=\"32\" height=\"32\" rx=\"7\" fill=\"#1b5fd0\"/>"
    "<path d=\"M5 14h5l9-6v16l-9-6H5z\" fill=\"#fff\"/>"
    "<path d=\"M22 11.5a6 6 0 0 1 0 9M25 8.5a10 10 0 0 1 0 15\" fill=\"none\" stroke=\"#fff\" "
    "stroke-width=\"2\" stroke-linecap=\"round\"/></svg>\n";

/* The base64 SHA-256 of what stands between two marks of the page. */
static void hash_between(struct ff_slice page, const char *begin, const char *end,
                         char out[HASH_TEXT + 1])
{
    const char *from = memmem(page.at, page.len, begin, strlen(begin));
    const char *to =
        from ? memmem(from, page.len - (size_t)(from - page.at), end, strlen(end)) : NULL;
    unsigned char digest[SHA256_DIGEST_LENGTH];

    out[0] = '\0';
    if (!to)
        return;
    from += strlen(begin);
    (void)SHA256((const unsigned char *)from, (size_t)(to - from), digest);
    ff_base64_encode(out, digest, sizeof(digest));
    out[HASH_TEXT] = '\0';
}

void console_init(struct console *console)
{
    char script[HASH_TEXT + 1];
    char style[HASH_TEXT + 1];

    console->icon = (struct ff_slice){icon, sizeof(icon) - 1};
    console->page = (struct ff_slice){console_page, console_page_len};
    hash_between(console->page, "<script>", "</script>", script);
    hash_between(console->page, "<style>", "</style>", style);
    (void)snprintf(console->headers, sizeof(console->headers),
                   "Content-Security-Policy: default-src 'none'; script-src 'sha256-%s'; "
                   "style-src 'sha256-%s'; connect-src 'self' ws: wss:; img-src 'self' data:; "
                   "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
                   "X-Content-Type-Options: nosniff\r\n"
                   "Referrer-Policy: no-referrer\r\n"
                   "Cache-Control: no-cache\r\n",
                   script, style);
}
