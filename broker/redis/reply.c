/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.c - hiredis' parser calls for each value as it meets it, parents before their children:
 * that is pre-order already, so values are appended and nothing is ever linked.
 *
 * An "object" of hiredis is here only whether there is one: `made`, which it never looks into.
 * NULL ends its reading; what was wrong then is in `why`, and not in its own text.
 */
#include "broker/redis/reply.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "protocol/base/mem.h"

enum { VALUES_FIRST = 16, HEAD_MAX = 32 /* a sign, 19 digits, the end of a line */ };

#if HIREDIS_MAJOR > 0
typedef size_t array_count;
#else
typedef int array_count;
#endif

static char made;

static const char no_memory[] = "there is no memory for its answer";
static const char too_large[] = "its answer is larger than 64 MiB";
static const char too_deep[] = "its answer has more than 7 arrays within each other";
static const char too_many[] = "its answer has more than 1048576 values";
static const char long_line[] = "its answer has a line of more than 64 KiB";
static const char no_resp[] = "it does not speak the protocol of Redis (RESP2)";

_Static_assert(REDIS_REPLY_MAX == 64 * 1024 * 1024 && REDIS_VALUES_MAX == 1048576 &&
                   REDIS_LINE_MAX == 64 * 1024 && REDIS_DEPTH_MAX == 7,
               "the texts above name the limits");

static void *fail(struct redis_reader *reader, const char *why)
{
    if (!reader->why)
        reader->why = why;
    return NULL;
}

static bool has_room(struct redis_reader *reader)
{
    uint32_t room = reader->room ? reader->room * 2 : VALUES_FIRST;
    struct redis_value *moved;

    if (reader->count < reader->room)
        return true;
    moved = ff_mem_realloc(reader->values, room * sizeof(*moved));
    if (!moved)
        return false;
    reader->values = moved;
    reader->room = room;
    return true;
}

/* A reply begins with a value that no array has announced. */
static void *add(const redisReadTask *task, struct redis_value value)
{
    struct redis_reader *reader = task->privdata;

    if (!task->parent)
        reader->awaited = 1;
    if (task->type < REDIS_REPLY_STRING || task->type > REDIS_REPLY_ERROR)
        return fail(reader, no_resp); /* RESP3, by a hiredis that knows it */
    if (!has_room(reader))
        return fail(reader, no_memory);
    reader->values[reader->count++] = value;
    return &made;
}

static enum redis_kind kind_of(int type)
{
    if (type == REDIS_REPLY_STATUS)
        return REDIS_STATUS;
    return type == REDIS_REPLY_ERROR ? REDIS_ERROR : REDIS_TEXT;
}

static void *on_text(const redisReadTask *task, char *text, size_t len)
{
    struct redis_reader *reader = task->privdata;
    struct redis_value value = {.kind = kind_of(task->type), .at = reader->texts.len, .len = len};
    enum ff_err err;

    /* hiredis has seen to it that these two octets are there, but does not look at them. */
    if (value.kind == REDIS_TEXT && (text[len] != '\r' || text[len + 1] != '\n'))
        return fail(reader, no_resp);
    err = ff_buf_append(&reader->texts, text, len);
    if (err)
        return fail(reader, err == FF_ELIMIT ? too_large : no_memory);
    return add(task, value);
}

static unsigned depth_of(const redisReadTask *task)
{
    unsigned depth = 0;

    for (; task->parent; task = task->parent)
        depth++;
    return depth;
}

static void *on_array(const redisReadTask *task, array_count count)
{
    struct redis_reader *reader = task->privdata;

    if (depth_of(task) > REDIS_DEPTH_MAX)
        return fail(reader, too_deep);
    if (!add(task, (struct redis_value){.kind = REDIS_ARRAY, .count = (uint32_t)count}))
        return NULL;
    if ((uint64_t)count > REDIS_VALUES_MAX - reader->awaited)
        return fail(reader, too_many);
    reader->awaited += (uint32_t)count;
    return &made;
}

static void *on_integer(const redisReadTask *task, long long integer)
{
    return add(task, (struct redis_value){.kind = REDIS_INTEGER, .integer = integer});
}

static void *on_nil(const redisReadTask *task)
{
    return add(task, (struct redis_value){.kind = REDIS_NIL});
}

#if HIREDIS_MAJOR > 0
static void *on_double(const redisReadTask *task, double number, char *text, size_t len)
{
    (void)number;
    (void)text;
    (void)len;
    return fail(task->privdata, no_resp);
}

static void *on_bool(const redisReadTask *task, int number)
{
    (void)number;
    return fail(task->privdata, no_resp);
}
#endif

static redisReplyObjectFunctions functions = {
#if HIREDIS_MAJOR > 0
    .createDouble = on_double,
    .createBool = on_bool,
#endif
    .createString = on_text,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
};

void redis_reader_init(struct redis_reader *reader)
{
    *reader = (struct redis_reader){.count = 0};
    ff_buf_init(&reader->texts, REDIS_REPLY_MAX);
}

static void free_parser(struct redis_reader *reader)
{
    if (reader->parser)
        redisReaderFree(reader->parser);
    reader->parser = NULL;
    reader->fed = reader->parsed = 0;
    reader->most = 0;
}

void redis_reader_deinit(struct redis_reader *reader)
{
    free_parser(reader);
    ff_mem_free(reader->values);
    ff_buf_deinit(&reader->texts);
    redis_reader_init(reader);
}

/* hiredis would change a large buffer for a new one, and abort where there is none: maxbuf 0. */
static bool make_parser(struct redis_reader *reader)
{
    if (reader->parser)
        return true;
    reader->parser = redisReaderCreateWithFunctions(&functions);
    if (!reader->parser)
        return false;
    reader->parser->privdata = reader;
    reader->parser->maxbuf = 0;
    return true;
}

void redis_reader_feed(struct redis_reader *reader, const void *bytes, size_t len)
{
    size_t unparsed;

    if (reader->why || len == 0)
        return;
    if (!make_parser(reader) || redisReaderFeed(reader->parser, bytes, len) != REDIS_OK) {
        (void)fail(reader, no_memory);
        return;
    }
    reader->fed += len;
    unparsed = reader->parser->len - reader->parser->pos;
    if (unparsed > reader->most)
        reader->most = unparsed;
}

/* What the last reply needed; and the parser, whose buffer can be made smaller in no other way. */
static void give_back(struct redis_reader *reader)
{
    if (reader->texts.cap > REDIS_KEPT)
        ff_buf_deinit(&reader->texts);
    if (reader->room * sizeof(*reader->values) > REDIS_KEPT) {
        ff_mem_free(reader->values);
        reader->values = NULL;
        reader->room = 0;
    }
    if (reader->most > REDIS_KEPT && reader->parser->pos == reader->parser->len)
        free_parser(reader);
}

/* Forgets the reply that was handed out. */
static void begin_reply(struct redis_reader *reader)
{
    reader->is_taken = false;
    reader->count = 0;
    reader->texts.len = 0;
    give_back(reader);
}

/* Of the value that hiredis is at: it has taken the octet that says so. -1: that is to come. */
static int awaited_type(const redisReader *parser)
{
    if (parser->ridx < 0)
        return -1;
#if HIREDIS_MAJOR > 0
    return parser->task[parser->ridx]->type;
#else
    return parser->rstack[parser->ridx].type;
#endif
}

/*
 * hiredis waits for what was announced, however much it is, and for the end of a line without end,
 * through which it looks again each time. So we look at what it waits for.
 */
static const char *what_is_wrong_with_rest(const struct redis_reader *reader)
{
    const redisReader *parser = reader->parser;
    const char *at = parser->buf + parser->pos;
    size_t len = parser->len - parser->pos;
    int type = awaited_type(parser);
    const char *end;

    if (reader->fed - reader->parsed > REDIS_REPLY_MAX)
        return too_large;
    if (type == REDIS_REPLY_STATUS || type == REDIS_REPLY_ERROR)
        return len > REDIS_LINE_MAX ? long_line : NULL;
    if (type < 0)
        return NULL;
    end = memchr(at, '\r', len < HEAD_MAX ? len : HEAD_MAX);
    if (!end)
        return len < HEAD_MAX ? NULL : no_resp;
    return type == REDIS_REPLY_STRING && strtoll(at, NULL, 10) > REDIS_REPLY_MAX ? too_large : NULL;
}

/* Of the reader that has failed, or of the one that waits for more. */
static enum redis_reading judge(struct redis_reader *reader)
{
    if (reader->parser && reader->parser->err) {
        bool is_memory = reader->parser->err == REDIS_ERR_OOM;

        (void)fail(reader, is_memory ? no_memory : no_resp);
    } else if (reader->parser && !reader->why) {
        reader->why = what_is_wrong_with_rest(reader);
    }
    return reader->why ? REDIS_READER_BAD : REDIS_READER_MORE;
}

enum redis_reading redis_reader_next(struct redis_reader *reader, struct redis_reply *reply)
{
    void *object = NULL;

    *reply = (struct redis_reply){.values = NULL};
    if (reader->is_taken)
        begin_reply(reader);
    if (!reader->parser || reader->why ||
        redisReaderGetReply(reader->parser, &object) != REDIS_OK || !object)
        return judge(reader);
    reader->parsed = reader->fed - (reader->parser->len - reader->parser->pos);
    reader->is_taken = true;
    *reply = (struct redis_reply){reader->values, reader->count, reader->texts.data};
    return REDIS_READER_REPLY;
}

struct ff_slice redis_text(const struct redis_reply *reply, uint32_t i)
{
    const struct redis_value *value = i < reply->count ? &reply->values[i] : NULL;

    if (!value || value->len == 0 ||
        (value->kind != REDIS_TEXT && value->kind != REDIS_STATUS && value->kind != REDIS_ERROR))
        return (struct ff_slice){NULL, 0};
    return (struct ff_slice){reply->texts + value->at, value->len};
}

uint32_t redis_next(const struct redis_reply *reply, uint32_t i)
{
    uint64_t left = 1; /* values that are still to be passed */

    for (; left > 0 && i < reply->count; i++)
        left += reply->values[i].count - UINT64_C(1);
    return i < reply->count ? i : reply->count;
}

bool redis_is(const struct redis_reply *reply, uint32_t i, enum redis_kind kind)
{
    return i < reply->count && reply->values[i].kind == kind;
}
