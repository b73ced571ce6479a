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
 *
 * Behind a trusted proxy Host often has no port, or the proxy's own: there a site without a
 * port is compared by its name. A page without TLS is never that of a site which the proxy
 * says has it.
 */
#ifndef SESSION_ORIGIN_H
#define SESSION_ORIGIN_H

#include "broker/session/settings.h"
#include "broker/session/site.h"

/* .at NULL: the request had no such header. */
bool origin_is_allowed(const struct settings *settings, struct ff_slice origin,
                       const struct site *site);

bool host_is_allowed(const struct settings *settings, const struct site *site);

#endif
