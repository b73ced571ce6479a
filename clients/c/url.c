/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/url.h"

#include <stdio.h>
#include <string.h>

#include "protocol/base/bytes.h"

static bool copy(char *out, size_t size, struct ff_slice text)
{
    if (text.len >= size)
        return false;
    memcpy(out, text.at, text.len);
    out[text.len] = '\0';
    return true;
}

/* host, host:port, [ipv6] or [ipv6]:port */
static bool take_authority(struct ff_url *url, struct ff_slice authority)
{
    struct ff_slice rest = authority;
    struct ff_slice host;
    unsigned number = 0;

    if (!authority.len || !copy(url->authority, sizeof(url->authority), authority))
        return false;
    if (authority.at[0] == '[') {
        rest = (struct ff_slice){authority.at + 1, authority.len - 1};
        host = ff_slice_cut(&rest, ']');
        if (!rest.at || (rest.len && rest.at[0] != ':'))
            return false;
        rest = rest.len ? (struct ff_slice){rest.at + 1, rest.len - 1} : (struct ff_slice){NULL, 0};
    } else {
        host = ff_slice_cut(&rest, ':');
    }
    if (!rest.at)
        rest = url->is_tls ? FF_SLICE("443") : FF_SLICE("80");
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.at[i] < '0' || rest.at[i] > '9')
            return false;
        number = number * 10 + (unsigned)(rest.at[i] - '0');
    }
    if (rest.len > 5 || number > UINT16_MAX)
        return false;
    return host.len && rest.len && copy(url->host, sizeof(url->host), host) &&
           copy(url->port, sizeof(url->port), rest);
}

enum ff_err ff_url_parse(struct ff_url *url, const char *text)
{
    size_t len;

    *url = (struct ff_url){.is_tls = strncmp(text, "wss://", 6) == 0};
    if (!url->is_tls && strncmp(text, "ws://", 5) != 0)
        return FF_EINVAL;
    text += url->is_tls ? 6 : 5;
    len = strcspn(text, "/?#");
    if (!take_authority(url, (struct ff_slice){text, len}))
        return FF_EINVAL;
    text += len;
    len = strcspn(text, "#");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ')
            return FF_EINVAL;
    if (len == 0)
        return copy(url->target, sizeof(url->target), FF_SLICE("/ws")) ? FF_OK : FF_EINVAL;
    if (text[0] == '?')
        return snprintf(url->target, sizeof(url->target), "/ws%.*s", (int)len, text) < FF_URL_MAX
                   ? FF_OK
                   : FF_EINVAL;
    return copy(url->target, sizeof(url->target), (struct ff_slice){text, len}) ? FF_OK : FF_EINVAL;
}
