/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/member.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "protocol/message/json.h"
#include "protocol/message/msgpack.h"

enum { ID_LEN = 16, HEAD_MAX = 5 };

enum ff_err members_begin(struct ff_buf *out)
{
    enum ff_err err;

    out->len = 0;
    err = ff_buf_reserve(out, HEAD_MAX);
    if (!err)
        out->len = HEAD_MAX; /* how many there are stands right before the first, in the end */
    return err;
}

static char *put(char *at, const char *text)
{
    size_t len = strlen(text);

    memcpy(at, text, len);
    return at + len;
}

static char *add_json(char *at, const struct member *member, const char *id)
{
    at = put(at, "{\"session\":\"");
    at = put(at, id);
    *at++ = '"';
    if (member->user_len) {
        at = put(at, ",\"user\":");
        at = ff_json_write_quoted(at, member_user(member));
    }
    *at++ = '}';
    return at;
}

static char *add_text(char *at, struct ff_slice text)
{
    at = ff_msgpack_write_head(at, FF_MSGPACK_STR, (uint32_t)text.len);
    memcpy(at, text.at, text.len);
    return at + text.len;
}

static char *add_msgpack(char *at, const struct member *member, const char *id)
{
    at = ff_msgpack_write_head(at, FF_MSGPACK_MAP, member->user_len ? 2 : 1);
    at = add_text(at, FF_SLICE("session"));
    at = add_text(at, (struct ff_slice){id, ID_LEN});
    if (member->user_len) {
        at = add_text(at, FF_SLICE("user"));
        at = add_text(at, member_user(member));
    }
    return at;
}

enum ff_err members_add(struct ff_buf *out, enum ff_encoding encoding, const struct member *member)
{
    enum ff_err err = ff_buf_reserve(out, MEMBER_TEXT_MAX);
    char id[ID_LEN + 1];
    char *at;

    if (err)
        return err;
    at = out->data + out->len;
    (void)snprintf(id, sizeof(id), "%016" PRIx64, member->session);
    if (encoding == FF_JSON && out->len > HEAD_MAX)
        *at++ = ',';
    at = encoding == FF_JSON ? add_json(at, member, id) : add_msgpack(at, member, id);
    out->len = (size_t)(at - out->data);
    return FF_OK;
}

enum ff_err members_end(struct ff_buf *out, enum ff_encoding encoding, uint32_t count,
                        struct ff_slice *array)
{
    char head[HEAD_MAX] = "[";
    size_t head_len = 1;

    if (encoding == FF_JSON) {
        enum ff_err err = ff_buf_append(out, "]", 1);

        if (err)
            return err;
    } else {
        head_len = (size_t)(ff_msgpack_write_head(head, FF_MSGPACK_ARRAY, count) - head);
    }
    memcpy(out->data + HEAD_MAX - head_len, head, head_len);
    *array = (struct ff_slice){out->data + HEAD_MAX - head_len, out->len - HEAD_MAX + head_len};
    return FF_OK;
}
