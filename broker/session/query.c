/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/query.h"

#include "broker/session/reply.h"
#include "protocol/base/mem.h"
#include "protocol/message/number.h"
#include "protocol/message/topic.h"
#include "protocol/websocket/http.h"

enum { PERCENT_LEN = 3, SINCE_MOST = FF_EPOCH_MAX + 1 + 16 };

static bool refuse_topic(struct session *session)
{
    reply_refuse(session, 400, "the topic in the query is no valid name or filter");
    return false;
}

/* What a `+` is until it is known whether it stands for a space. */
static const char form_space = 0x7f;

/*
 * In place: percent-decoded once. A `+` within a level is a space, as forms write it; one that is a
 * level by itself is a filter's. FF_EINVAL: a broken escape.
 */
static long decode_topic(char *text, struct ff_slice query)
{
    long count = 0;
    long len;

    for (size_t i = 0; i < query.len; i++) {
        text[i] = query.at[i];
        if (text[i] != '+')
            continue;
        text[i] = form_space;
        count++;
    }
    len = ff_http_percent_decode(text, (struct ff_slice){text, query.len});
    for (long i = 0; i < len; i++) {
        bool is_level = (i == 0 || text[i - 1] == '/') && (i + 1 == len || text[i + 1] == '/');

        if (text[i] != form_space)
            continue;
        if (is_level)
            text[i] = '+';
        else
            text[i] = ' ';
        count--;
    }
    return count == 0 ? len : FF_EINVAL; /* another one: an escaped control character */
}

/* Room for a topic, and for where it is to begin behind it. False: the connection is lost. */
static bool keep_text(struct session *session, struct ff_slice text)
{
    session->name.topic = ff_mem_alloc(text.len + 1 + sizeof(struct ff_since));
    if (!session->name.topic) {
        conn_abort(&session->conn);
        return false;
    }
    session->name_kind = NAME_TOPIC;
    if (text.len)
        memcpy(session->name.topic, text.at, text.len);
    session->name.topic[text.len] = '\0';
    return true;
}

/* The topic of a plain client: from the query, else the configured one. Owned by the session. */
static bool take_plain_topic(struct session *session, struct ff_slice target)
{
    const char *configured = gateway_of(session)->settings->plain_topic;
    struct ff_slice query = ff_http_query(target, "topic");
    long len;

    if (configured[0] == '\0') {
        reply_refuse(session, 400,
                     "plain mode is off here (plain_topic is empty): offer the subprotocol "
                     "fanfare.v1.json or fanfare.v1.msgpack");
        return false;
    }
    if (!query.at)
        query = ff_slice_of(configured);
    if (query.len > (size_t)FF_TOPIC_MAX * PERCENT_LEN)
        return refuse_topic(session);
    if (!keep_text(session, query))
        return false;
    len = query.at == configured ? (long)query.len : decode_topic(session->name.topic, query);
    if (len >= 0)
        session->name.topic[len] = '\0';
    if (len < 0 ||
        ff_topic_kind((struct ff_slice){session->name.topic, (size_t)len}) == FF_TOPIC_BAD)
        return refuse_topic(session);
    return true;
}

/* What a plain client wants to be sent. */
static bool take_plain_format(struct session *session, struct ff_slice target, enum log_kind *kind)
{
    static const struct {
        const char *name;
        enum log_kind kind;
    } formats[] = {
        [PLAIN_JSON] = {"json", KIND_JSON},
        [PLAIN_TEXT] = {"text", KIND_TEXT},
        [PLAIN_RAW] = {"raw", KIND_RAW},
    };
    struct ff_slice query = ff_http_query(target, "format");

    *kind = formats[gateway_of(session)->settings->plain_format].kind;
    if (!query.at)
        return true;
    for (size_t i = 0; i < FF_COUNT(formats); i++) {
        *kind = formats[i].kind;
        if (ff_slice_is_equal(query, ff_slice_of(formats[i].name)))
            return true;
    }
    reply_refuse(session, 400, "the format in the query must be json, text or raw");
    return false;
}

/* n, or EPOCH:OFFSET. */
static bool read_since(struct ff_slice text, struct ff_since *since)
{
    struct ff_slice number = text;
    struct ff_slice epoch = {NULL, 0};

    *since = (struct ff_since){.is_position = text.len && memchr(text.at, ':', text.len)};
    if (since->is_position) {
        epoch = ff_slice_cut(&number, ':');
        since->position.epoch = ff_epoch_read(epoch);
        return ff_epoch_is_valid(epoch) && ff_number_read_integer(number, &since->position.offset);
    }
    return ff_number_read_integer(number, &since->count);
}

/* Where its topic is to begin: kept behind that. */
static bool take_since(struct session *session, struct ff_slice target, enum log_kind kind)
{
    struct ff_slice query = ff_http_query(target, "since");
    char room[SINCE_MOST * PERCENT_LEN];
    struct ff_since since;
    long len = -1;

    if (!query.at)
        return true;
    if (query.len <= sizeof(room))
        len = ff_http_percent_decode(room, query);
    if (len < 0 || !read_since((struct ff_slice){room, (size_t)len}, &since)) {
        reply_refuse(session, 400,
                     "the since in the query must be a number of messages, or EPOCH:OFFSET");
        return false;
    }
    if (kind == KIND_RAW && since.is_position) {
        reply_refuse(session, 400,
                     "the since in the query must be a number of messages: format raw says no "
                     "offsets");
        return false;
    }
    if (ff_topic_kind(ff_slice_of(session->name.topic)) == FF_TOPIC_FILTER) {
        reply_refuse(session, 400,
                     "since is not for filters: their topics have pasts of their own");
        return false;
    }
    memcpy(session->name.topic + strlen(session->name.topic) + 1, &since, sizeof(since));
    session->name_kind = NAME_TOPIC_SINCE;
    return true;
}

bool query_take(struct session *session, struct ff_slice target, enum log_kind *kind)
{
    return take_plain_format(session, target, kind) && take_plain_topic(session, target) &&
           take_since(session, target, *kind);
}

bool query_since(const struct session *session, struct ff_since *since)
{
    if (session->name_kind != NAME_TOPIC_SINCE)
        return false;
    memcpy(since, session->name.topic + strlen(session->name.topic) + 1, sizeof(*since));
    return true;
}
