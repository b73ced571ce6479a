/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/websocket/frame.h"

#include <string.h>

#include "protocol/base/bytes.h"

int ff_frame_parse_head(struct ff_frame_head *head, const uint8_t *bytes, size_t len)
{
    size_t need = 2;
    uint8_t short_len;

    if (len < need)
        return 0;
    short_len = bytes[1] & 0x7f;
    head->fin = bytes[0] & 0x80;
    head->rsv = (bytes[0] >> 4) & 7;
    head->opcode = bytes[0] & 15;
    head->masked = bytes[1] & 0x80;
    head->len = short_len;
    need += short_len == 126 ? 2U : short_len == 127 ? 8U : 0U;
    if (len < need)
        return 0;
    if (short_len == 126) {
        head->len = ff_load_u16(bytes + 2);
        if (head->len < 126)
            return -1;
    } else if (short_len == 127) {
        head->len = ff_load_u64(bytes + 2);
        if (head->len <= UINT16_MAX || head->len >> 63)
            return -1;
    }
    if (head->masked) {
        if (len < need + 4)
            return 0;
        memcpy(head->mask, bytes + need, 4);
        need += 4;
    }
    return (int)need;
}

static size_t write_head(uint8_t *out, enum ff_opcode opcode, uint64_t len, uint8_t mask_bit)
{
    out[0] = (uint8_t)(0x80 | opcode);
    if (len < 126) {
        out[1] = (uint8_t)(mask_bit | len);
        return 2;
    }
    if (len <= UINT16_MAX) {
        out[1] = mask_bit | 126;
        ff_store_u16(out + 2, (uint16_t)len);
        return 4;
    }
    out[1] = mask_bit | 127;
    ff_store_u64(out + 2, len);
    return 10;
}

size_t ff_frame_write_head(uint8_t *out, enum ff_opcode opcode, uint64_t len)
{
    return write_head(out, opcode, len, 0);
}

size_t ff_frame_head_size(uint64_t len)
{
    return len < 126 ? 2 : len <= UINT16_MAX ? 4 : 10;
}

size_t ff_frame_write_masked_head(uint8_t *out, enum ff_opcode opcode, uint64_t len,
                                  const uint8_t mask[4])
{
    size_t size = write_head(out, opcode, len, 0x80);

    memcpy(out + size, mask, 4);
    return size + 4;
}

void ff_frame_mask(uint8_t *bytes, size_t len, const uint8_t mask[4], uint64_t at)
{
    uint8_t turned[8];
    uint64_t key;
    uint64_t words[8];
    size_t i = 0;

    for (size_t k = 0; k < sizeof(turned); k++)
        turned[k] = mask[(at + k) & 3];
    memcpy(&key, turned, sizeof(key));
    for (; len - i >= sizeof(words); i += sizeof(words)) { /* which compilers do in vectors */
        memcpy(words, bytes + i, sizeof(words));
        for (size_t k = 0; k < 8; k++)
            words[k] ^= key;
        memcpy(bytes + i, words, sizeof(words));
    }
    for (; len - i >= sizeof(key); i += sizeof(key)) {
        memcpy(words, bytes + i, sizeof(key));
        words[0] ^= key;
        memcpy(bytes + i, words, sizeof(key));
    }
    for (; i < len; i++)
        bytes[i] ^= turned[i & 7];
}

size_t ff_frame_write_close(uint8_t *out, int code, const char *reason)
{
    struct ff_slice text = ff_slice_of(reason);

    if (code == 0)
        return 0;
    if (text.len > FF_CLOSE_REASON_MAX) {
        text.len = FF_CLOSE_REASON_MAX;
        while (text.len && ((uint8_t)text.at[text.len] & 0xc0) == 0x80)
            text.len--;
    }
    ff_store_u16(out, (uint16_t)code);
    if (text.len)
        memcpy(out + 2, text.at, text.len);
    return text.len + 2;
}

bool ff_frame_is_close_code(int code)
{
    if (code >= 3000 && code <= 4999)
        return true;
    return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}
