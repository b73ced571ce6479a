/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/crowd.h"

#include <stdio.h>

#include "bench/load/report.h"
#include "protocol/base/mem.h"

enum { PATIENCE_S = 60 };

struct ff_slice topic_of(uint32_t i, char room[32])
{
    int len = snprintf(room, 32, "bench/%u", i);

    return (struct ff_slice){room, (size_t)len};
}

void crowd_init(struct crowd *crowd, uint32_t count, bool is_publishing)
{
    *crowd = (struct crowd){.count = count, .is_publishing = is_publishing};
    crowd->members = ff_mem_zalloc((count ? count : 1) * sizeof(struct member));
    if (!crowd->members)
        die("out of memory");
}

void crowd_deinit(struct hub *hub, struct crowd *crowd)
{
    for (uint32_t i = 0; i < crowd->begun; i++) {
        hub_close(hub, &crowd->members[i].peer);
        ff_mem_free(crowd->members[i].next);
    }
    ff_mem_free(crowd->members);
}

void crowd_opened(struct hub *hub, struct peer *peer)
{
    struct member *member = member_of(peer);
    char room[32];

    if (!peer->is_publisher)
        hub_subscribe(hub, peer, topic_of(member->topic, room));
    hub_ask(hub, peer);
}

void crowd_answered(struct peer *peer)
{
    struct member *member = member_of(peer);
    struct crowd *crowd = peer->owner;

    crowd->ready += !member->is_ready;
    member->is_ready = true;
}

void crowd_lost(struct peer *peer)
{
    struct crowd *crowd = peer->owner;

    crowd->gone++;
}

void crowd_open(struct hub *hub, struct crowd *crowd, const struct options *options)
{
    uint64_t last = clock_ns();
    uint32_t before = 0;
    char room[32];

    while (crowd->ready + crowd->gone < crowd->count) {
        uint32_t done = crowd->ready + crowd->gone;

        while (crowd->begun < crowd->count && crowd->begun - done < options->concurrency) {
            struct member *member = &crowd->members[crowd->begun++];

            member->peer.owner = crowd;
            member->peer.is_publisher = crowd->is_publishing;
            hub_connect(hub, &member->peer, topic_of(member->topic, room));
        }
        hub_poll(hub, POLL_NS);
        if (done != before || clock_ns() - last < MS_NS)
            last = clock_ns();
        before = done;
        if (clock_ns() - last > PATIENCE_S * SECOND_NS)
            die("%u of %u connections are ready, and for %d s no further one", crowd->ready,
                crowd->count, PATIENCE_S);
        progress(options, "%u of %u connections", crowd->ready, crowd->count);
    }
    if (crowd->gone)
        die("%u of %u connections were closed by the server while they opened", crowd->gone,
            crowd->count);
}
