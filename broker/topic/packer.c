/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topic/packer.h"

#include "protocol/websocket/deflater.h"

void packer_init(struct packer *packer)
{
    *packer = (struct packer){.deflater = NULL};
    ff_buf_init(&packer->plain, PACKER_MOST);
}

static void drop_deflater(struct packer *packer)
{
    ff_deflater_free(packer->deflater);
    packer->deflater = NULL;
}

void packer_deinit(struct packer *packer)
{
    drop_deflater(packer);
    ff_buf_deinit(&packer->plain);
}

void packer_configure(struct packer *packer, const struct packer_rules *rules)
{
    if (packer->rules.level != rules->level || packer->rules.window_bits != rules->window_bits)
        drop_deflater(packer);
    packer->rules = *rules;
}

bool packer_is_worth(const struct packer *packer, size_t octets, uint32_t readers)
{
    const struct packer_rules *rules = &packer->rules;

    return rules->level && octets >= rules->min_octets && octets <= PACKER_MOST && readers &&
           (readers >= rules->min_readers || octets >= PACKER_FEW_READERS);
}

bool packer_run(struct packer *packer, struct ff_buf *out, struct ff_slice *frame)
{
    const uint8_t *plain = (const uint8_t *)packer->plain.data;
    struct ff_frame_head was;
    int skip = ff_frame_parse_head(&was, plain, packer->plain.len);
    size_t len = packer->plain.len - (size_t)skip;
    uint8_t head[FF_FRAME_HEAD_MAX];
    size_t head_len;
    size_t size;
    uint8_t *body;

    FF_CHECK(skip > 0 && was.len == len);
    if (!packer->deflater)
        packer->deflater = ff_deflater_new(packer->rules.window_bits, (int)packer->rules.level);
    out->len = 0;
    if (!packer->deflater || ff_buf_reserve(out, sizeof(head) + len))
        return false;
    packer->was_used = true;
    body = (uint8_t *)out->data + sizeof(head);
    size = ff_deflater_run(packer->deflater, body, len, plain + skip, len);
    if (!size)
        return false;
    head_len = ff_frame_write_head(head, (enum ff_opcode)was.opcode, size);
    head[0] |= FF_FRAME_RSV1;
    memcpy(body - head_len, head, head_len);
    *frame = (struct ff_slice){(const char *)body - head_len, head_len + size};
    return true;
}

void packer_give_back(struct packer *packer)
{
    if (packer->was_used) {
        packer->was_used = false;
        return;
    }
    drop_deflater(packer);
    ff_buf_deinit(&packer->plain);
}
