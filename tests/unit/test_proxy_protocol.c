/* SPDX-License-Identifier: Apache-2.0 */
/* The head of the PROXY protocol, and where and how the broker listens for those who speak it. */
#include <grp.h>

#include "broker/net/endpoint.h"
#include "broker/net/proxy_protocol.h"
#include "tests/support/test.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define HEAD(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

struct head {
    const uint8_t *bytes;
    size_t len;
};

static const char nobody[] = "";

/* Each with the octets that follow it, which are not the head's. */
static const struct {
    struct head head;
    size_t size;     /* 0: it is none */
    const char *who; /* `nobody`: the proxy speaks for itself */
} cases[] = {
    {HEAD("PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\nGET /"), 41, "192.0.2.9:4711"},
    {HEAD("PROXY TCP6 2001:db8::9 ::1 4711 443\r\n\x16\x03"), 37, "[2001:db8::9]:4711"},
    {HEAD("PROXY UNKNOWN\r\nGET"), 15, nobody},
    {HEAD("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), 35, nobody},
    {HEAD("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), 56,
     "255.255.255.255:65535"},
    {HEAD(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\x09\xc0\0\2\1\x12\x67\1\xbbGET"), 28, "192.0.2.9:4711"},
    {HEAD(SIGNATURE "\x21\x11\0\x0f\xc0\0\2\x09\xc0\0\2\1\x12\x67\1\xbb\4\0\0GET"), 31,
     "192.0.2.9:4711"}, /* a TLV behind it */
    {HEAD(SIGNATURE "\x21\x12\0\x0c\xc0\0\2\x09\xc0\0\2\1\x12\x67\1\xbb"), 28, "192.0.2.9:4711"},
    {HEAD(SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09"
                    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x12\x67\1\xbb"),
     52, "[2001:db8::9]:4711"},
    {HEAD(SIGNATURE "\x20\0\0\0GET"), 16, nobody},
    {HEAD(SIGNATURE "\x20\x11\0\x0c\xc0\0\2\x09\xc0\0\2\1\x12\x67\1\xbb"), 28, nobody}, /* LOCAL */
    {HEAD(SIGNATURE "\x21\0\0\3abcGET"), 19, nobody},                                   /* UNSPEC */
    {HEAD("GET / HTTP/1.1\r\n"), 0, NULL},
    {HEAD("\x16\x03\x01\x02\0\1"), 0, NULL},
    {HEAD("PROXY\r\n"), 0, NULL},
    {HEAD("PROXY \r\n"), 0, NULL},
    {HEAD("proxy TCP4 192.0.2.9 192.0.2.1 1 2\r\n"), 0, NULL},
    {HEAD("PROXY TCP4 192.0.2.9 192.0.2.1 1 2\n"), 0, NULL},
    {HEAD("PROXY TCP4 192.0.2.9 192.0.2.1 1\r\n"), 0, NULL},
    {HEAD("PROXY TCP4 192.0.2.9 192.0.2.1 1 2 3\r\n"), 0, NULL},
    {HEAD("PROXY TCP4  192.0.2.9 192.0.2.1 1 2\r\n"), 0, NULL},
    {HEAD("PROXY TCP4 192.0.2.9 192.0.2.1 1 65536\r\n"), 0, NULL},
    {HEAD("PROXY TCP4 192.0.2.9 192.0.2.1 -1 2\r\n"), 0, NULL},
    {HEAD("PROXY TCP4 ::1 ::1 1 2\r\n"), 0, NULL},
    {HEAD("PROXY TCP6 192.0.2.9 ::1 1 2\r\n"), 0, NULL},
    {HEAD("PROXY TCP4 localhost 192.0.2.1 1 2\r\n"), 0, NULL},
    {HEAD("PROXY UDP4 192.0.2.9 192.0.2.1 1 2\r\n"), 0, NULL},
    {HEAD("PROXY UNKNOWN "
          "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
          "xxxxxxxxxxxxxxxxxxx\r\n"),
     0, NULL},                                                           /* 113 octets */
    {HEAD(SIGNATURE "\x11\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"), 0, NULL}, /* version 1 in binary */
    {HEAD(SIGNATURE "\x22\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"), 0, NULL}, /* no such command */
    {HEAD(SIGNATURE "\x21\x11\0\x0b\0\0\0\0\0\0\0\0\0\0\0"), 0, NULL},   /* too short for IPv4 */
    {HEAD(SIGNATURE "\x21\x21\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0"), 0, NULL}, /* and for IPv6 */
    {HEAD(SIGNATURE "\x21\x41\0\0"), 0, NULL},                           /* no such family */
    {HEAD(SIGNATURE "\x21\x11\xff\xff"), 0, NULL},                       /* longer than we take */
    {HEAD("\r\n\r\nGET / HTTP/1.1\r\n"), 0, NULL},
};

static void heads_are_read_to_their_end_and_not_farther(void **state)
{
    struct edge_page edge = edge_page_new(512);

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        int size = 0;

        print_message("    %zu\n", i);
        for (size_t n = 1; n <= cases[i].head.len; n++) { /* octet by octet, however they come */
            struct proxy_head head;
            uint8_t *at = edge_page_put(edge, (const char *)cases[i].head.bytes, n);
            char who[ADDRESS_TEXT_MAX];

            size = proxy_protocol_read(&head, at, n);
            if (cases[i].size == 0) {
                assert_true(size <= 0);
                if (size < 0)
                    break;
                continue;
            }
            assert_int_equal(size, n < cases[i].size ? 0 : (int)cases[i].size);
            if (n < cases[i].size)
                continue;
            assert_int_equal(head.has_client, cases[i].who != nobody);
            if (!head.has_client)
                continue;
            address_text(&head.client, true, who);
            assert_string_equal(who, cases[i].who);
        }
        assert_true(cases[i].size || size < 0);
    }
    edge_page_free(edge);
}

static void endpoints_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        const char *address; /* NULL: refused, */
        const char *what;    /* with this; else "tls", "proxy", "localhost", "MODE GROUP" */
    } table[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", ""},
        {"tls:[::]:443", "[::]:443", "tls "},
        {"proxy:0.0.0.0:8080", "0.0.0.0:8080", "proxy "},
        {"tls:proxy:0.0.0.0:1", "0.0.0.0:1", "tls proxy "},
        {"proxy:tls:0.0.0.0:1", "0.0.0.0:1", "tls proxy "},
        {"localhost:8080", "127.0.0.1:8080", "localhost "},
        {"tls:localhost:8080", "127.0.0.1:8080", "tls localhost "},
        {"unix:/tmp/x", "unix:/tmp/x", ""},
        {"unix:/tmp/x,mode=0660", "unix:/tmp/x", "mode=660 "},
        {"unix:/tmp/x, group=0, mode=777", "unix:/tmp/x", "mode=777 group=0 "},
        {"unix:/tmp/x,group=root", "unix:/tmp/x", "group=0 "},
        {"proxy:unix:/tmp/x,mode=600", "unix:/tmp/x", "proxy mode=600 "},
        {"tls:tls:0.0.0.0:1", NULL, "is no address"},
        {"localhost", NULL, "localhost:PORT"},
        {"localhost:x", NULL, "is no address"},
        {"localhost.example:80", NULL, "is no address"},
        {"app.example:80", NULL, "numeric"},
        {"unix:", NULL, "is no address"},
        {"unix:,mode=0660", NULL, "is no address"},
        {"unix:/tmp/x,mode=0999", NULL, "octal"},
        {"unix:/tmp/x,mode=rw", NULL, "octal"},
        {"unix:/tmp/x,mode=", NULL, "octal"},
        {"unix:/tmp/x,mode=1777", NULL, "octal"},
        {"unix:/tmp/x,group=no such group", NULL, "no group"},
        {"unix:/tmp/x,group=", NULL, "no group"},
        {"unix:/tmp/x,user=root", NULL, "\"user=root\" is not known"},
        {"unix:/tmp/x,", NULL, "is not known"},
        {"0.0.0.0:80,mode=0660", NULL, "Unix sockets"},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(table); i++) {
        struct endpoint e;
        char why[ENDPOINT_WHY_MAX] = "";
        char address[ADDRESS_TEXT_MAX];
        char what[128];
        int len;

        print_message("    %s\n", table[i].text);
        assert_int_equal(endpoint_parse(&e, table[i].text, why), table[i].address != NULL);
        if (!table[i].address) {
            assert_non_null(strstr(why, table[i].what));
            continue;
        }
        address_text(&e.address, true, address);
        assert_string_equal(address, table[i].address);
        len = snprintf(what, sizeof(what), "%s%s%s", e.is_tls ? "tls " : "",
                       e.is_proxied ? "proxy " : "", e.is_localhost ? "localhost " : "");
        if (e.access.has_mode)
            len += snprintf(what + len, sizeof(what) - (size_t)len, "mode=%o ",
                            (unsigned)e.access.mode);
        if (e.access.has_group)
            (void)snprintf(what + len, sizeof(what) - (size_t)len, "group=%u ",
                           (unsigned)e.access.group);
        assert_string_equal(what, table[i].what);
    }
}

static void a_list_of_endpoints_is_cut_between_them(void **state)
{
    struct ff_slice rest = FF_SLICE("a,unix:/x,mode=0660, group=g ,,unix:/y,modest,group=z,b");
    static const char *const parts[] = {
        "a", "unix:/x,mode=0660, group=g ", "", "unix:/y", "modest,group=z", "b"};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(parts); i++) {
        assert_non_null(rest.at);
        assert_true(ff_slice_is_equal(endpoint_cut(&rest), ff_slice_of(parts[i])));
    }
    assert_null(rest.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_read_to_their_end_and_not_farther),
        cmocka_unit_test(endpoints_are_read_as_people_write_them),
        cmocka_unit_test(a_list_of_endpoints_is_cut_between_them),
    };

    return cmocka_run_group_tests_name("proxy_protocol", tests, NULL, NULL);
}
