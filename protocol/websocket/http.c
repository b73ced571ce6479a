/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket/http.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"

/* Octets of the empty lines that these begin with. */
static size_t count_empty_lines(const char *bytes, size_t len)
{
    size_t n = 0;

    while (n + 1 < len && bytes[n] == '\r' && bytes[n + 1] == '\n')
        n += 2;
    return n;
}

/* Too long: is it the request line, or what stands below it? */
static int judge_length(const char *bytes, size_t max)
{
    size_t begin = count_empty_lines(bytes, max);

    return begin < max && !memchr(bytes + begin, '\n', max - begin) ? -414 : -431;
}

int ff_http_find_end(const char *bytes, size_t len, size_t *from, size_t max)
{
    size_t i = *from;
    size_t begin = count_empty_lines(bytes, i); /* of the request line, as far as it was looked */

    for (; i < len && i < max; i++) {
        if (bytes[i] == '\0')
            return -400;
        if (bytes[i] != '\n')
            continue;
        if (i == 0 || bytes[i - 1] != '\r')
            return -400;
        if (i == begin + 1)
            begin += 2;
        else if (bytes[i - 2] == '\n')
            return (int)(i + 1);
    }
    *from = i;
    return i < max ? 0 : judge_length(bytes, max);
}

/* tchar of RFC 9110, section 5.6.2. */
static bool is_token_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct ff_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char(s.at[i]))
            return false;
    return s.len > 0;
}

static bool has_control(struct ff_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.at[i] < ' ' && s.at[i] != '\t') || s.at[i] == 0x7f)
            return true;
    return false;
}

/* Cuts a line ending in CRLF off the front of `rest`; false if there is none. */
static bool cut_line(struct ff_slice *rest, struct ff_slice *line)
{
    const char *end = rest->len ? memchr(rest->at, '\n', rest->len) : NULL;

    if (!end || end == rest->at || end[-1] != '\r')
        return false;
    *line = (struct ff_slice){rest->at, (size_t)(end - rest->at) - 1};
    rest->len -= line->len + 2;
    rest->at = end + 1;
    return true;
}

static int parse_headers(struct ff_http_head *head, struct ff_slice rest)
{
    struct ff_slice line;

    head->count = 0;
    for (;;) {
        struct ff_http_header *header = &head->headers[head->count];

        if (!cut_line(&rest, &line))
            return -400;
        if (line.len == 0)
            return rest.len == 0 ? 0 : -400;
        if (head->count == FF_HTTP_HEADERS_MAX)
            return -431;
        if (!memchr(line.at, ':', line.len))
            return -400;
        header->name = ff_slice_cut(&line, ':');
        header->value = ff_slice_trim(line);
        if (!is_token(header->name) || has_control(header->value))
            return -400;
        head->count++;
    }
}

static int parse_version(struct ff_slice version)
{
    if (ff_slice_is_equal(version, FF_SLICE("HTTP/1.1")))
        return 1;
    return ff_slice_is_equal(version, FF_SLICE("HTTP/1.0")) ? 0 : -1;
}

static bool cut_scheme(struct ff_slice *target)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};

    for (size_t i = 0; i < FF_COUNT(schemes); i++) {
        struct ff_slice scheme = ff_slice_of(schemes[i]);

        if (target->len < scheme.len ||
            !ff_slice_is_equal_nocase((struct ff_slice){target->at, scheme.len}, scheme))
            continue;
        target->at += scheme.len;
        target->len -= scheme.len;
        return true;
    }
    return false;
}

/* From absolute form the authority is taken away. False: it is neither that nor origin form. */
static bool take_target(struct ff_http_head *head, struct ff_slice target)
{
    size_t len = 0;

    head->authority = (struct ff_slice){NULL, 0};
    head->target = target;
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.at[i] <= ' ' || (unsigned char)target.at[i] >= 0x7f)
            return false;
    if (target.len && target.at[0] == '/')
        return true;
    if (!cut_scheme(&target))
        return false;
    while (len < target.len && target.at[len] != '/' && target.at[len] != '?')
        len++;
    head->authority = (struct ff_slice){target.at, len};
    head->target = (struct ff_slice){target.at + len, target.len - len};
    if (head->target.len == 0)
        head->target = FF_SLICE("/");
    /* Who puts a user's name there means to hide the host behind it (RFC 9110, 4.2.4). */
    return len > 0 && !memchr(head->authority.at, '@', len);
}

int ff_http_parse_request(struct ff_http_head *head, const char *bytes, size_t len)
{
    size_t begin = count_empty_lines(bytes, len);
    struct ff_slice rest = {bytes + begin, len - begin};
    struct ff_slice line;
    struct ff_slice target;

    if (!cut_line(&rest, &line))
        return -400;
    head->status = 0;
    head->method = ff_slice_cut(&line, ' ');
    target = ff_slice_cut(&line, ' ');
    head->minor_version = parse_version(line);
    if (!is_token(head->method) || head->minor_version < 0 || !take_target(head, target))
        return -400;
    return parse_headers(head, rest);
}

int ff_http_parse_response(struct ff_http_head *head, const char *bytes, size_t len)
{
    struct ff_slice rest = {bytes, len};
    struct ff_slice line;
    struct ff_slice code;

    if (!cut_line(&rest, &line))
        return -400;
    *head = (struct ff_http_head){.minor_version = parse_version(ff_slice_cut(&line, ' '))};
    code = ff_slice_cut(&line, ' ');
    if (head->minor_version < 0 || code.len != 3)
        return -400;
    for (size_t i = 0; i < 3; i++) {
        if (code.at[i] < '0' || code.at[i] > '9')
            return -400;
        head->status = head->status * 10 + (code.at[i] - '0');
    }
    return parse_headers(head, rest);
}

const struct ff_http_header *ff_http_find(const struct ff_http_head *head, const char *name,
                                          size_t *count)
{
    const struct ff_http_header *first = NULL;
    size_t found = 0;

    for (size_t i = 0; i < head->count; i++) {
        if (!ff_slice_is_equal_nocase(head->headers[i].name, ff_slice_of(name)))
            continue;
        if (found++ == 0)
            first = &head->headers[i];
    }
    if (count)
        *count = found;
    return first;
}

bool ff_http_has_token(const struct ff_http_head *head, const char *name, const char *token)
{
    for (size_t i = 0; i < head->count; i++) {
        struct ff_slice rest = head->headers[i].value;

        if (!ff_slice_is_equal_nocase(head->headers[i].name, ff_slice_of(name)))
            continue;
        while (rest.at)
            if (ff_slice_is_equal_nocase(ff_slice_trim(ff_slice_cut(&rest, ',')),
                                         ff_slice_of(token)))
                return true;
    }
    return false;
}

struct ff_slice ff_http_path(struct ff_slice target)
{
    struct ff_slice path = ff_slice_cut(&target, '?');

    return path.len ? path : FF_SLICE("/");
}

struct ff_slice ff_http_query(struct ff_slice target, const char *name)
{
    (void)ff_slice_cut(&target, '?');
    while (target.at) {
        struct ff_slice pair = ff_slice_cut(&target, '&');

        if (ff_slice_is_equal(ff_slice_cut(&pair, '='), ff_slice_of(name)))
            return pair.at ? pair : (struct ff_slice){"", 0};
    }
    return (struct ff_slice){NULL, 0};
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

long ff_http_percent_decode(char *out, struct ff_slice text)
{
    long n = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] != '%') {
            out[n++] = text.at[i];
            continue;
        }
        if (text.len - i < 3 || hex(text.at[i + 1]) < 0 || hex(text.at[i + 2]) < 0)
            return FF_EINVAL;
        out[n++] = (char)(hex(text.at[i + 1]) * 16 + hex(text.at[i + 2]));
        i += 2;
    }
    return n;
}

const char *ff_http_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {426, "Upgrade Required"},
        {431, "Request Header Fields Too Large"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < FF_COUNT(phrases); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Error";
}
