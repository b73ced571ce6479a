/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origin.h - which web pages may talk to this broker.
 *
 * A browser sends the Origin of the page that opens a WebSocket, and would let
 * any page do it (cross-site WebSocket hijacking). Allowed are: no Origin (no
 * browser), the same origin (host and port: behind a TLS proxy the scheme
 * differs), those named by the option `origins`, and, while all listeners are
 * loopback, pages of localhost. Then, too, Host must be a loopback name, so
 * that a name that was rebound to 127.0.0.1 is no same origin.
 */
#ifndef SESSION_ORIGIN_H
#define SESSION_ORIGIN_H

#include "broker/session/settings.h"
#include "protocol/base/bytes.h"

/* .at NULL: the request had no such header. */
bool origin_is_allowed(const struct settings *settings, struct ff_slice origin,
                       struct ff_slice host);
bool host_is_allowed(const struct settings *settings, struct ff_slice host);

#endif
