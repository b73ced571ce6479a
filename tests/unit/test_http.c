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

        assert_int_equal(ff_http_find_end((char *)at, n, &from), 0);
    }
    assert_int_equal(ff_http_find_end(good, len, &from), len);
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
        {"GET http://a/ HTTP/1.1\r\n\r\n", 400},
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
        int end = ff_http_find_end(cases[i].text, len, &from);
        int status = end < 0 ? -end : -ff_http_parse_request(&head, cases[i].text, len);

        print_message("    %zu\n", i);
        assert_int_equal(status, cases[i].status);
    }
}

static void a_head_has_its_caps(void **state)
{
    static char text[20000];
    struct ff_http_head head;

    (void)state;
    for (int count = 63; count <= 65; count++) {
        size_t len = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");

        for (int i = 0; i < count; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "X-%d: y\r\n", i);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "\r\n");
        assert_int_equal(ff_http_parse_request(&head, text, len), count <= 64 ? 0 : -431);
    }
    for (int first = 0; first < 2; first++) {
        size_t from = 0;

        memset(text, 'x', sizeof(text));
        if (first)
            memcpy(text, "GET / HTTP/1.1\r\n", 16);
        assert_int_equal(ff_http_find_end(text, sizeof(text), &from), first ? -431 : -414);
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
        cmocka_unit_test(a_head_has_its_caps),
        cmocka_unit_test_teardown(the_accept_is_that_of_the_rfc, nothing_leaked),
        cmocka_unit_test_teardown(both_roles_shake_hands, nothing_leaked),
        cmocka_unit_test(the_query_is_taken_apart),
    };

    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
