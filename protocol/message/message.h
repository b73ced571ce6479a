/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.h - what a protocol message is, whichever encoding carried it.
 *
 * Types, fields and layouts are made from message.def. A decoded message is a
 * set of fields: which are there is a bit each, and what they hold is borrowed
 * from the frame (or from the message's own small memory, where an escape had
 * to be undone). See docs/protocol.md.
 */
#ifndef MESSAGE_MESSAGE_H
#define MESSAGE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/base/bytes.h"
#include "protocol/base/codes.h"
#include "protocol/message/position.h"

enum ff_encoding { FF_JSON, FF_MSGPACK };
enum { FF_ENCODINGS = 2, FF_BATCH_MAX = 1024, FF_LAYOUT_MAX = 14, FF_MESSAGE_SCRATCH = 4096 };

#define FF_INTEGER_MAX ((1ULL << 53) - 1) /* ids and offsets: what a double holds exactly */

#define FF_NOWHERE SIZE_MAX

enum ff_sender { FF_CLIENT, FF_BROKER };

enum ff_type {
#define FF_TYPE(number, name) FF_TYPE_##name = (number),
#include "protocol/message/message.def"
    FF_TYPES,
};

enum ff_field {
    FF_FIELD_NONE,
#define FF_FIELD(name, wire, kind) FF_FIELD_##name,
#include "protocol/message/message.def"
    FF_FIELDS,
};

enum ff_field_kind {
    FF_KIND_INTEGER, /* 0 to FF_INTEGER_MAX */
    FF_KIND_NUMBER,  /* a finite double */
    FF_KIND_STRING,
    FF_KIND_OPAQUE, /* a string that is handed on as it stands, quotes and escapes included */
    FF_KIND_BOOL,
    FF_KIND_SINCE, /* an integer or an object */
    FF_KIND_OBJECT,
    FF_KIND_ARRAY,
    FF_KIND_ANY,
    FF_KIND_PAYLOAD,
};

/* How a payload's bytes are to be read. */
enum ff_payload_kind {
    FF_PAYLOAD_JSON,    /* a JSON value */
    FF_PAYLOAD_BASE64,  /* what stands between the quotes of `data`, strict base64 */
    FF_PAYLOAD_MSGPACK, /* a MessagePack value, `bin` included */
    FF_PAYLOAD_BYTES,   /* raw octets, to be carried as `bin` or `data` */
};

struct ff_payload {
    enum ff_payload_kind kind;
    struct ff_slice bytes;
};

struct ff_value {
    union {
        uint64_t integer;
        double number;
        bool flag;
    };
    struct ff_slice text; /* a string's text, or the raw value of OBJECT, ARRAY, ANY, SINCE */
};

struct ff_message {
    unsigned type; /* as it stood, known or not; 0: none could be read */
    uint64_t present;
    struct ff_value values[FF_FIELDS];
    struct ff_payload payload;
    struct ff_since since; /* the value of FF_FIELD_SINCE */
    enum ff_error error;   /* what is wrong with this message, FF_ERROR_NONE: nothing */
    const char *reason;    /* static */
    size_t fault_at; /* which octet of the frame that concerns; FF_NOWHERE: none in particular */
    bool lacks_type; /* MALFORMED only because it says no type: some keep connections alive by that
                      */
    size_t scratch_len;
    char scratch[FF_MESSAGE_SCRATCH]; /* strings whose escapes were undone */
};

static inline bool ff_message_has(const struct ff_message *m, enum ff_field field)
{
    return m->present >> field & 1;
}

/* A string field's text; {NULL, 0} where it is missing. */
static inline struct ff_slice ff_message_text(const struct ff_message *m, enum ff_field field)
{
    return ff_message_has(m, field) ? m->values[field].text : (struct ff_slice){NULL, 0};
}

/*
 * The fields of a type in MessagePack order and their number; NULL: that side
 * never sends it. The broker's PRESENCE begins with NONE, where a client's has
 * its id.
 */
const uint8_t *ff_layout(enum ff_sender sender, unsigned type, size_t *count);

/* As on the wire; static, with a NUL behind it. */
struct ff_slice ff_field_name(enum ff_field field);
enum ff_field_kind ff_field_kind(enum ff_field field);

/* The type's name, for example "SUBSCRIBE"; NULL for an unknown one. */
const char *ff_type_name(unsigned type);

#endif
