/* SPDX-License-Identifier: Apache-2.0 */
/* What is agreed upon about permessage-deflate (S02). */
#include "protocol/websocket/terms.h"
#include "tests/support/test.h"

/* A header's value, 0xff cut, as the answer that a broker gives with a window of `bits`. */
static const char *answer_to(const char *const *values, size_t count, unsigned bits,
                             bool client_forgets)
{
    static char text[512];
    struct ff_http_head head = {.count = 0};
    struct ff_deflate_wishes wishes = {(uint8_t)bits, client_forgets};
    struct ff_deflate_terms terms;
    struct ff_buf out;
    bool is_agreed;

    for (size_t i = 0; i < count; i++)
        head.headers[head.count++] =
            (struct ff_http_header){FF_SLICE("sec-websocket-EXTENSIONS"), ff_slice_of(values[i])};
    is_agreed = ff_terms_choose(&head, &wishes, &terms);
    assert_int_equal(is_agreed, terms.server_bits != 0);
    ff_buf_init(&out, sizeof(text));
    assert_int_equal(ff_terms_write(&out, &terms), FF_OK);
    assert_true(out.len < sizeof(text));
    if (out.len)
        memcpy(text, out.data, out.len);
    text[out.len] = '\0';
    ff_buf_deinit(&out);
    if (!is_agreed)
        return "";
    assert_memory_equal(text,
                        "Sec-WebSocket-Extensions: permessage-deflate; "
                        "server_no_context_takeover",
                        72);
    text[strlen(text) - 2] = '\0'; /* the end of the line */
    return text + 72;
}

static const char *answer(const char *value)
{
    return answer_to(&value, 1, 15, false);
}

#define SERVER "server_max_window_bits"
#define CLIENT "client_max_window_bits"
#define FORGET "client_no_context_takeover"

static void the_first_acceptable_offer_is_taken(void **state)
{
    static const struct {
        const char *offer;
        const char *more; /* behind server_no_context_takeover, "": declined is NULL below */
    } cases[] = {
        {"permessage-deflate", ""},
        {"permessage-deflate; " FORGET, "; " FORGET},
        {"permessage-deflate;" CLIENT, ""},
        {"permessage-deflate; " FORGET "; " CLIENT, "; " FORGET},
        {"permessage-deflate; " CLIENT "=15", "; " CLIENT "=15"},
        {"permessage-deflate; " CLIENT "=8", "; " CLIENT "=8"},
        {"permessage-deflate; " CLIENT "=\"10\"", "; " CLIENT "=10"},
        {"permessage-deflate; " CLIENT "=\"1\\0\"", "; " CLIENT "=10"},
        {"permessage-deflate; server_no_context_takeover", ""},
        {"permessage-deflate; " SERVER "=9", "; " SERVER "=9"},
        {"permessage-deflate; " SERVER "=15", "; " SERVER "=15"},
        {"permessage-deflate; " SERVER "=8", "; " SERVER "=8"},
        {"permessage-deflate; server_no_context_takeover; " SERVER "=9; " FORGET "; " CLIENT "=12",
         "; " FORGET "; " SERVER "=9; " CLIENT "=12"},
        {"permessage-deflate; " SERVER "=9, permessage-deflate", "; " SERVER "=9"},
        {"permessage-deflate; " SERVER "=16, permessage-deflate; " FORGET, "; " FORGET},
        {"permessage-deflate, permessage-deflate", ""},
        {"x-webkit-deflate-frame, permessage-deflate", ""},
        {"a; b=\"c, permessage-deflate; d\"; e, permessage-deflate; " FORGET, "; " FORGET},
        {" , ,\tpermessage-deflate ;  " FORGET " , ", "; " FORGET},
        {"a,a,a,a,a,a,a,permessage-deflate", ""},
        {"permessage-deflate, \"garbage", ""},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++)
        assert_string_equal(answer(cases[i].offer), cases[i].more);
    for (size_t i = 0; i < FF_COUNT(cases); i++) { /* and it was not declined */
        const char *value = cases[i].offer;

        assert_string_not_equal(answer_to(&value, 1, 12, false), "");
    }
}

static void what_is_malformed_is_declined(void **state)
{
    static const char *const offers[] = {
        "",
        ",",
        "permessage-deflat",
        "Permessage-Deflate",
        "permessage-deflate " FORGET,
        "permessage-deflate;",
        "permessage-deflate; ;" FORGET,
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; " FORGET "; " FORGET,
        "permessage-deflate; " FORGET "=1",
        "permessage-deflate; server_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; " SERVER,
        "permessage-deflate; " SERVER "=",
        "permessage-deflate; " SERVER "=7",
        "permessage-deflate; " SERVER "=16",
        "permessage-deflate; " SERVER "=08",
        "permessage-deflate; " SERVER "=015",
        "permessage-deflate; " SERVER "=+9",
        "permessage-deflate; " SERVER "=9.0",
        "permessage-deflate; " SERVER "=99999999999",
        "permessage-deflate; " SERVER "=9; " SERVER "=9",
        "permessage-deflate; " SERVER "=7; " SERVER "=9",
        "permessage-deflate; " CLIENT "=7",
        "permessage-deflate; " CLIENT "=16",
        "permessage-deflate; " CLIENT "=",
        "permessage-deflate; " CLIENT "; " CLIENT,
        "permessage-deflate; " CLIENT "=\"10",
        "permessage-deflate; " CLIENT "=\"10\\",
        "permessage-deflate; " CLIENT "=\"\"",
        "permessage-deflate; a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q",
        "a,a,a,a,a,a,a,a,permessage-deflate",
        "a;b=\"\\c\\c\\c, permessage-deflate",
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(offers); i++) {
        struct ff_http_head head = {.count = 1};
        struct ff_deflate_wishes wishes = {15, false};
        struct ff_deflate_terms terms;

        head.headers[0] =
            (struct ff_http_header){FF_SLICE("Sec-WebSocket-Extensions"), ff_slice_of(offers[i])};
        if (ff_terms_choose(&head, &wishes, &terms))
            fail_msg("taken: %s", offers[i]);
    }
}

static void offers_may_stand_in_several_headers(void **state)
{
    static const char *const two[] = {"a, b", "permessage-deflate; " FORGET};
    static const char *const nine[] = {"a,b,c,d", "e,f,g,h", "permessage-deflate"};
    static const char *const broken[] = {"a;b=\"", "permessage-deflate"};

    (void)state;
    assert_string_equal(answer_to(two, 2, 15, false), "; " FORGET);
    (void)answer_to(nine, 2, 15, false);
    assert_string_equal(answer_to(nine, 3, 15, true), "");
    assert_string_equal(answer_to(broken, 2, 15, true), "");
}

static void a_server_may_name_a_smaller_window_and_ask_to_forget(void **state)
{
    const char *plain = "permessage-deflate";
    const char *smaller = "permessage-deflate; " SERVER "=10";
    const char *larger = "permessage-deflate; " SERVER "=14";

    (void)state;
    assert_string_equal(answer_to(&plain, 1, 15, true), "; " FORGET);
    assert_string_equal(answer_to(&plain, 1, 12, false), "; " SERVER "=12");
    assert_string_equal(answer_to(&smaller, 1, 12, false), "; " SERVER "=10");
    assert_string_equal(answer_to(&larger, 1, 12, false), "; " SERVER "=12");
}

static void the_scanner_reads_no_octet_too_many(void **state)
{
    static const char offer[] = "permessage-deflate; " CLIENT "=\"1\\0\" , a;b=\"c\\\"\"";
    struct edge_page edge = edge_page_new(sizeof(offer));

    (void)state;
    for (size_t len = 0; len < sizeof(offer); len++) {
        struct ff_http_head head = {.count = 1};
        struct ff_deflate_wishes wishes = {15, false};
        struct ff_deflate_terms terms;
        const char *at = (const char *)edge_page_put(edge, (const uint8_t *)offer, len);

        head.headers[0] = (struct ff_http_header){FF_SLICE("Sec-WebSocket-Extensions"), {at, len}};
        (void)ff_terms_choose(&head, &wishes, &terms);
    }
    edge_page_free(edge);
}

static void a_client_reads_the_answer_to_its_own_offer(void **state)
{
    static const struct {
        const char *answer;
        enum ff_err err;
        unsigned bits;
    } cases[] = {
        {NULL, FF_OK, 0},
        {"permessage-deflate; server_no_context_takeover", FF_OK, 15},
        {"permessage-deflate; server_no_context_takeover; " SERVER "=10", FF_OK, 10},
        {"permessage-deflate", FF_EINVAL, 0}, /* its reader forgets */
        {"permessage-deflate; server_no_context_takeover; " CLIENT "=10", FF_EINVAL, 0},
        {"permessage-deflate; server_no_context_takeover, a", FF_EINVAL, 0},
        {"other", FF_EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < FF_COUNT(cases); i++) {
        struct ff_http_head head = {.count = cases[i].answer != NULL};
        struct ff_deflate_terms terms;

        head.headers[0].name = FF_SLICE("Sec-WebSocket-Extensions");
        if (cases[i].answer)
            head.headers[0].value = ff_slice_of(cases[i].answer);
        assert_int_equal(ff_terms_read_answer(&head, &terms), cases[i].err);
        if (!cases[i].err)
            assert_int_equal(terms.server_bits, cases[i].bits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_acceptable_offer_is_taken),
        cmocka_unit_test(what_is_malformed_is_declined),
        cmocka_unit_test(offers_may_stand_in_several_headers),
        cmocka_unit_test(a_server_may_name_a_smaller_window_and_ask_to_forget),
        cmocka_unit_test(the_scanner_reads_no_octet_too_many),
        cmocka_unit_test(a_client_reads_the_answer_to_its_own_offer),
    };

    return cmocka_run_group_tests_name("terms", tests, NULL, nothing_leaked);
}
