/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/redis/url.h"

#include <stdio.h>

#include "broker/net/address.h"

enum { DIGITS_MOST = 5 };

static const struct {
    const char *name;
    bool is_unix;
    const char *refusal; /* NULL: it is spoken */
} schemes[] = {
    {"redis://", false, NULL},
    {"redis+unix://", true, NULL},
    {"unix://", true, NULL},
    {"rediss://", false,
     "TLS to Redis (rediss://) is not there yet: use redis:// or a Unix socket"},
    {"redis-sentinel://", false, "Redis Sentinel is not there yet: name the master by redis://"},
    {"redis+sentinel://", false, "Redis Sentinel is not there yet: name the master by redis://"},
};

static bool refuse(char *why, const char *text)
{
    (void)snprintf(why, REDIS_WHY_MAX, "%s", text);
    return false;
}

static bool cut_scheme(struct redis_url *url, struct ff_slice *rest, char *why)
{
    for (size_t i = 0; i < FF_COUNT(schemes); i++) {
        struct ff_slice name = ff_slice_of(schemes[i].name);

        if (rest->len < name.len ||
            !ff_slice_is_equal_nocase((struct ff_slice){rest->at, name.len}, name))
            continue;
        rest->at += name.len;
        rest->len -= name.len;
        url->is_unix = schemes[i].is_unix;
        return !schemes[i].refusal || refuse(why, schemes[i].refusal);
    }
    return refuse(why, "is no URL of a Redis: write redis://HOST:PORT or unix:///PATH");
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `size` octets of room with the NUL. */
static bool unescape(struct ff_slice from, char *out, size_t size, const char *what, char *why)
{
    size_t len = 0;

    for (size_t i = 0; i < from.len; i++) {
        int c = (unsigned char)from.at[i];

        if (c == '%') {
            int high = i + 2 < from.len ? hex_of(from.at[i + 1]) : -1;
            int low = i + 2 < from.len ? hex_of(from.at[i + 2]) : -1;

            c = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (c < ' ' || c == 0x7f || len + 1 >= size) {
            (void)snprintf(why, REDIS_WHY_MAX,
                           len + 1 >= size
                               ? "has a %s of more than %zu octets"
                               : "has a %s with a control character or a %% that is followed by no "
                                 "two hex digits (a %% itself is written %%25)",
                           what, size - 1);
            return false;
        }
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return true;
}

/* Of digits alone, at most `most`. */
static bool parse_number(struct ff_slice text, uint32_t most, uint32_t *number)
{
    *number = 0;
    if (text.len == 0 || text.len > DIGITS_MOST)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        *number = *number * 10 + (uint32_t)(text.at[i] - '0');
    }
    return *number <= most;
}

static bool take_db(struct redis_url *url, struct ff_slice text, char *why)
{
    return parse_number(text, REDIS_DB_MAX, &url->db) ||
           refuse(why, "has a database that is no number from 0 to " FF_DIGITS(65535));
}

/* What stands before the last '@'. */
static bool take_user(struct redis_url *url, struct ff_slice text, char *why)
{
    struct ff_slice password = text;
    struct ff_slice user = ff_slice_cut(&password, ':');

    if (!password.at)
        return user.len == 0 ||
               refuse(why, "has a user without a password: write USER:PASSWORD@, or :PASSWORD@ for "
                           "the default user");
    return unescape(user, url->user, sizeof(url->user), "user", why) &&
           unescape(password, url->password, sizeof(url->password), "password", why);
}

/* Cuts user and password off the front, where they are. */
static bool cut_user(struct redis_url *url, struct ff_slice *rest, char *why)
{
    const char *slash = rest->len ? memchr(rest->at, '/', rest->len) : NULL;
    size_t len = slash ? (size_t)(slash - rest->at) : rest->len;
    const char *at = len ? memrchr(rest->at, '@', len) : NULL;
    struct ff_slice user = *rest;

    if (!at)
        return true;
    user.len = (size_t)(at - rest->at);
    rest->at += user.len + 1;
    rest->len -= user.len + 1;
    return take_user(url, user, why);
}

static bool is_host_name(struct ff_slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.at[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            c != '-' && c != '_' && c != '.')
            return false;
    }
    return host.len > 0;
}

/* "host", "host:port", "[::1]" or "[::1]:port". */
static bool take_host(struct redis_url *url, struct ff_slice authority, char *why)
{
    struct ff_slice port = authority;
    struct ff_slice host;
    struct address address;
    uint32_t number = REDIS_PORT;

    if (authority.len && authority.at[0] == '[') {
        host = ff_slice_cut(&port, ']');
        if (!port.at || address_parse_ip(&address, (struct ff_slice){host.at + 1, host.len - 1}) ||
            address.storage.ss_family != AF_INET6 || (port.len && port.at[0] != ':'))
            return refuse(why, "has no IPv6 address in its brackets: write redis://[::1]:6379");
        host = (struct ff_slice){host.at + 1, host.len - 1};
        port = port.len ? (struct ff_slice){port.at + 1, port.len - 1} : (struct ff_slice){NULL, 0};
    } else {
        host = ff_slice_cut(&port, ':');
        if (!is_host_name(host) || host.len >= sizeof(url->host))
            return refuse(why, "names no host: write redis://[USER:PASSWORD@]HOST[:PORT][/DB], and "
                               "%40 %2F %3A for @ / : in a password");
    }
    if (port.at && (!parse_number(port, UINT16_MAX, &number) || number == 0))
        return refuse(why, "has a port that is no number from 1 to 65535");
    memcpy(url->host, host.at, host.len);
    url->port = (uint16_t)number;
    return true;
}

static bool parse_tcp(struct redis_url *url, struct ff_slice rest, char *why)
{
    struct ff_slice authority = ff_slice_cut(&rest, '/');

    if (!take_host(url, authority, why))
        return false;
    if (rest.len == 0)
        return true;
    if (memchr(rest.at, '?', rest.len))
        return refuse(why,
                      "has something behind a ?: the database is written redis://HOST:PORT/DB");
    return take_db(url, rest, why);
}

static bool parse_unix(struct redis_url *url, struct ff_slice rest, char *why)
{
    struct ff_slice path = ff_slice_cut(&rest, '?');

    if (path.len < 2 || path.at[0] != '/')
        return refuse(why, "names no path: write unix:///run/redis/redis.sock?db=0");
    if (!unescape(path, url->path, sizeof(url->path), "path", why))
        return false;
    if (!rest.at)
        return true;
    if (rest.len < 3 || memcmp(rest.at, "db=", 3) != 0)
        return refuse(why, "has something else than db=N behind its ?");
    return take_db(url, (struct ff_slice){rest.at + 3, rest.len - 3}, why);
}

bool redis_url_parse(struct redis_url *url, const char *text, char why[REDIS_WHY_MAX])
{
    struct ff_slice rest = ff_slice_of(text);

    *url = (struct redis_url){.port = REDIS_PORT};
    if (!cut_scheme(url, &rest, why))
        return false;
    if (rest.len && memchr(rest.at, ',', rest.len))
        return refuse(why, "has a comma: more than one Redis is not there yet (a comma in a "
                           "password or a path is written %2C)");
    if (!cut_user(url, &rest, why))
        return false;
    return url->is_unix ? parse_unix(url, rest, why) : parse_tcp(url, rest, why);
}

/* The octets of a path that mean something else in a URL are escaped. */
static void write_path(const char *path, char out[REDIS_PATH_MAX * 3])
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = 0;

    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;

        if (c > ' ' && c < 0x7f && !strchr("%?#,", c)) {
            out[len++] = (char)c;
            continue;
        }
        out[len++] = '%';
        out[len++] = hex[c >> 4];
        out[len++] = hex[c & 15];
    }
    out[len] = '\0';
}

void redis_url_write(const struct redis_url *url, char out[REDIS_URL_MAX])
{
    bool is_ipv6 = strchr(url->host, ':') != NULL;
    char path[REDIS_PATH_MAX * 3];
    char db[16] = "";

    if (url->db)
        (void)snprintf(db, sizeof(db), "%s%u", url->is_unix ? "?db=" : "/", (unsigned)url->db);
    write_path(url->path, path);
    if (url->is_unix)
        (void)snprintf(out, REDIS_URL_MAX, "unix://%s%s", path, db);
    else
        (void)snprintf(out, REDIS_URL_MAX, "redis://%s%s%s:%u%s", is_ipv6 ? "[" : "", url->host,
                       is_ipv6 ? "]" : "", (unsigned)url->port, db);
}
