/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - the embedded engine: the order in which messages come to their
 * owner's router, in this process alone. It answers at once.
 */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include "broker/engine/engine.h"
#include "broker/topic/router.h"

/* NULL: out of memory. */
FF_MUST_CHECK struct engine *memory_engine_new(struct router *router);

#endif
