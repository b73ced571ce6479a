/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/worker/qsbr.h"

#include "protocol/base/check.h"

void qsbr_init(struct qsbr *qsbr, uint32_t count)
{
    FF_CHECK(count > 0 && count <= WORKERS_MAX);
    atomic_init(&qsbr->now, 1);
    qsbr->count = count;
    for (uint32_t i = 0; i < WORKERS_MAX; i++)
        atomic_init(&qsbr->slots[i].interval, 0);
}

void qsbr_online(struct qsbr *qsbr, uint32_t worker)
{
    uint64_t now = atomic_load(&qsbr->now);

    atomic_store(&qsbr->slots[worker].interval, now);
}

void qsbr_offline(struct qsbr *qsbr, uint32_t worker)
{
    atomic_store_explicit(&qsbr->slots[worker].interval, 0, memory_order_release);
}

uint64_t qsbr_retire(struct qsbr *qsbr)
{
    return atomic_fetch_add(&qsbr->now, 1) + 1;
}

bool qsbr_is_passed(struct qsbr *qsbr, uint64_t retired)
{
    for (uint32_t i = 0; i < qsbr->count; i++) {
        uint64_t interval = atomic_load(&qsbr->slots[i].interval);

        if (interval && interval < retired)
            return false;
    }
    return true;
}
