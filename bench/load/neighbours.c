/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/neighbours.h"

#include "bench/load/payload.h"
#include "protocol/base/mem.h"

enum {
    BATCH = 200,
    SEND_BUFFER = 65536, /* else the kernels would take a gigabyte before any of them is full */
};

static void make_batch(struct neighbours *neighbours, struct hub *hub,
                       const struct options *options)
{
    struct peer peer = {.fd = -1};
    char *room = ff_mem_alloc(options->size);

    if (!room)
        die("out of memory");
    ff_buf_init(&peer.out, 1 << 30);
    for (uint32_t i = 0; i < BATCH; i++) {
        struct stamp stamp = {i, 0, 0};

        hub_publish(hub, &peer, FF_SLICE("nobody"), payload_write(room, options->size, &stamp));
    }
    neighbours->batch = peer.out;
    ff_mem_free(room);
}

void neighbours_init(struct neighbours *neighbours, struct hub *hub, const struct options *options)
{
    *neighbours = (struct neighbours){.batch = {.data = NULL}};
    crowd_init(&neighbours->crowd, (uint32_t)options->flood, true);
    if (!options->flood)
        return;
    make_batch(neighbours, hub, options);
    crowd_open(hub, &neighbours->crowd, options);
    for (uint32_t i = 0; i < neighbours->crowd.count; i++) {
        int size = SEND_BUFFER;

        (void)setsockopt(neighbours->crowd.members[i].peer.fd, SOL_SOCKET, SO_SNDBUF, &size,
                         sizeof(size));
    }
}

void neighbours_deinit(struct neighbours *neighbours, struct hub *hub)
{
    crowd_deinit(hub, &neighbours->crowd);
    ff_buf_deinit(&neighbours->batch);
}

void neighbours_send(struct neighbours *neighbours, struct hub *hub)
{
    for (uint32_t i = 0; i < neighbours->crowd.count; i++) {
        struct peer *peer = &neighbours->crowd.members[i].peer;

        if (peer->state != PEER_OPEN || peer->is_writing || peer->out.len)
            continue;
        put(&peer->out, neighbours->batch.data, neighbours->batch.len);
        hub_flush(hub, peer);
    }
}
