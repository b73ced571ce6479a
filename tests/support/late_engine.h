/* SPDX-License-Identifier: Apache-2.0 */
/*
 * late_engine.h - an engine that answers in later turns, as one does that keeps its
 * messages elsewhere: what it is asked waits in a queue, and each turn some of it
 * is done and answered, about each name in the order in which it was asked.
 */
#ifndef SUPPORT_LATE_ENGINE_H
#define SUPPORT_LATE_ENGINE_H

#include "broker/engine/engine.h"
#include "broker/topic/router.h"
#include "tests/support/test.h"

struct engine *late_engine_new(struct router *router);

/*
 * Does and answers at most so many of its requests: with dice of any names, and
 * some are refused (FF_EAWAY); NULL: the oldest first, all of them as they were asked.
 */
void late_engine_work(struct engine *engine, uint32_t most, struct dice *dice);

/* Each start of a name brings its name with it, so many times. */
extern uint32_t late_engine_content;

#endif
