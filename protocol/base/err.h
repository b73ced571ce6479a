/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h - what a function may answer instead of success.
 *
 * Negative numbers, so that parsers can answer `> 0` consumed, `0`
 * incomplete and `< 0` wrong in one value.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum ff_err {
    FF_OK = 0,
    FF_ENOMEM = -1,    /* an allocation failed */
    FF_ELIMIT = -2,    /* a maximum would be passed */
    FF_EINVAL = -3,    /* the input is malformed */
    FF_EAGAIN = -4,    /* not now: the socket would block */
    FF_ECLOSED = -5,   /* the other side is gone */
    FF_ESYS = -6,      /* a system call failed; errno says how */
    FF_ETOOBIG = -7,   /* larger than such a thing may be, whatever else there is */
    FF_ETIMEDOUT = -8, /* no answer came in time; it may have been done */
    FF_EAWAY = -9,     /* what it needs cannot be reached now */
    FF_EGONE = -11,    /* it was there, and is not kept any more */
    FF_EOTHER = -10,   /* its key stands for something else already */
    FF_ENONE = -12,    /* there is no such thing, and never was */
};

#endif
