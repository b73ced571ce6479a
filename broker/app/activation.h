/* SPDX-License-Identifier: Apache-2.0 */
/*
 * activation.h - listening sockets that a service manager holds and passes to us.
 *
 * systemd keeps them open over a restart (sd_listen_fds(3)): who connects meanwhile
 * waits in the kernel's queue and is refused by nobody. LISTEN_PID says for whom they are,
 * LISTEN_FDS how many, from descriptor 3 on. An entry of the option `listen` takes the
 * socket that is bound to its address, so that it keeps its tls: or proxy:. Where nobody
 * said where to listen they are all there is.
 */
#ifndef APP_ACTIVATION_H
#define APP_ACTIVATION_H

#include "broker/net/address.h"

enum { ACTIVATION_MAX = 16, ACTIVATION_WHY_MAX = 256 };

struct activation {
    struct {
        struct address address;
        int fd; /* -1: a listener has it */
    } sockets[ACTIVATION_MAX];
    uint32_t count; /* 0: there are none, or they are not for us */
};

/*
 * Reads the environment and takes these variables out of it. False: `why` says what is
 * wrong with a socket that was passed.
 */
FF_MUST_CHECK bool activation_take(struct activation *activation, char why[ACTIVATION_WHY_MAX]);

/* The socket at this address, which is the caller's from here on; -1: there is none. */
int activation_claim(struct activation *activation, const struct address *address);

/* The address of one that nobody has claimed, as a text; false: all have a listener. */
bool activation_find_unclaimed(const struct activation *activation, char out[ADDRESS_TEXT_MAX]);

/* Closes what nobody has claimed. */
void activation_deinit(struct activation *activation);

#endif
