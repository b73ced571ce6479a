/* SPDX-License-Identifier: Apache-2.0 */
/* Frames, UTF-8, JSON: what is done to every octet of a peer's. */
#include <stdio.h>
#include <string.h>

#include "bench/micro/micro.h"
#include "protocol/message/decode.h"
#include "protocol/message/json.h"
#include "protocol/websocket/reader.h"

enum { FRAMES = 64, PAYLOAD = 128, KIB = 1024 };

struct stream {
    uint8_t bytes[FRAMES * (PAYLOAD + 8)];
    uint8_t again[FRAMES * (PAYLOAD + 8)]; /* unmasking writes into it */
    size_t len;
};

static struct stream binary;
static struct stream text;
static char ascii[KIB];
static char mixed[KIB];
static char chat[KIB];
static char records[KIB];
static char floats[KIB];
static char publish[PAYLOAD];
static char publish_msgpack[PAYLOAD];

static size_t place(char *out, struct ff_slice s)
{
    if (s.len)
        memcpy(out, s.at, s.len);
    return s.len;
}

/* `unit` again and again up to `end`; what is left is white space. */
static void fill(char *out, struct ff_slice begin, struct ff_slice unit, struct ff_slice end)
{
    size_t at = place(out, begin);

    while (at + unit.len + end.len <= KIB)
        at += place(out + at, unit);
    at -= unit.at[unit.len - 1] == ','; /* none behind the last one */
    at += place(out + at, end);
    memset(out + at, ' ', KIB - at);
}

static void make_stream(struct stream *stream, enum ff_opcode opcode)
{
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};

    for (int i = 0; i < FRAMES; i++) {
        uint8_t *at = stream->bytes + stream->len;
        size_t head = ff_frame_write_masked_head(at, opcode, PAYLOAD, mask);

        memset(at + head, 'x', PAYLOAD);
        ff_frame_mask(at + head, PAYLOAD, mask, 0);
        stream->len += head + PAYLOAD;
    }
}

void micro_bytes_set_up(void)
{
    make_stream(&binary, FF_OP_BINARY);
    make_stream(&text, FF_OP_TEXT);
    memset(ascii, 'x', KIB);
    fill(mixed, FF_SLICE(""), FF_SLICE("abc\xc3\xa4 xy\xe2\x82\xac z"), FF_SLICE(""));
    fill(chat, FF_SLICE("{\"from\":\"ann\",\"room\":\"general\",\"text\":\""),
         FF_SLICE("The quick brown fox jumps over the lazy dog. "), FF_SLICE("\"}"));
    fill(records, FF_SLICE("["),
         FF_SLICE("{\"id\":12345,\"name\":\"sensor 7\",\"ok\":true,\"value\":21.5},"),
         FF_SLICE("]"));
    fill(floats, FF_SLICE("["), FF_SLICE("0.123456789,-98.7654321,1.5e-10,"), FF_SLICE("]"));
    memset(publish, 'x', PAYLOAD);
    (void)place(publish, FF_SLICE("{\"type\":7,\"topic\":\"bench/0\",\"message\":\""));
    (void)place(publish + PAYLOAD - 2, FF_SLICE("\"}"));
    memset(publish_msgpack, 'x', PAYLOAD);
    (void)place(publish_msgpack, FF_SLICE("\x94\x07\xc0\xa7"
                                          "bench/0\xd9"));
    publish_msgpack[12] = PAYLOAD - 13;
}

static void parse(struct stream *stream, uint64_t times)
{
    struct ff_reader reader;
    struct ff_reader_event event;

    ff_reader_init(&reader, FF_ROLE_SERVER, 1 << 16);
    for (uint64_t done = 0; done < times;) {
        size_t at = 0;
        size_t used;

        memcpy(stream->again, stream->bytes, stream->len);
        while (at < stream->len && done < times) {
            ff_reader_next(&reader, stream->again + at, stream->len - at, &used, &event);
            must(event.kind == FF_READER_MESSAGE, "a frame is wrong");
            at += used;
            done++;
        }
    }
    ff_reader_deinit(&reader);
}

void micro_frame_parse(uint64_t times)
{
    parse(&binary, times);
}

void micro_frame_parse_text(uint64_t times)
{
    parse(&text, times);
}

void micro_unmask(uint64_t times)
{
    static const uint8_t mask[4] = {1, 2, 3, 4};
    static uint8_t bytes[KIB];

    for (uint64_t i = 0; i < times; i++)
        ff_frame_mask(bytes, KIB, mask, 0);
}

static void check_utf8(const char *bytes, uint64_t times)
{
    for (uint64_t i = 0; i < times; i++)
        must(ff_utf8_is_valid(bytes, KIB), "UTF-8 is wrong");
}

void micro_utf8_ascii(uint64_t times)
{
    check_utf8(ascii, times);
}

void micro_utf8_mixed(uint64_t times)
{
    check_utf8(mixed, times);
}

static void check_json(const char *bytes, uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        struct ff_json json = ff_json_of((struct ff_slice){bytes, KIB});
        struct ff_slice value;
        unsigned faults = 0;

        must(ff_json_take(&json, &value, &faults) == FF_OK && !faults, "JSON is wrong");
    }
}

void micro_json_chat(uint64_t times)
{
    check_json(chat, times);
}

void micro_json_records(uint64_t times)
{
    check_json(records, times);
}

void micro_json_floats(uint64_t times)
{
    check_json(floats, times);
}

static void decode(const char *bytes, enum ff_encoding encoding, uint64_t times)
{
    static struct ff_message message;
    struct ff_buf spare;

    ff_buf_init(&spare, KIB);
    for (uint64_t i = 0; i < times; i++) {
        struct ff_decoder decoder = {
            .encoding = encoding, .sender = FF_CLIENT, .unescape_buf = &spare};
        const char *reason;
        size_t fault_at;

        must(ff_decode_begin(&decoder, (struct ff_slice){bytes, PAYLOAD}, &reason, &fault_at) ==
                     FF_OK &&
                 ff_decode_next(&decoder, &message) && !message.error,
             "a message is wrong");
    }
    ff_buf_deinit(&spare);
}

void micro_decode_publish(uint64_t times)
{
    decode(publish, FF_JSON, times);
}

void micro_decode_publish_msgpack(uint64_t times)
{
    decode(publish_msgpack, FF_MSGPACK, times);
}
