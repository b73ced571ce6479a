/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP heads and the handshake of both roles, also octet by octet (S01, S04, S06). */
#include "protocol/websocket/handshake.h"
#include "tests/support/test.h"

static const char good[] = "GET /ws?topic=a%2Fb HTTP/1.1\r\nHost: localhost:8080\r\n"
                           "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                           "Sec-WebSocket-Version: 13\r\n\r\n";

static void a_head_is_found_however_it_comes(void **state)
{
    struct edge_page edge = edge_page_new(512);
    size_t len = sizeof(good) - 1;
    size_t from = 0;

    (void)state;
    for (size_t n = 1; n < len; n++) {
        uint8_t *at = edge_page_put(edge, good, n);

        assert_int_equal(ff_http_find_end((char *)at, n, &from, FF_HTTP_HEAD_MAX), 0);
    }
    assert_int_equal(ff_http_find_end(good, len, &from, FF_HTTP_HEAD_MAX), len);
    edge_page_free(edge);
}

static void what_two_parsers_could_read_differently_is_refused(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1 \r\n\r\n", 400},
        {"GET / HTTP/2.0\r\n\r\n", 400},
        {"GET http:///ws HTTP/1.1\r\n\r\n", 400},
        {"GET http://b@a/ws HTTP/1.1\r\n\r\n", 400},
        {"GET ftp://a/ HTTP/1.1\r\n\r\n", 400},
        {"GET http:/a HTTP/1.1\r\n\r\n", 400},
        {"GET a:80 HTTP/1.1\r\n\r\n", 400},
        {"\n\nGET / HTTP/1.1\r\n\r\n", 400},
        {"\r\r\nGET / HTTP/1.1\r\n\r\n", 400},
        {"\r\n GET / HTTP/1.1\r\n\r\n", 400},
        {"G@T / HTTP/1.1\r\n\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\x01\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nA: b\tc\r\n\r\n", 0},
        {"GET / HTTP/1.1\r\nA:b\r\nA: \r\n\r\n", 0},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_http_head head;
        size_t len = strlen(cases[i].text);
        size_t from = 0;
        int end = ff_http_find_end(cases[i].text, len, &from, FF_HTTP_HEAD_MAX);
        int status = end < 0 ? -end : -ff_http_parse_request(&head, cases[i].text, len);

        print_message("    %zu\n", i);
        assert_int_equal(status, cases[i].status);
    }
}

/* RFC 9112, section 3.2.2: who asks for the whole URL is told what GET and Host would be told. */
static void a_target_in_absolute_form_names_the_host(void **state)
{
    static const struct {
        const char *target;
        const char *authority;
        const char *path;
        const char *topic;
    } cases[] = {
        {"http://a/ws?topic=x", "a", "/ws", "x"},
        {"ws://a:80/ws?topic=x", "a:80", "/ws", "x"},
        {"HTTPS://[::1]:1/", "[::1]:1", "/", NULL},
        {"wss://a", "a", "/", NULL},
        {"http://a?topic=x", "a", "/", "x"},
        {"/ws?topic=http://a/", NULL, "/ws", "http://a/"},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_http_head head;
        char text[128];
        int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n\r\n", cases[i].target);

        print_message("    %s\n", cases[i].target);
        assert_int_equal(ff_http_parse_request(&head, text, (size_t)len), 0);
        assert_int_equal(head.authority.at != NULL, cases[i].authority != NULL);
        assert_true(ff_slice_is_equal(head.authority, ff_slice_of(cases[i].authority)));
        assert_true(ff_slice_is_equal(ff_http_path(head.target), ff_slice_of(cases[i].path)));
        assert_true(
            ff_slice_is_equal(ff_http_query(head.target, "topic"), ff_slice_of(cases[i].topic)));
    }
}

/* RFC 9112, section 2.2; however they are cut on their way. */
static void empty_lines_before_a_request_are_passed_over(void **state)
{
    (void)state;
    for (size_t lines = 0; lines < 40; lines++) {
        char text[256];
        size_t len = 0;
        size_t from = 0;
        struct ff_http_head head;

        for (size_t i = 0; i < lines; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "\r\n");
        len += (size_t)snprintf(text + len, sizeof(text) - len, "GET /x HTTP/1.1\r\nA: b\r\n\r\n");
        for (size_t n = 1; n < len; n++)
            assert_int_equal(ff_http_find_end(text, n, &from, sizeof(text)), 0);
        assert_int_equal(ff_http_find_end(text, len, &from, sizeof(text)), len);
        from = 0;
        assert_int_equal(ff_http_find_end(text, len, &from, sizeof(text)), len);
        assert_int_equal(ff_http_find_end(text, len, &(size_t){0}, len - 1), -431);
        assert_int_equal(ff_http_parse_request(&head, text, len), 0);
        assert_true(ff_slice_is_equal(head.target, FF_SLICE("/x")));
        assert_int_equal(head.count, 1);
    }
}

static void a_head_has_its_caps(void **state)
{
    static char text[70000];
    static const size_t most[] = {FF_HTTP_HEAD_LEAST, FF_HTTP_HEAD_MAX, FF_HTTP_HEAD_MOST};
    struct ff_http_head head;

    (void)state;
    for (int count = 63; count <= 65; count++) {
        size_t len = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");

        for (int i = 0; i < count; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "X-%d: y\r\n", i);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "\r\n");
        assert_int_equal(ff_http_parse_request(&head, text, len), count <= 64 ? 0 : -431);
    }
    for (size_t i = 0; i < FF_COUNT(most); i++) {
        size_t max = most[i];

        for (int first = 0; first < 2; first++) { /* which line is too long? */
            size_t from = 0;

            memset(text, 'x', sizeof(text));
            if (first)
                memcpy(text, "GET / HTTP/1.1\r\n", 16);
            assert_int_equal(ff_http_find_end(text, max - 1, &from, max), 0);
            assert_int_equal(ff_http_find_end(text, max, &from, max), first ? -431 : -414);
        }
        memcpy(text, "GET / HTTP/1.1\r\nA:", 18); /* one line that is as long as may be */
        memcpy(text + max - 4, "\r\n\r\n", 4);
        assert_int_equal(ff_http_find_end(text, max, &(size_t){0}, max), max);
        assert_int_equal(ff_http_parse_request(&head, text, max), 0);
        assert_int_equal(head.headers[0].value.len, max - 22);
        for (size_t n = 0; n < max; n++) /* nothing but empty lines */
            text[n] = n % 2 ? '\n' : '\r';
        assert_int_equal(ff_http_find_end(text, max, &(size_t){0}, max), -431);
    }
}

static void a_key_is_what_decodes_to_16_octets(void **state)
{
    static const struct {
        const char *key;
        bool is_good;
        const char *why;
    } cases[] = {
        {"dGhlIHNhbXBsZSBub25jZQ==", true, "the RFC's"},
        {"dGhlIHNhbXBsZSBub25jZR==", true, "spare bits, one"},
        {"dGhlIHNhbXBsZSBub25jZf==", true, "spare bits, all"},
        {"////////////////////+/==", true, "any octets"},
        {"AAAAAAAAAAAAAAAAAAAAAAAA", false, "18 octets"},
        {"AAAAAAAAAAAAAAAAAAAAAAA=", false, "17 octets"},
        {"AAAAAAAAAAAAAAAAAAAAA===", false, "no base64"},
        {"AAAAAAAAAAAAAAAAAAAA====", false, "15 octets and a surplus"},
        {"AAAAAAAAAAAAAAAAAAAAA*==", false, "no digit at the end"},
        {"AAAAAAAA AAAAAAAAAAAAA==", false, "no digit in the midst"},
        {"AAAAAAAAAAAAAAAAAAAAAA=A", false, "a digit behind the padding"},
        {"dGhlIHNhbXBsZSBub25jZQ", false, "no padding"},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_http_head head;
        struct ff_handshake handshake;
        char text[sizeof(good) + 1];
        char *key;

        memcpy(text, good, sizeof(good));
        key = strstr(text, "dGhl");
        assert_non_null(key);
        memset(key, ' ', FF_KEY_TEXT);
        memcpy(key, cases[i].key, strlen(cases[i].key));
        print_message("    %s\n", cases[i].why);
        assert_int_equal(ff_http_parse_request(&head, text, sizeof(good) - 1), 0);
        assert_int_equal(ff_handshake_check(&head, &handshake), cases[i].is_good);
    }
}

static void what_is_offered_decides_what_is_spoken(void **state)
{
    static const struct {
        const char *lines;
        int speaks; /* < 0: 400 */
    } cases[] = {
        {"", FF_SUBPROTOCOL_NONE},
        {"Sec-WebSocket-Protocol:\r\n", FF_SUBPROTOCOL_NONE},
        {"Sec-WebSocket-Protocol: ,, ,\r\n", FF_SUBPROTOCOL_NONE},
        {"Sec-WebSocket-Protocol: arduino\r\n", FF_SUBPROTOCOL_NONE},
        {"Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Protocol: x\r\n",
         FF_SUBPROTOCOL_NONE},
        {"Sec-WebSocket-Protocol: fanfare\r\n", FF_SUBPROTOCOL_NONE},
        {"Sec-WebSocket-Protocol: fanfare.token.x\r\n", FF_SUBPROTOCOL_NONE},
        {"Sec-WebSocket-Protocol: chat, fanfare.token.x\r\n", FF_SUBPROTOCOL_NONE},
        {"Sec-WebSocket-Protocol: fanfare.v2.json\r\n", -1},
        {"Sec-WebSocket-Protocol: fanfare.\r\n", -1},
        {"Sec-WebSocket-Protocol: chat, fanfare.v1\r\n", -1},
        {"Sec-WebSocket-Protocol: fanfare.token.x\r\nSec-WebSocket-Protocol: fanfare.v9.json\r\n",
         -1},
        {"Sec-WebSocket-Protocol: fanfare.v2.json, fanfare.v1.json\r\n", FF_SUBPROTOCOL_JSON},
        {"Sec-WebSocket-Protocol: chat, fanfare.v1.msgpack, fanfare.v1.json, fanfare.v2.json\r\n",
         FF_SUBPROTOCOL_MSGPACK},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_http_head head;
        struct ff_handshake handshake;
        char text[512];
        int len =
            snprintf(text, sizeof(text), "%.*s%s\r\n", (int)sizeof(good) - 3, good, cases[i].lines);
        bool is_good;

        print_message("    %s", cases[i].lines[0] ? cases[i].lines : "nothing\n");
        assert_int_equal(ff_http_parse_request(&head, text, (size_t)len), 0);
        is_good = ff_handshake_check(&head, &handshake);
        assert_int_equal(is_good, cases[i].speaks >= 0);
        if (is_good)
            assert_int_equal(handshake.subprotocol, cases[i].speaks);
        else
            assert_non_null(strstr(handshake.why, "fanfare.v1.msgpack"));
    }
}

static void the_accept_is_that_of_the_rfc(void **state)
{
    struct ff_http_head head;
    struct ff_handshake handshake;
    struct ff_buf out;

    (void)state; /* RFC 6455, section 1.3 */
    assert_int_equal(ff_http_parse_request(&head, good, sizeof(good) - 1), 0);
    assert_true(ff_handshake_is_upgrade(&head));
    assert_true(ff_handshake_check(&head, &handshake));
    ff_buf_init(&out, 1024);
    assert_int_equal(ff_handshake_write_answer(&out, &handshake), FF_OK);
    assert_non_null(memmem(out.data, out.len, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28));
    ff_buf_deinit(&out);
}

static void both_roles_shake_hands(void **state)
{
    static const uint8_t key[FF_KEY_SIZE] = "0123456789abcde";
    struct ff_http_head head;
    struct ff_handshake handshake;
    struct ff_buf request;
    struct ff_buf answer;
    const char *why;

    (void)state;
    for (int i = FF_SUBPROTOCOL_NONE; i <= FF_SUBPROTOCOL_MSGPACK; i++) {
        enum ff_subprotocol subprotocol = (enum ff_subprotocol)i;

        ff_buf_init(&request, 1024);
        ff_buf_init(&answer, 1024);
        assert_int_equal(ff_handshake_write_request(&request, "h:1", "/ws", subprotocol, key),
                         FF_OK);
        assert_int_equal(ff_http_parse_request(&head, request.data, request.len), 0);
        assert_true(ff_handshake_check(&head, &handshake));
        assert_int_equal(handshake.subprotocol, subprotocol);
        assert_int_equal(ff_handshake_write_answer(&answer, &handshake), FF_OK);
        assert_int_equal(ff_http_parse_response(&head, answer.data, answer.len), 0);
        assert_int_equal(ff_handshake_check_answer(&head, subprotocol, key, &why), FF_OK);
        ff_buf_deinit(&request);
        ff_buf_deinit(&answer);
    }
}

static void the_query_is_taken_apart(void **state)
{
    char out[64];
    struct ff_slice target = FF_SLICE("/ws?x=1&topic=a%2Fb+c&topic=2&empty=&flag");

    (void)state;
    assert_true(ff_slice_is_equal(ff_http_path(target), FF_SLICE("/ws")));
    assert_true(ff_slice_is_equal(ff_http_query(target, "topic"), FF_SLICE("a%2Fb+c")));
    assert_int_equal(ff_http_percent_decode(out, ff_http_query(target, "topic")), 5);
    assert_memory_equal(out, "a/b+c", 5);
    assert_non_null(ff_http_query(target, "empty").at);
    assert_non_null(ff_http_query(target, "flag").at);
    assert_null(ff_http_query(target, "none").at);
    assert_true(ff_http_percent_decode(out, FF_SLICE("%zz")) < 0);
    assert_true(ff_http_percent_decode(out, FF_SLICE("%4")) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_found_however_it_comes),
        cmocka_unit_test(what_two_parsers_could_read_differently_is_refused),
        cmocka_unit_test(a_target_in_absolute_form_names_the_host),
        cmocka_unit_test(empty_lines_before_a_request_are_passed_over),
        cmocka_unit_test(a_head_has_its_caps),
        cmocka_unit_test(a_key_is_what_decodes_to_16_octets),
        cmocka_unit_test(what_is_offered_decides_what_is_spoken),
        cmocka_unit_test_teardown(the_accept_is_that_of_the_rfc, nothing_leaked),
        cmocka_unit_test_teardown(both_roles_shake_hands, nothing_leaked),
        cmocka_unit_test(the_query_is_taken_apart),
    };

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
