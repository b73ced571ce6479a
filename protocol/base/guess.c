/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/guess.h"

static int fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c + ('a' - 'A');
    return c == '-' ? '_' : c;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters have to change: Damerau and Levenshtein's distance, of neighbours swapped once.
 */
static unsigned distance_of(struct ff_slice a, struct ff_slice b)
{
    unsigned rows[3][FF_GUESS_MAX + 1];

    for (unsigned k = 0; k <= b.len; k++)
        rows[0][k] = k;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *twice_above = rows[(i + 1) % 3];

        row[0] = i;
        for (unsigned k = 1; k <= b.len; k++) {
            bool is_same = fold(a.at[i - 1]) == fold(b.at[k - 1]);

            row[k] = least(least(row[k - 1], above[k]) + 1, above[k - 1] + !is_same);
            if (i > 1 && k > 1 && fold(a.at[i - 1]) == fold(b.at[k - 2]) &&
                fold(a.at[i - 2]) == fold(b.at[k - 1]))
                row[k] = least(row[k], twice_above[k - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

struct ff_guess ff_guess_of(const char *word)
{
    struct ff_slice text = ff_slice_of(word);

    /* One letter in three, and the first that is considered must be nearer than that. */
    return (struct ff_guess){.word = text, .distance = (unsigned)(text.len + 2) / 3 + 1};
}

void ff_guess_consider(struct ff_guess *guess, const char *name)
{
    struct ff_slice text = ff_slice_of(name);
    unsigned distance;

    if (guess->word.len > FF_GUESS_MAX || text.len > FF_GUESS_MAX)
        return;
    distance = distance_of(guess->word, text);
    if (distance < guess->distance && distance < text.len) {
        guess->distance = distance;
        guess->best = name;
    }
}
