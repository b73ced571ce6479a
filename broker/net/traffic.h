/* SPDX-License-Identifier: Apache-2.0 */
/* traffic.h - what went over a socket, as the kernel counted it: nothing is counted by us. */
#ifndef NET_TRAFFIC_H
#define NET_TRAFFIC_H

#include <stdint.h>

struct traffic {
    uint64_t received; /* octets, TLS included */
    uint64_t sent;     /* and acknowledged by the peer */
};

/* All 0 where the kernel does not tell: a Unix socket, one that is closed. */
struct traffic traffic_of(int fd);

#endif
