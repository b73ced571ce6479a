/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/worker/epoch.h"

#include "protocol/base/check.h"

void epochs_init(struct epochs *epochs, uint32_t count)
{
    FF_CHECK(count > 0 && count <= WORKERS_MAX);
    atomic_init(&epochs->now, 1);
    epochs->count = count;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        atomic_init(&epochs->slots[i].epoch, 0);
}

void epoch_enter(struct epochs *epochs, uint32_t worker)
{
    uint64_t now = atomic_load(&epochs->now);

    atomic_store(&epochs->slots[worker].epoch, now);
}

void epoch_leave(struct epochs *epochs, uint32_t worker)
{
    atomic_store_explicit(&epochs->slots[worker].epoch, 0, memory_order_release);
}

uint64_t epoch_retire(struct epochs *epochs)
{
    return atomic_fetch_add(&epochs->now, 1) + 1;
}

bool epoch_is_over(struct epochs *epochs, uint64_t retired)
{
    for (uint32_t i = 0; i < epochs->count; i++) {
        uint64_t epoch = atomic_load(&epochs->slots[i].epoch);

        if (epoch && epoch < retired)
            return false;
    }
    return true;
}
