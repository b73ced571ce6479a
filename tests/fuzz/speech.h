/* SPDX-License-Identifier: Apache-2.0 */
/*
 * speech.h - the fuzz target's program as octets, and messages by a few of them:
 * what clients of the broker say, with names of which there are few.
 */
#ifndef FUZZ_SPEECH_H
#define FUZZ_SPEECH_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { HEAD = 512, TEXT = 1500 };

struct program {
    const uint8_t *at;
    const uint8_t *end;
};

static const char *const topics[] = {"a", "b", "a/b", "a/#", "+", "#", "$SYS/broker", "c//d"};

static inline uint8_t next(struct program *program)
{
    return program->at < program->end ? *program->at++ : 0;
}

static inline int write_subscribe(char *out, size_t size, const char *topic, uint8_t how)
{
    static const char *const overflows[] = {"", ",\"overflow\":\"skip\"",
                                            ",\"overflow\":\"latest\"", ",\"overflow\":\"close\""};
    static const char *const rates[] = {"", ",\"rate\":0", ",\"rate\":2.5", ",\"rate\":-1"};
    static const char *const echoes[] = {"", ",\"echo\":false", ",\"echo\":true", ",\"since\":3"};

    static const char *const bounds[] = {"", ",\"buffered\":0", ",\"presence\":true",
                                         ",\"buffered\":300,\"presence\":false"};

    return snprintf(out, size, "{\"type\":5,\"id\":%u,\"topic\":\"%s\"%s%s%s%s}", how, topic,
                    overflows[how & 3], rates[(how >> 2) & 3], echoes[(how >> 4) & 3],
                    bounds[how >> 6]);
}

static inline int write_publish(char *out, size_t size, const char *topic, uint8_t how)
{
    static const char filling[] =
        "0123456789012345678901234567890123456789012345678901234567890123"
        "0123456789012345678901234567890123456789012345678901234567890123"
        "0123456789012345678901234567890123456789012345678901234567890123";

    return snprintf(out, size, "{\"type\":7,%s\"topic\":\"%s\",\"message\":\"%.*s\"%s%s}",
                    how & 1 ? "\"id\":1," : "", topic, how < 192 ? how : 190, filling,
                    (how & 6) == 6 ? ",\"key\":\"k\"" : "",
                    (how & 24) == 24 ? ",\"retain\":true" : "");
}

/* Each field that a plain client is known by, alone, with a value of each kind. */
static inline size_t write_lone_field(char *out, size_t size, unsigned which)
{
    static const char *const names[] = {"type", "id",    "topic", "message",
                                        "data", "token", "since", "buffered"};
    static const char *const values[] = {"null", "1", "\"x\"", "{}", "[]", "true", "1e999", "NaN"};

    return (size_t)snprintf(out, size, "{\"%s\":%s}", names[which & 7], values[which >> 3 & 7]);
}

/* One message in JSON, or one with several in it. */
static inline size_t write_json(struct program *program, char *out, size_t size)
{
    uint8_t kind = next(program);
    const char *topic = topics[next(program) % 8];
    uint8_t how = next(program);
    char one[HEAD / 2];
    int len = 0;

    switch (kind % 8) {
    case 0:
    case 1:
        return (size_t)write_subscribe(out, size, topic, how);
    case 2:
        return (size_t)snprintf(out, size, "{\"type\":6,\"id\":%u,\"topic\":\"%s\"}", how, topic);
    case 3:
    case 4:
        return (size_t)write_publish(out, size, topic, how);
    case 5:
        if ((how & 12) == 12)
            return (size_t)snprintf(
                out, size, "{\"type\":12,\"id\":%u,\"topic\":\"%s\",\"limit\":%u%s%s}", how, topic,
                how & 0x33, how & 1 ? ",\"reverse\":true" : "", how & 2 ? ",\"since\":4" : "");
        if (how & 2)
            return (size_t)snprintf(out, size, "{\"type\":11,\"id\":%u,\"topic\":\"%s\"}", how,
                                    topic);
        return (size_t)snprintf(out, size,
                                "{\"type\":%u,\"id\":%u,\"heartbeat\":5,\"user\":\"%.*s\"}",
                                how & 1 ? 1 : 3, how, how >> 6, "uvw");
    case 6: /* a batch: to itself, and gone within it */
        (void)write_publish(one, sizeof(one), topic, how);
        len = snprintf(out, size, "[%s", one);
        for (int i = 0; i < (how & 3) && len + HEAD < (int)size; i++)
            len += snprintf(out + len, size - (size_t)len, ",%s", one);
        len += snprintf(out + len, size - (size_t)len, ",{\"type\":6,\"topic\":\"%s\"},", topic);
        len += write_subscribe(out + len, size - (size_t)len, topic, (uint8_t)(how * 7));
        return (size_t)(len + snprintf(out + len, size - (size_t)len, "]"));
    default:
        if ((how & 3) == 3)
            return write_lone_field(out, size, how >> 2);
        return (size_t)snprintf(out, size, how & 1 ? "ping" : "{\"type\":2,\"message\":%u}", how);
    }
}

static inline size_t write_msgpack(struct program *program, uint8_t *out)
{
    static const uint8_t types[] = {5, 6, 7, 7, 1, 3, 11, 12};
    uint8_t type = types[next(program) % sizeof(types)];
    const char *topic = topics[next(program) % 8];
    uint8_t how = next(program);
    size_t n = 0;

    out[n++] = type == 5 ? 0x99 : 0x94;
    out[n++] = type;
    out[n++] = how & 1 ? 7 : 0xc0;
    out[n++] = (uint8_t)(0xa0 | strlen(topic));
    memcpy(out + n, topic, strlen(topic));
    n += strlen(topic);
    if (type == 5) { /* since, overflow, rate, presence, echo, buffered */
        out[n++] = how & 32 ? how & 7 : 0xc0;
        out[n++] = 0xc0;
        out[n++] = how & 2 ? 2 : 0xc0;
        out[n++] = how & 16 ? 0xc3 : 0xc0;
        out[n++] = how & 4 ? 0xc2 : 0xc0;
        out[n++] = how & 8 ? how & 0x7f : 0xc0;
    } else { /* a payload of `how` octets, or a wild one */
        out[n++] = how & 1 ? 0xc4 : 0xd9;
        out[n++] = how;
        memset(out + n, 'x', how);
        n += how;
        if (type == 7 && (how & 6) == 6) {
            out[0]++;
            memcpy(out + n, "\xa1k", 2);
            n += 2;
        }
    }
    return n;
}

#endif
