/* SPDX-License-Identifier: Apache-2.0 */
/*
 * porch.h - accepted sockets whose head of the PROXY protocol is still to come.
 *
 * A guest is taken in for a listener that speaks it, if its peer is a trusted proxy. When
 * its head has come, and not an octet more was read, the socket goes on to the
 * listener's owner as one of the client that was named. Who sends something else,
 * or nothing for PORCH_MS, is reset. Guests count as half-open connections.
 */
#ifndef NET_PORCH_H
#define NET_PORCH_H

#include "broker/net/listener.h"

enum { PORCH_MS = 5000 };

/* `newcomer` is a socket of this listener; it is the porch's from here on. */
void porch_take(struct listener *listener, const struct newcomer *newcomer);

/* A listener closes: its guests are reset. */
void porch_leave(const struct listener *listener);

/* At the end of a turn: frees those that have gone. */
void porch_free_gone(struct net *net);

#endif
