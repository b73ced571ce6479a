/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guess.h - which of the words that exist was meant by one that does not?
 *
 *   struct ff_guess guess = ff_guess_of("overflw");
 *   for (each name) ff_guess_consider(&guess, name);
 *   if (guess.best) ... "did you mean overflow?"
 *
 * A guess borrows the names. The words differ by letters that are missing, too
 * many, wrong or swapped with their neighbour: at most one in three. `-` and `_`
 * are the same letter, and so are both cases. Words over FF_GUESS_MAX octets are
 * not looked at. One comparison costs O(length^2).
 */
#ifndef BASE_GUESS_H
#define BASE_GUESS_H

#include "protocol/base/bytes.h"

enum { FF_GUESS_MAX = 48 };

struct ff_guess {
    struct ff_slice word;
    const char *best; /* NULL: none is near */
    unsigned distance;
};

struct ff_guess ff_guess_of(const char *word);

/* `name` is what was meant if it is nearer than all before it. */
void ff_guess_consider(struct ff_guess *guess, const char *name);

#endif
