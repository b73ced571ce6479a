/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.h - what a plain client says in the query of its URL: ?topic=, ?format=, ?since=.
 *
 * docs/protocol.md, "Plain mode". Topic and since are kept in one text of the session's
 * until it is subscribed.
 */
#ifndef SESSION_QUERY_H
#define SESSION_QUERY_H

#include "broker/session/session.h"

/* False: the request was refused, or its connection is lost. */
FF_MUST_CHECK bool query_take(struct session *session, struct ff_slice target, enum log_kind *kind);

/* From where on, of one that is not subscribed yet; false: it did not say. */
bool query_since(const struct session *session, struct ff_since *since);

#endif
