/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/base/codes.h"

#include <stddef.h>

#include "protocol/base/check.h"

struct code {
    int number;
    bool again;
    const char *text;
};

static const struct code closes[] = {
#define FF_CLOSE(number, name, come_back, text) {(number), (come_back), (text)},
#include "protocol/base/codes.def"
};

static const struct code errors[] = {
#define FF_ERROR(number, name, retry, text) {(number), (retry), (text)},
#include "protocol/base/codes.def"
};

static const struct code *find(const struct code *table, size_t count, int number)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].number == number)
            return &table[i];
    return NULL;
}

const char *ff_close_text(int code)
{
    const struct code *found = find(closes, FF_COUNT(closes), code);

    return found ? found->text : "";
}

const char *ff_error_text(int code)
{
    const struct code *found = find(errors, FF_COUNT(errors), code);

    return found ? found->text : "";
}

bool ff_close_can_come_back(int code)
{
    const struct code *found = find(closes, FF_COUNT(closes), code);

    if (found)
        return found->again;
    return code == 1006 || (code >= 4000 && code <= 4499);
}

bool ff_error_can_retry(int code)
{
    const struct code *found = find(errors, FF_COUNT(errors), code);

    return found && found->again;
}
