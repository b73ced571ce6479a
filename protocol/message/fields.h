/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields.h - what both decoders share: raw fields, and what a message needs.
 *
 * Inside the message floor only.
 */
#ifndef MESSAGE_FIELDS_H
#define MESSAGE_FIELDS_H

#include "protocol/message/decode.h"

/* Where a field stood in the frame, before its meaning is known. */
struct ff_raw {
    struct ff_slice bytes;
    unsigned faults;
};

/* Empties a message for the next one. */
void ff_message_reset(struct ff_message *m);

/*
 * Notes the first thing that is wrong; later ones change nothing, but that
 * MALFORMED outweighs all others: such a frame does nothing.
 */
void ff_message_fail(struct ff_message *m, enum ff_error error, const char *reason);

/* The same, at an octet of the frame: ff_decoder_at(). */
void ff_message_fail_at(struct ff_message *m, enum ff_error error, const char *reason, size_t at);

/* A field's value is of the wrong kind, or has faults (json.h). */
void ff_message_fail_field(struct ff_message *m, enum ff_field field, unsigned faults, size_t at);

/* Which octet of the frame stands at `at`, in what is left of it. */
static inline size_t ff_decoder_at(const struct ff_decoder *d, const char *at)
{
    return d->frame_size - (size_t)(d->rest.at + d->rest.len - at);
}

/* "wrong kind" in words for this field. Static. */
const char *ff_field_fault(enum ff_field field);

/* A topic that is there, but no valid text: not malformed, not missing. */
void ff_message_fail_topic(struct ff_message *m);

/* Are the fields that this type must have there, and have all a value that may be? */
void ff_message_validate(struct ff_message *m, enum ff_sender sender);

/* The two decoders: one message off the front of `d->rest`. */
void ff_decode_json_message(struct ff_decoder *d, struct ff_message *m);
void ff_decode_msgpack_message(struct ff_decoder *d, struct ff_message *m);

#endif
