/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys.h - what the broker says about itself, in the topics $SYS/broker,
 * $SYS/topics and $SYS/slow: a JSON object a second, only while somebody
 * listens and the option `sys` is on.
 */
#ifndef SESSION_SYS_H
#define SESSION_SYS_H

struct gateway;

/* Called once a second. */
void sys_report(struct gateway *gateway);

#endif
