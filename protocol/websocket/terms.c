/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket/terms.h"

enum { VALUE_MAX = 3 }; /* octets of a value that may mean something: "15" has two */

/* A place in a header's value. */
struct scan {
    const char *at;
    const char *end;
};

struct param {
    struct ff_slice name;
    char value[VALUE_MAX];
    size_t value_len; /* of the whole value, which may be longer than what is kept of it */
    bool has_value;
};

/* One extension as it stands in the header. */
struct offer {
    bool is_deflate;
    bool is_good; /* all its parameters are known, well formed, and there once */
    bool server_forgets;
    bool client_forgets;
    bool has_client_bits;
    uint8_t server_bits; /* 0: not named */
    uint8_t client_bits; /* 0: named without a value, or not at all */
};

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t'))
        s->at++;
}

static bool take_char(struct scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* RFC 9110, section 5.6.2. */
static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Empty: there is none here. */
static struct ff_slice take_token(struct scan *s)
{
    struct ff_slice token = {s->at, 0};

    skip_space(s);
    token.at = s->at;
    while (s->at < s->end && is_token_char(*s->at))
        s->at++;
    token.len = (size_t)(s->at - token.at);
    return token;
}

static void keep(struct param *param, char c)
{
    if (param->value_len < VALUE_MAX)
        param->value[param->value_len] = c;
    param->value_len++;
}

/* What stands in quotes means the same as without (RFC 6455, section 9.1). */
static bool take_quoted(struct scan *s, struct param *param)
{
    while (s->at < s->end && *s->at != '"') {
        if (*s->at == '\\' && ++s->at == s->end)
            return false;
        keep(param, *s->at++);
    }
    return take_char(s, '"') && param->value_len > 0;
}

/* False: the header is malformed from here on. */
static bool take_param(struct scan *s, struct param *param)
{
    *param = (struct param){.name = take_token(s)};
    if (param->name.len == 0)
        return false;
    param->has_value = take_char(s, '=');
    if (!param->has_value)
        return true;
    if (take_char(s, '"'))
        return take_quoted(s, param);
    for (skip_space(s); s->at < s->end && is_token_char(*s->at); s->at++)
        keep(param, *s->at);
    return param->value_len > 0;
}

/* 8 to 15, without a leading zero; 0: it is none. */
static uint8_t read_bits(const struct param *param)
{
    const char *v = param->value;
    unsigned bits = 0;

    if (!param->has_value || param->value_len == 0 || param->value_len > 2 || v[0] == '0')
        return 0;
    for (size_t i = 0; i < param->value_len; i++) {
        if (v[i] < '0' || v[i] > '9')
            return 0;
        bits = bits * 10 + (unsigned)(v[i] - '0');
    }
    return bits >= FF_WINDOW_BITS_LEAST && bits <= FF_WINDOW_BITS_MOST ? (uint8_t)bits : 0;
}

/* A parameter that has no value and stands there once. */
static bool set_flag(bool *flag, const struct param *param)
{
    bool is_good = !*flag && !param->has_value;

    *flag = true;
    return is_good;
}

static bool set_bits(uint8_t *bits, const struct param *param)
{
    bool is_first = *bits == 0;

    *bits = read_bits(param);
    return is_first && *bits;
}

static bool set_client_bits(struct offer *offer, const struct param *param)
{
    bool is_first = !offer->has_client_bits;

    offer->has_client_bits = true;
    return is_first && (!param->has_value || set_bits(&offer->client_bits, param));
}

/* False: it is not known, or not as it must be. */
static bool understand(struct offer *offer, const struct param *param)
{
    if (ff_slice_is_equal(param->name, FF_SLICE("server_no_context_takeover")))
        return set_flag(&offer->server_forgets, param);
    if (ff_slice_is_equal(param->name, FF_SLICE("client_no_context_takeover")))
        return set_flag(&offer->client_forgets, param);
    if (ff_slice_is_equal(param->name, FF_SLICE("server_max_window_bits")))
        return set_bits(&offer->server_bits, param);
    if (ff_slice_is_equal(param->name, FF_SLICE("client_max_window_bits")))
        return set_client_bits(offer, param);
    return false;
}

/* False: the header is malformed from here on. */
static bool take_offer(struct scan *s, struct offer *offer)
{
    struct ff_slice name = take_token(s);
    struct param param;

    *offer = (struct offer){.is_deflate = ff_slice_is_equal(name, FF_SLICE("permessage-deflate")),
                            .is_good = true};
    if (name.len == 0)
        return false;
    for (int i = 0; take_char(s, ';'); i++) {
        if (!take_param(s, &param))
            return false;
        offer->is_good = offer->is_good && i < FF_OFFER_PARAMS_MAX && understand(offer, &param);
    }
    skip_space(s);
    return s->at == s->end || *s->at == ',';
}

static void agree(const struct offer *offer, const struct ff_deflate_wishes *wishes,
                  struct ff_deflate_terms *terms)
{
    *terms = (struct ff_deflate_terms){
        .server_bits = offer->server_bits && offer->server_bits < wishes->server_bits
                           ? offer->server_bits
                           : wishes->server_bits,
        .client_bits = offer->client_bits ? offer->client_bits : FF_WINDOW_BITS_MOST,
        .client_forgets = offer->client_forgets || wishes->client_forgets,
        .is_client_named = offer->client_bits != 0,
    };
    /* The server may name a smaller window unasked (section 7.1.2.1): its clients need less. */
    terms->is_server_named = offer->server_bits || terms->server_bits < FF_WINDOW_BITS_MOST;
}

/* Goes on in one more header of the list; `*left` offers may still be looked at. True: agreed. */
static bool choose_in(struct ff_slice value, unsigned *left, const struct ff_deflate_wishes *wishes,
                      struct ff_deflate_terms *terms)
{
    struct scan s = {value.at, value.at + value.len};
    struct offer offer;

    while (*left) {
        while (take_char(&s, ',')) /* empty elements are legal, and nothing */
            ;
        if (s.at == s.end)
            return false;
        (*left)--;
        if (!take_offer(&s, &offer)) {
            *left = 0;
            return false;
        }
        if (offer.is_deflate && offer.is_good) {
            agree(&offer, wishes, terms);
            return true;
        }
    }
    return false;
}

bool ff_terms_choose(const struct ff_http_head *head, const struct ff_deflate_wishes *wishes,
                     struct ff_deflate_terms *terms)
{
    unsigned left = FF_OFFERS_MAX;

    *terms = (struct ff_deflate_terms){.server_bits = 0};
    for (size_t i = 0; i < head->count && left; i++) {
        const struct ff_http_header *header = &head->headers[i];

        if (ff_slice_is_equal_nocase(header->name, FF_SLICE("Sec-WebSocket-Extensions")) &&
            choose_in(header->value, &left, wishes, terms))
            return true;
    }
    return false;
}

enum ff_err ff_terms_write(struct ff_buf *out, const struct ff_deflate_terms *terms)
{
    enum ff_err err;

    if (!terms->server_bits)
        return FF_OK;
    err = ff_buf_printf(out, "Sec-WebSocket-Extensions: permessage-deflate; "
                             "server_no_context_takeover");
    if (!err && terms->client_forgets)
        err = ff_buf_printf(out, "; client_no_context_takeover");
    if (!err && terms->is_server_named)
        err = ff_buf_printf(out, "; server_max_window_bits=%u", terms->server_bits);
    if (!err && terms->is_client_named)
        err = ff_buf_printf(out, "; client_max_window_bits=%u", terms->client_bits);
    return err ? err : ff_buf_printf(out, "\r\n");
}

enum ff_err ff_terms_read_answer(const struct ff_http_head *head, struct ff_deflate_terms *terms)
{
    size_t count;
    const struct ff_http_header *header = ff_http_find(head, "Sec-WebSocket-Extensions", &count);
    struct offer offer;
    struct scan s;

    *terms = (struct ff_deflate_terms){.server_bits = 0};
    if (!header)
        return FF_OK;
    s = (struct scan){header->value.at, header->value.at + header->value.len};
    if (count > 1 || !take_offer(&s, &offer) || s.at != s.end || !offer.is_deflate ||
        !offer.is_good || offer.has_client_bits)
        return FF_EINVAL;
    *terms = (struct ff_deflate_terms){
        .server_bits = offer.server_bits ? offer.server_bits : FF_WINDOW_BITS_MOST,
        .client_bits = FF_WINDOW_BITS_MOST,
        .client_forgets = offer.client_forgets,
        .is_server_named = offer.server_bits != 0,
    };
    return offer.server_forgets ? FF_OK : FF_EINVAL;
}
