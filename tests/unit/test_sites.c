/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a proxy names, for which site a request came, and which pages may ask for it. */
#include <arpa/inet.h>

#include "broker/session/forwarded.h"
#include "broker/session/origin.h"
#include "tests/support/test.h"

enum { TEXT = 4096 };

static void proxies_write_addresses_in_many_ways(void **state)
{
    static const struct {
        const char *text;
        const char *ip; /* NULL: nobody */
    } cases[] = {
        {"192.0.2.9", "192.0.2.9"},
        {" 192.0.2.9\t", "192.0.2.9"},
        {"192.0.2.9:4711", "192.0.2.9"},
        {"2001:db8::9", "2001:db8::9"},
        {"[2001:db8::9]", "2001:db8::9"},
        {"[2001:DB8::9]:4711", "2001:db8::9"},
        {"\"192.0.2.9\"", "192.0.2.9"},
        {"\"192.0.2.9:4711\"", "192.0.2.9"},
        {"\"[2001:db8::9]:4711\"", "2001:db8::9"},
        {"\"[2001:db8::9]:_secret.port-1\"", "2001:db8::9"},
        {"192.0.2.9:_x", "192.0.2.9"},
        {"2001:db8::9:4711", "2001:db8::9:4711"}, /* what else could it be? */
        {"unknown", NULL},
        {"_hidden", NULL},
        {"", NULL},
        {"\"\"", NULL},
        {"\"192.0.2.9", NULL},
        {"192.0.2.9:", NULL},
        {"192.0.2.9:x", NULL},
        {"192.0.2.9:123456", NULL},
        {":80", NULL},
        {"[192.0.2.9]:80", NULL},
        {"[2001:db8::9", NULL},
        {"[2001:db8::9]80", NULL},
        {"[]:80", NULL},
        {"[", NULL},
        {"app.example:80", NULL},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct address address;
        char text[ADDRESS_TEXT_MAX];
        bool is_good = address_parse_node(&address, ff_slice_of(cases[i].text)) == FF_OK;

        print_message("    %s\n", cases[i].text);
        assert_int_equal(is_good, cases[i].ip != NULL);
        if (!is_good)
            continue;
        address_text(&address, false, text);
        assert_string_equal(text, cases[i].ip);
    }
}

static void of_an_ipv6_address_a_prefix_stays(void **state)
{
    static const struct {
        const char *ip;
        unsigned bits;
        const char *left;
    } cases[] = {
        {"2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"},
        {"2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"},
        {"2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::"},
        {"2001:db8:1:ffff::", 51, "2001:db8:1:e000::"},
        {"ffff::", 1, "8000::"},
        {"::ffff:192.0.2.9", 64, "::ffff:192.0.2.9"}, /* an IPv4 address all the same */
        {"192.0.2.9", 1, "192.0.2.9"},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct address address;
        char text[ADDRESS_TEXT_MAX];

        assert_int_equal(address_parse_ip(&address, ff_slice_of(cases[i].ip)), FF_OK);
        address_mask_ipv6(&address, cases[i].bits);
        address_text(&address, false, text);
        assert_string_equal(text, cases[i].left);
    }
}

/* The proxy is 10.0.0.1, and so are all of 10.0.0.0/8. */
static void the_client_is_whom_the_last_of_ours_names(void **state)
{
    static const struct {
        const char *header;
        const char *lines;
        const char *client; /* NULL: nobody */
        const char *site;   /* "SCHEME HOST PORT", "-" for what is not told */
    } cases[] = {
        {"X-Forwarded-For", "", NULL, "- - -"},
        {"X-Forwarded-For", "X-Forwarded-For: 192.0.2.9\r\n", "192.0.2.9", "- - -"},
        {"x-forwarded-for", "X-FORWARDED-FOR: 6.6.6.6, 192.0.2.9, 10.1.1.1\r\n", "192.0.2.9",
         "- - -"},
        {"X-Forwarded-For",
         "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.9:1, 10.1.1.1:2\r\n", "192.0.2.9",
         "- - -"},
        {"X-Forwarded-For", "X-Forwarded-For: 192.0.2.9, unknown\r\n", NULL, "- - -"},
        {"X-Forwarded-For", "X-Forwarded-For: 10.1.1.1\r\n", NULL, "- - -"},
        {"X-Real-IP", "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 2001:db8::9\r\n", "2001:db8::9",
         "- - -"},
        {"CF-Connecting-IP", "CF-Connecting-IP: 192.0.2.9\r\n", "192.0.2.9", "- - -"},
        {"X-Forwarded-For",
         "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Host: app.example, inner\r\n"
         "X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Port: 443\r\n",
         "192.0.2.9", "HTTPS app.example 443"},
        {"X-Forwarded-For",
         "X-Forwarded-Proto: gopher\r\nX-Forwarded-Port: 99x\r\nX-Forwarded-Host:\r\n", NULL,
         "- - -"},
        {"X-Forwarded-For", "Forwarded: for=192.0.2.9;host=a\r\n", NULL, "- - -"},
        {"Forwarded", "Forwarded: for=192.0.2.9;proto=https;host=app.example\r\n", "192.0.2.9",
         "https app.example -"},
        {"Forwarded", "Forwarded: For=\"[2001:db8::9]:47\";Host=\"app.example:8443\" ; by=_x\r\n",
         "2001:db8::9", "- app.example:8443 -"},
        {"Forwarded",
         "Forwarded: for=6.6.6.6;host=evil, for=192.0.2.9;host=app.example, "
         "for=10.0.0.2;host=inner\r\n",
         "192.0.2.9", "- app.example -"},
        {"Forwarded",
         "Forwarded: for=6.6.6.6\r\nForwarded: for=\"x, for=1.1.1.1\\\", \", for=192.0.2.9\r\n",
         "192.0.2.9", "- - -"},
        {"Forwarded", "Forwarded: for=192.0.2.9, host=app.example\r\n", NULL, "- app.example -"},
        {"Forwarded", "Forwarded: for=\"192.0.2.9\r\n", NULL, "- - -"},
        {"Forwarded", "Forwarded: for=192.0.2.9\r\nX-Forwarded-Host: app.example\r\n", "192.0.2.9",
         "- app.example -"},
        {"Forwarded", "Forwarded: ;;=,;for\r\n", NULL, "- - -"},
    };
    static const char *const proxies[] = {"10.0.0.0/8"};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct settings settings = {.proxies = {proxies, 1}, .proxy_header = cases[i].header};
        struct ff_http_head head;
        struct forwarded f;
        char text[TEXT];
        int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\n", cases[i].lines);

        print_message("    %s: %s\n", cases[i].header, cases[i].lines);
        assert_int_equal(ff_http_parse_request(&head, text, (size_t)len), 0);
        forwarded_read(&f, &settings, &head);
        assert_int_equal(f.has_client, cases[i].client != NULL);
        assert_true((f.scheme.at || !f.scheme.len) && (f.port.at || !f.port.len) &&
                    (f.host.at || !f.host.len));
        if (f.has_client) {
            address_text(&f.client, false, text + TEXT / 2);
            assert_string_equal(text + TEXT / 2, cases[i].client);
        }
        (void)snprintf(text + TEXT / 2, TEXT / 2, "%.*s %.*s %.*s",
                       f.scheme.at ? (int)f.scheme.len : 1, f.scheme.at ? f.scheme.at : "-",
                       f.host.at ? (int)f.host.len : 1, f.host.at ? f.host.at : "-",
                       f.port.at ? (int)f.port.len : 1, f.port.at ? f.port.at : "-");
        assert_string_equal(text + TEXT / 2, cases[i].site);
    }
}

/* Each costs a look at all networks: who names a thousand proxies names nobody. */
static void only_so_many_hops_are_looked_at(void **state)
{
    static const char *const proxies[] = {"10.0.0.0/8"};
    struct settings settings = {.proxies = {proxies, 1}, .proxy_header = "X-Forwarded-For"};

    (void)state;
    for (int hops = FORWARDED_HOPS - 2; hops <= FORWARDED_HOPS + 1; hops++) {
        struct ff_http_head head;
        struct forwarded f;
        char text[TEXT];
        int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.9");

        for (int i = 0; i < hops; i++)
            len += snprintf(text + len, sizeof(text) - (size_t)len, ",10.0.0.%d", i);
        len += snprintf(text + len, sizeof(text) - (size_t)len, "\r\n\r\n");
        assert_int_equal(ff_http_parse_request(&head, text, (size_t)len), 0);
        forwarded_read(&f, &settings, &head);
        assert_int_equal(f.has_client, hops < FORWARDED_HOPS);
    }
}

static void entries_are_brought_into_a_form_that_can_match(void **state)
{
    static const struct {
        const char *text;
        const char *origin; /* as an entry of `origins`; "=...": refused, and this would be right */
        const char *host;   /* of `hosts` */
    } cases[] = {
        {"https://app.example", "https://app.example", "app.example"},
        {"https://app.example/", "https://app.example", "app.example"},
        {"https://app.example:443", "https://app.example", "app.example"},
        {"HTTPS://App.Example", "https://app.example", "app.example"},
        {"HTTPS://App.Example:443/", "https://app.example", "app.example"},
        {"http://app.example:80", "http://app.example", "app.example"},
        {"http://app.example:443", "http://app.example:443", "app.example:443"},
        {"https://app.example:8443", "https://app.example:8443", "app.example:8443"},
        {"http://[::1]:3000", "http://[::1]:3000", "[::1]:3000"},
        {"https://*.example.com", "https://*.example.com", "*.example.com"},
        {"https://*.Example.com:443/", "https://*.example.com", "*.example.com"},
        {"chrome-extension://abcdef", "chrome-extension://abcdef", "abcdef"},
        {"capacitor://localhost", "capacitor://localhost", "localhost"},
        {"null", "null", "null"},
        {"file://", "file://", "="},
        {"*", "*", "="},
        {"app.example", "=https://app.example", "app.example"},
        {"App.Example:8443", "=https://App.Example:8443", "app.example:8443"},
        {"app.example/", "=https://app.example", "app.example"},
        {"//app.example", "=", "="},
        {"wss://app.example/ws", "=https://app.example", "=app.example"},
        {"ws://app.example", "=http://app.example", "app.example"},
        {"https://app.example/chat", "=https://app.example", "=app.example"},
        {"http://app.example/chat", "=http://app.example", "=app.example"},
        {"https://app.example?x", "=https://app.example", "=app.example"},
        {"https://app.example:", "https://app.example", "app.example"},
        {"https://app.example:99999", "=", "="},
        {"https://user@app.example", "=", "="},
        {"https://app.example, https://b.example", "=", "="},
        {"https://b\xc3\xbc.example", "=ASCII", "="},
        {"https://", "=", "="},
        {"://app.example", "=", "="},
        {"", "=", "="},
        {"*.example.com", "=https://*.", "*.example.com"},
        {"https://*", "=https://*.", "=*."},
        {"https://*.", "=https://*.", "=*."},
        {"https://*.com", "=https://*.", "=*."},
        {"https://*.com.", "=https://*.", "=*."},
        {"https://*..com", "=https://*.", "=*."},
        {"https://*.0.0.1", "=https://*.", "=*."},
        {"https://a.*.com", "=https://*.", "=*."},
        {"https://*app.example.com", "=https://*.", "=*."},
        {"https://*.*.example.com", "=https://*.", "=*."},
        {"http://localhost:*", "=", "="},
        {"https://*:8443", "=https://*.", "=*."},
        {"https://a%b.example", "=", "="},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        for (int k = 0; k < 2; k++) {
            const char *want = k ? cases[i].host : cases[i].origin;
            char out[SITE_TEXT_MAX] = "";
            char why[SITE_WHY_MAX] = "";
            bool is_good = k ? site_read_host_entry(out, cases[i].text, why)
                             : site_read_origin_entry(out, cases[i].text, why);

            print_message("    %s: %s\n", cases[i].text, is_good ? out : why);
            assert_int_equal(is_good, want[0] != '=');
            if (is_good)
                assert_string_equal(out, want);
            else
                assert_non_null(strstr(why, want + 1));
            /* What is said would be right is right. */
            if (!is_good && strstr(why, ": write ")) {
                char said[SITE_WHY_MAX];

                (void)snprintf(said, sizeof(said), "%s", strstr(why, ": write ") + 8);
                said[strcspn(said, " ")] = '\0';
                assert_true(k ? site_read_host_entry(out, said, why)
                              : site_read_origin_entry(out, said, why));
            }
        }
    }
}

static void a_star_is_any_subdomain_and_not_the_domain(void **state)
{
    static const char *const entries[] = {"https://*.example.com", "https://*.example.com:8443"};
    static const struct {
        const char *origin;
        bool is_allowed;
    } cases[] = {
        {"https://a.example.com", true},       {"https://A.b.Example.com:443", true},
        {"https://x.example.com:8443", true},  {"https://example.com", false},
        {"https://.example.com", false},       {"https://evilexample.com", false},
        {"https://a.example.com.evil", false}, {"http://a.example.com", false},
        {"https://a.example.com:8444", false}, {"https://evil:1.example.com", false},
        {"https://evil/.example.com", false},
    };
    struct settings settings = {.origins = {entries, FF_COUNT(entries)}};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        print_message("    %s\n", cases[i].origin);
        assert_int_equal(origin_is_allowed(&settings, ff_slice_of(cases[i].origin),
                                           &(struct site){.host = FF_SLICE("broker.example")}),
                         cases[i].is_allowed);
    }
}

static void behind_a_proxy_its_word_for_the_site_holds(void **state)
{
    static const struct {
        const char *origin;
        const char *host; /* HOST[:PORT], by whomever it was told */
        const char *port;
        const char *scheme;
        bool is_proxied;
        bool is_allowed;
    } cases[] = {
        {"https://app.example", "app.example", NULL, NULL, true, true},
        {"https://app.example:8443", "app.example", NULL, NULL, false, false},
        {"https://app.example:8443", "app.example", NULL, NULL, true, true}, /* by its name */
        {"https://app.example:8443", "app.example:8443", NULL, NULL, true, true},
        {"https://app.example:8443", "app.example:8444", NULL, NULL, true, false},
        {"https://app.example", "app.example:8444", NULL, NULL, true, false},
        {"https://app.example", "app.example", "443", NULL, true, true},
        {"https://app.example:8443", "app.example", "443", NULL, true, false},
        {"https://app.example:8443", "app.example", "8443", NULL, true, true},
        {"https://app.example:8443", "app.example:8443", "443", NULL, true, true},
        {"https://app.example", "app.example", NULL, "https", true, true},
        {"http://app.example", "app.example", NULL, "https", true, false},
        {"http://app.example:8080", "app.example", NULL, "WSS", true, false},
        {"https://app.example", "app.example", NULL, "http", true, true}, /* TLS ends farther out */
        {"https://evil.example", "app.example", "443", "https", true, false},
        {"null", "app.example", NULL, NULL, true, false},
    };
    struct settings settings = {.origins = {NULL, 0}};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct site site = {ff_slice_of(cases[i].host), ff_slice_of(cases[i].port),
                            ff_slice_of(cases[i].scheme), cases[i].is_proxied, false};

        print_message("    %zu: %s\n", i, cases[i].origin);
        assert_int_equal(origin_is_allowed(&settings, ff_slice_of(cases[i].origin), &site),
                         cases[i].is_allowed);
    }
}

static void hosts_are_for_those_who_come_directly(void **state)
{
    static const char *const entries[] = {"app.example", "b.example:81", "*.c.example"};
    static const struct {
        const char *host;
        bool is_indirect;
        bool is_allowed;
    } cases[] = {
        {"localhost:1", false, true},      {"127.1.2.3", false, true},
        {"[::1]:80", false, true},         {"LOCALHOST", false, true},
        {"APP.example:8080", false, true}, {"b.example:81", false, true},
        {"b.example", false, false},       {"x.c.example:9", false, true},
        {"c.example", false, false},       {"evil.example", false, false},
        {"evil.example", true, true},
    };
    struct settings settings = {.is_loopback_only = true, .hosts = {entries, FF_COUNT(entries)}};

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct site site = {.host = ff_slice_of(cases[i].host),
                            .is_indirect = cases[i].is_indirect};

        print_message("    %s\n", cases[i].host);
        assert_int_equal(host_is_allowed(&settings, &site), cases[i].is_allowed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxies_write_addresses_in_many_ways),
        cmocka_unit_test(of_an_ipv6_address_a_prefix_stays),
        cmocka_unit_test(the_client_is_whom_the_last_of_ours_names),
        cmocka_unit_test(only_so_many_hops_are_looked_at),
        cmocka_unit_test(entries_are_brought_into_a_form_that_can_match),
        cmocka_unit_test(a_star_is_any_subdomain_and_not_the_domain),
        cmocka_unit_test(behind_a_proxy_its_word_for_the_site_holds),
        cmocka_unit_test(hosts_are_for_those_who_come_directly),
    };

    return cmocka_run_group_tests_name("sites", tests, NULL, NULL);
}
