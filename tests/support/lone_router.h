/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lone_router.h - a router of one worker, without sockets or budget, and its clock.
 */
#ifndef SUPPORT_LONE_ROUTER_H
#define SUPPORT_LONE_ROUTER_H

#include "broker/topic/router.h"
#include "tests/support/subscriber.h"

extern struct router router;
extern struct pool pool;
extern struct wheel wheel;
extern uint64_t now_ms;

/* cmocka's: before and after each test. Nothing may be left of it. */
int lone_router_set_up(void **state);
int lone_router_tear_down(void **state);

#define WITH_ROUTER(test) \
    cmocka_unit_test_setup_teardown(test, lone_router_set_up, lone_router_tear_down)

/* A short message. */
enum ff_err publish_hello(const char *topic, struct receipt *receipt);

#endif
