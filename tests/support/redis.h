/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis.h - a link to Redis in a worker of the test's own, whose time is the test's, and a Redis
 * that says what the test has it say: nothing, half of something, or a lie.
 *
 * What the link calls back is drawn as one line of text, "up a:+OK down(closed) ", so that a
 * failure prints a picture. Sockets are real, on loopback; nothing sleeps.
 */
#ifndef SUPPORT_REDIS_H
#define SUPPORT_REDIS_H

#include "broker/net/logger.h"
#include "broker/redis/link.h"
#include "broker/worker/worker.h"
#include "tests/support/test.h"

#define REDIS_TEST_RUN_ID "0123456789abcdef0123456789abcdef01234567"

/* What a master answers to INFO and to ROLE. */
#define REDIS_TEST_INFO "$59\r\n# Server\r\nrun_id:" REDIS_TEST_RUN_ID "\r\n\r\n"
#define REDIS_TEST_ROLE "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"

enum { REDIS_TEST_TEXT = 8192 };

extern struct worker redis_worker;
extern struct redis_link *redis_link;       /* the one of the test; NULL: none */
extern char redis_picture[REDIS_TEST_TEXT]; /* what was called back since it was last looked at */
extern void (*redis_on_event)(
    const char *what); /* in each callback, "up" for example; NULL: none */

/* What the broker has logged of redis_down and redis_up: "warn redis_down(why) ". */
extern char redis_log[REDIS_TEST_TEXT];

/* A worker, and a Redis that listens. The setup and teardown of a test; nothing may be left. */
int redis_begin(void **state);
int redis_end(void **state);

/* Of the listening Redis, with what is in front of the host, and behind the port. */
void redis_use_url(const char *user, const char *database);

/* redis_link, to where the URL says. */
void redis_link_begin(bool is_subscriber);

/* What redis_link_begin() makes it of; for changes before. */
extern struct redis_link_env redis_env;
extern struct redis_url redis_url;

/* Turns of the loop until nothing happens any more. */
void redis_turns(void);

/* Turns until it is so; fails the test when it never is, which takes a minute to say. */
void redis_until(bool (*is_so)(void), const char *what);

/* Of the loop's time. */
void redis_pass_ms(uint64_t ms);

/* Fails unless this was drawn since it was last looked at. */
void redis_saw(const char *picture);

/* The same of the log. */
void redis_logged(const char *lines);

/* Redis' end of the connection that came last. */
extern int redis_fd;

bool redis_accept(void);          /* false: nobody has come */
void redis_say(const char *text); /* and the turns that follow of it */
void redis_hang_up(void);
void redis_stop_listening(void);

/* All that has come to Redis since, with the ends of lines as spaces. */
const char *redis_heard(void);

/* Accepts, and says what a master says to who greets it. `has_select`: a database was asked for. */
void redis_greet(bool has_auth, bool has_select);

/* A link that is up; what happened on the way is forgotten. */
void redis_bring_up(bool is_subscriber);

/* A command of words that are separated by spaces; its answer is drawn with this name. */
bool redis_ask(const char *words, const char *name);

#endif
