/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/session/admission.h"

enum refusal admission_check(const struct session *session)
{
    const struct gateway *gateway = gateway_of(session);

    if (atomic_load_explicit(&gateway->shared->sessions, memory_order_relaxed) >
        gateway->settings->max_connections)
        return REFUSED_CONNECTIONS;
    return session_is_memory_short(session) ? REFUSED_MEMORY : REFUSED_NOT;
}

void admission_count_address(struct session *session, const struct address *address)
{
    const struct settings *settings = gateway_of(session)->settings;
    struct shared *shared = gateway_of(session)->shared;
    struct address counted = *address; /* a client of IPv6 has a whole network to itself */

    address_mask_ipv6(&counted, settings->ipv6_prefix);
    shared_release_address(shared, session->address);
    session->address = NULL;
    /* A proxy's connections are those of its clients, who are not known before their heads came. */
    if (!address_is_listed(address, settings->proxies.at, settings->proxies.count) &&
        !shared_count_address(shared, &counted, settings->max_connections_per_address,
                              &session->address))
        session->refusal = REFUSED_ADDRESS;
    else if (session->refusal == REFUSED_ADDRESS)
        session->refusal = admission_check(session);
}

void admission_close_refused(struct session *session)
{
    const struct settings *settings = gateway_of(session)->settings;

    switch (session->refusal) {
    case REFUSED_NOT:
        break;
    case REFUSED_ADDRESS:
        session_close(session, FF_CLOSE_TRY_LATER, "max_connections_per_address is %u",
                      settings->max_connections_per_address);
        break;
    case REFUSED_CONNECTIONS:
        session_close(session, FF_CLOSE_TRY_LATER, "max_connections is %u",
                      settings->max_connections);
        break;
    case REFUSED_MEMORY:
        session_close_for_memory(session);
        break;
    }
}
