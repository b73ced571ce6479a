/* SPDX-License-Identifier: Apache-2.0 */
/* Where a Redis is, as an operator writes it, and what a log says of that. */
#include "broker/redis/url.h"
#include "tests/support/test.h"

#define X8(text)   text text text text text text text text
#define X128(text) X8(X8(text)) X8(X8(text))

struct good {
    const char *text;
    struct redis_url url;
    const char *written;
};

static const struct good good[] = {
    {"redis://localhost", {.host = "localhost", .port = 6379}, "redis://localhost:6379"},
    {"redis://localhost/", {.host = "localhost", .port = 6379}, "redis://localhost:6379"},
    {"REDIS://Db-1.example_x.org:7000/15",
     {.host = "Db-1.example_x.org", .port = 7000, .db = 15},
     "redis://Db-1.example_x.org:7000/15"},
    {"redis://127.0.0.1:1/0", {.host = "127.0.0.1", .port = 1}, "redis://127.0.0.1:1"},
    {"redis://h:65535/65535", {.host = "h", .port = 65535, .db = 65535}, "redis://h:65535/65535"},
    {"redis://[::1]", {.host = "::1", .port = 6379}, "redis://[::1]:6379"},
    {"redis://[2001:db8::9]:7/2",
     {.host = "2001:db8::9", .port = 7, .db = 2},
     "redis://[2001:db8::9]:7/2"},
    {"redis://:secret@h", {.host = "h", .port = 6379, .password = "secret"}, "redis://h:6379"},
    {"redis://anna:secret@h:7",
     {.host = "h", .port = 7, .user = "anna", .password = "secret"},
     "redis://h:7"},
    {"redis://a%40b:%2f%3A%25%2C%3f@h",
     {.host = "h", .port = 6379, .user = "a@b", .password = "/:%,?"},
     "redis://h:6379"},
    {"redis://anna:a@b:c@h", /* the last one counts, and the first colon */
     {.host = "h", .port = 6379, .user = "anna", .password = "a@b:c"},
     "redis://h:6379"},
    {"redis://:\xc3\xa9@h", {.host = "h", .port = 6379, .password = "\xc3\xa9"}, "redis://h:6379"},
    {"redis://:@h", {.host = "h", .port = 6379}, "redis://h:6379"},
    {"redis://@h", {.host = "h", .port = 6379}, "redis://h:6379"},
    {"unix:///run/redis.sock",
     {.path = "/run/redis.sock", .port = 6379, .is_unix = true},
     "unix:///run/redis.sock"},
    {"redis+unix:///run/redis.sock?db=3",
     {.path = "/run/redis.sock", .port = 6379, .db = 3, .is_unix = true},
     "unix:///run/redis.sock?db=3"},
    {"unix://anna:secret@/run/%3f%2c%25%20x@y",
     {.path = "/run/?,% x@y", .port = 6379, .user = "anna", .password = "secret", .is_unix = true},
     "unix:///run/%3F%2C%25%20x@y"},
};

static void what_is_written_is_what_is_meant(void **state)
{
    struct redis_url url;
    struct redis_url again;
    char why[REDIS_WHY_MAX];
    char written[REDIS_URL_MAX];

    (void)state;
    for (size_t i = 0; i < FF_COUNT(good); i++) {
        const struct redis_url *wanted = &good[i].url;

        print_message("    %s\n", good[i].text);
        assert_true(redis_url_parse(&url, good[i].text, why));
        assert_string_equal(url.host, wanted->host);
        assert_string_equal(url.path, wanted->path);
        assert_string_equal(url.user, wanted->user);
        assert_string_equal(url.password, wanted->password);
        assert_int_equal(url.port, wanted->port);
        assert_int_equal(url.db, wanted->db);
        assert_int_equal(url.is_unix, wanted->is_unix);
        assert_false(url.is_tls);
        redis_url_write(&url, written);
        assert_string_equal(written, good[i].written);
        assert_true(redis_url_parse(&again, written, why));
        assert_int_equal(again.port, url.port);
        assert_string_equal(again.host, url.host);
        assert_string_equal(again.path, url.path);
        assert_string_equal(again.password, "");
    }
}

static const struct {
    const char *text;
    const char *why; /* a part of it */
} bad[] = {
    {"", "is no URL"},
    {"localhost:6379", "is no URL"},
    {"http://localhost", "is no URL"},
    {"redis:/localhost", "is no URL"},
    {"rediss://h", "TLS to Redis (rediss://) is not there yet"},
    {"RedisS://h", "not there yet"},
    {"redis-sentinel://h", "Sentinel is not there yet"},
    {"redis+sentinel://h", "Sentinel is not there yet"},
    {"redis://a,redis://b", "more than one Redis is not there yet"},
    {"redis://a:1,b:2", "more than one Redis is not there yet"},
    {"redis://", "names no host"},
    {"redis:///3", "names no host"},
    {"redis://:6379", "names no host"},
    {"redis://h h", "names no host"},
    {"redis://h?db=3", "names no host"},
    {"redis://::1", "names no host"},
    {"redis://:pass/word@h", "names no host"},
    {"redis://[::1", "no IPv6"},
    {"redis://[]", "no IPv6"},
    {"redis://[127.0.0.1]", "no IPv6"},
    {"redis://[::1]7", "no IPv6"},
    {"redis://h:", "a port"},
    {"redis://h:0", "a port"},
    {"redis://h:65536", "a port"},
    {"redis://h:-1", "a port"},
    {"redis://h:7x", "a port"},
    {"redis://[::1]:", "a port"},
    {"redis://h/x", "a database"},
    {"redis://h/-1", "a database"},
    {"redis://h/65536", "a database"},
    {"redis://h/1/", "a database"},
    {"redis://h/4294967296", "a database"},
    {"redis://h/0?db=3", "behind a ?"},
    {"redis://secret@h", "a user without a password"},
    {"redis://:secret%@h", "has a password with a control"},
    {"redis://:secret%2@h", "has a password with a control"},
    {"redis://:secret%zz@h", "has a password with a control"},
    {"redis://:secret%00@h", "has a password with a control"},
    {"redis://:sec\nret@h", "has a password with a control"},
    {"redis://us%0der:secret@h", "has a user with a control"},
    {"redis://:" X128("xx") "@h", "a password of more than 255"},
    {"redis://" X128("x") ":secret@h", "a user of more than 127"},
    {"redis://" X128("xx"), "names no host"},
    {"unix://", "names no path"},
    {"unix:///", "names no path"},
    {"unix://relative", "names no path"},
    {"unix://secret@relative", "a user without"},
    {"unix:///run/redis.sock?", "something else than db=N"},
    {"unix:///run/redis.sock?database=1", "something else than db=N"},
    {"unix:///run/redis.sock?db=", "a database"},
    {"unix:///" X128("x"), "a path of more than 107"},
};

static void what_is_wrong_is_told_without_a_secret(void **state)
{
    struct redis_url url;

    (void)state;
    for (size_t i = 0; i < FF_COUNT(bad); i++) {
        char why[REDIS_WHY_MAX] = "";

        print_message("    %.60s\n", bad[i].text);
        assert_false(redis_url_parse(&url, bad[i].text, why));
        if (!strstr(why, bad[i].why))
            fail_msg("it says: %s", why);
        assert_null(strstr(why, "secret"));
        assert_null(strstr(why, "word@"));
        assert_true(strlen(why) < REDIS_WHY_MAX - 1);
    }
}

static void what_just_fits_is_taken(void **state)
{
    struct redis_url url;
    char why[REDIS_WHY_MAX];
    char text[REDIS_USER_MAX + REDIS_PASSWORD_MAX + REDIS_HOST_MAX + 64];
    char written[REDIS_URL_MAX];

    (void)state;
    (void)snprintf(text, sizeof(text), "redis://%0*d:%0*d@%0*d", REDIS_USER_MAX - 1, 1,
                   REDIS_PASSWORD_MAX - 1, 2, REDIS_HOST_MAX - 1, 3);
    assert_true(redis_url_parse(&url, text, why));
    assert_int_equal(strlen(url.user), REDIS_USER_MAX - 1);
    assert_int_equal(strlen(url.password), REDIS_PASSWORD_MAX - 1);
    assert_int_equal(strlen(url.host), REDIS_HOST_MAX - 1);
    /* The longest there is: each octet of the path escaped. */
    (void)snprintf(text, sizeof(text), "unix:///%s?db=65535", X8(X8("%20")));
    assert_true(redis_url_parse(&url, text, why));
    memset(url.path + 1, ' ', REDIS_PATH_MAX - 2);
    redis_url_write(&url, written);
    assert_true(redis_url_parse(&url, written, why));
    assert_int_equal(strlen(url.path), REDIS_PATH_MAX - 1);
    assert_int_equal(url.db, 65535);
}

static void no_text_is_read_past_its_end(void **state)
{
    struct edge_page edge = edge_page_new(1024);
    struct redis_url url;
    char why[REDIS_WHY_MAX];

    (void)state;
    for (size_t i = 0; i < FF_COUNT(good); i++) {
        size_t len = strlen(good[i].text);

        for (size_t n = 0; n <= len; n++) { /* each beginning of it is a URL, or none */
            char text[256];

            (void)snprintf(text, sizeof(text), "%.*s", (int)n, good[i].text);
            why[0] = '\0';
            if (!redis_url_parse(&url, (const char *)edge_page_put(edge, text, n + 1), why))
                assert_true(strlen(why) > 0);
        }
    }
    edge_page_free(edge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_what_is_meant),
        cmocka_unit_test(what_is_wrong_is_told_without_a_secret),
        cmocka_unit_test(what_just_fits_is_taken),
        cmocka_unit_test(no_text_is_read_past_its_end),
    };

    return cmocka_run_group_tests_name("redis_url", tests, NULL, NULL);
}
