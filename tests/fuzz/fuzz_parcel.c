/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message as Redis hands it over. What is taken for one can be rendered for both encodings, and
 * handed over again it comes back the same.
 */
#include <stdlib.h>

#include "broker/engine/parcel.h"
#include "protocol/message/transcode.h"
#include "tests/support/memory_sanitizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static void render(const struct parcel *parcel)
{
    for (int i = 0; i < FF_ENCODINGS; i++) {
        struct ff_payload payload = parcel->payload;
        struct ff_buf spare;

        ff_buf_init(&spare, 1 << 20);
        expect(ff_transcode(&payload, (enum ff_encoding)i, &spare) != FF_EINVAL);
        ff_buf_deinit(&spare);
    }
}

static void hand_over_again(const struct parcel *parcel)
{
    const struct publication p = {.payload = parcel->payload, .publisher = parcel->session};
    struct parcel again;
    struct ff_buf buf;

    ff_buf_init(&buf, 1 << 20);
    expect(ff_buf_printf(&buf, "%llu:%llu:%llu:", (unsigned long long)parcel->at.epoch,
                         (unsigned long long)parcel->at.offset,
                         (unsigned long long)parcel->wall_ms) == FF_OK);
    if (parcel_write(&buf, &p, parcel->node) == FF_OK) {
        expect(parcel_read(ff_buf_slice(&buf), &again) == PARCEL_GOOD);
        expect(again.at.epoch == parcel->at.epoch && again.at.offset == parcel->at.offset &&
               again.wall_ms == parcel->wall_ms && again.node == parcel->node &&
               again.session == parcel->session &&
               ff_slice_is_equal(again.payload.bytes, parcel->payload.bytes));
    }
    ff_buf_deinit(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ff_slice text = {(const char *)data, size};
    struct ff_slice topic = {NULL, 0};
    struct parcel parcel;

    if (parcel_read_named(text, &topic, &parcel) == PARCEL_GOOD) {
        check_initialized(topic.at, topic.len);
        render(&parcel);
    }
    if (parcel_read(text, &parcel) == PARCEL_GOOD) {
        render(&parcel);
        hand_over_again(&parcel);
    }
    return 0;
}
