/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/decode.h"

#include <limits.h>

#include "protocol/message/fields.h"
#include "protocol/message/msgpack.h"

static void decode_message(struct ff_decoder *d, struct ff_message *m)
{
    ff_message_reset(m);
    if (d->encoding == FF_JSON)
        ff_decode_json_message(d, m);
    else
        ff_decode_msgpack_message(d, m);
}

/* Goes into a batch if the frame is one: `rest` then begins at its first message. */
static void enter_json(struct ff_decoder *d)
{
    struct ff_json j = ff_json_of(ff_json_without_mark(d->rest));

    ff_json_skip_space(&j);
    d->is_batch = ff_json_take_char(&j, '[');
    d->rest = (struct ff_slice){j.at, (size_t)(j.end - j.at)};
}

static void enter_msgpack(struct ff_decoder *d)
{
    struct ff_msgpack m = ff_msgpack_of(d->rest);
    struct ff_msgpack_item item;
    struct ff_msgpack_item first;
    struct ff_msgpack behind;

    if (ff_msgpack_take_item(&m, &item) || item.kind != FF_MSGPACK_ARRAY || item.count == 0)
        return;
    behind = m;
    if (ff_msgpack_take_item(&m, &first) || first.kind != FF_MSGPACK_ARRAY)
        return;
    d->is_batch = true;
    d->left = item.count;
    d->rest = (struct ff_slice){behind.at, (size_t)(behind.end - behind.at)};
}

/* Behind a message: is the frame at its end, or is there another one? */
static bool step(struct ff_decoder *d, bool *is_end)
{
    struct ff_json j = ff_json_of(d->rest);

    if (!d->is_batch || d->encoding == FF_MSGPACK) {
        *is_end = !d->is_batch || --d->left == 0;
        return !*is_end || d->rest.len == 0;
    }
    *is_end = !ff_json_take_char(&j, ',');
    if (*is_end && (!ff_json_take_char(&j, ']') || j.at != j.end))
        return false;
    d->rest = (struct ff_slice){j.at, (size_t)(j.end - j.at)};
    return *is_end || j.at != j.end;
}

/* Goes through a batch once without handing anything out. */
static const char *check_batch(struct ff_decoder d, size_t *fault_at)
{
    struct ff_message m;
    unsigned count = 0;
    bool is_end = false;

    while (!is_end) {
        decode_message(&d, &m);
        *fault_at = m.error ? m.fault_at : ff_decoder_at(&d, d.rest.at);
        if (m.error == FF_ERROR_MALFORMED ||
            (m.error && d.rest.len == 0 && d.left > 1 && d.encoding == FF_MSGPACK))
            return m.reason; /* also: not read on in the middle of a batch */
        if (!step(&d, &is_end))
            return "a batch is a whole array of messages";
        *fault_at = FF_NOWHERE;
        if (++count > FF_BATCH_MAX)
            return "a batch holds at most 1024 messages";
    }
    return NULL;
}

enum ff_err ff_decode_begin(struct ff_decoder *d, struct ff_slice frame, const char **reason,
                            size_t *fault_at)
{
    d->rest = frame;
    d->frame_size = frame.len;
    d->is_batch = false;
    d->left = UINT_MAX;
    if (d->encoding == FF_JSON)
        enter_json(d);
    else
        enter_msgpack(d);
    *reason = d->is_batch ? check_batch(*d, fault_at) : NULL;
    return *reason ? FF_EINVAL : FF_OK;
}

bool ff_decode_next(struct ff_decoder *d, struct ff_message *m)
{
    bool is_end;

    if (d->left == 0)
        return false;
    decode_message(d, m);
    if (m->error == FF_ERROR_MALFORMED)
        is_end = true;
    else if (!step(d, &is_end))
        ff_message_fail_at(m, FF_ERROR_MALFORMED, "there is more behind the message",
                           ff_decoder_at(d, d->rest.at));
    if (is_end)
        d->left = 0;
    return true;
}
