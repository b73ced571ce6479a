/* SPDX-License-Identifier: Apache-2.0 */
/*
 * still_clock.c - linked with --wrap=loop_clock_us: the time that a turn may take
 * is counted in looks at the clock, a microsecond each. A turn of the broker ends
 * by what it did, never because the machine was busy with something else.
 */
#include "broker/net/loop.h"

uint64_t __wrap_loop_clock_us(void);

uint64_t __wrap_loop_clock_us(void)
{
    static _Atomic uint64_t looks;

    return UINT64_C(3600000000) + ++looks;
}
