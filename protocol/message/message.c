/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/message/message.h"

#include "protocol/base/check.h"

static const struct {
    struct ff_slice name;
    enum ff_field_kind kind;
} fields[FF_FIELDS] = {
    [FF_FIELD_NONE] = {{"", 0}, FF_KIND_ANY},
#define FF_FIELD(name, wire, kind) [FF_FIELD_##name] = {{#wire, sizeof(#wire) - 1}, FF_KIND_##kind},
#include "protocol/message/message.def"
};

static const char *const types[FF_TYPES] = {
#define FF_TYPE(number, name) [FF_TYPE_##name] = #name,
#include "protocol/message/message.def"
};

/* FF_FIELD_ before each of up to 13 names. */
#define F1(a)                                               FF_FIELD_##a
#define F2(a, ...)                                          FF_FIELD_##a, F1(__VA_ARGS__)
#define F3(a, ...)                                          FF_FIELD_##a, F2(__VA_ARGS__)
#define F4(a, ...)                                          FF_FIELD_##a, F3(__VA_ARGS__)
#define F5(a, ...)                                          FF_FIELD_##a, F4(__VA_ARGS__)
#define F6(a, ...)                                          FF_FIELD_##a, F5(__VA_ARGS__)
#define F7(a, ...)                                          FF_FIELD_##a, F6(__VA_ARGS__)
#define F8(a, ...)                                          FF_FIELD_##a, F7(__VA_ARGS__)
#define F9(a, ...)                                          FF_FIELD_##a, F8(__VA_ARGS__)
#define F10(a, ...)                                         FF_FIELD_##a, F9(__VA_ARGS__)
#define F11(a, ...)                                         FF_FIELD_##a, F10(__VA_ARGS__)
#define F12(a, ...)                                         FF_FIELD_##a, F11(__VA_ARGS__)
#define F13(a, ...)                                         FF_FIELD_##a, F12(__VA_ARGS__)
#define PICK(a, b, c, d, e, f, g, h, i, j, k, l, m, n, ...) n
#define FIELDS(...) \
    PICK(__VA_ARGS__, F13, F12, F11, F10, F9, F8, F7, F6, F5, F4, F3, F2, F1, )(__VA_ARGS__)

static const uint8_t layouts[2][FF_TYPES][FF_LAYOUT_MAX] = {
#define FF_LAYOUT(sender, type, ...) [FF_##sender][FF_TYPE_##type] = {FIELDS(__VA_ARGS__)},
#include "protocol/message/message.def"
};

const uint8_t *ff_layout(enum ff_sender sender, unsigned type, size_t *count)
{
    const uint8_t *layout = type < FF_TYPES ? layouts[sender][type] : NULL;

    *count = 0;
    for (size_t i = 0; layout && i < FF_LAYOUT_MAX; i++)
        if (layout[i] != FF_FIELD_NONE)
            *count = i + 1;
    return *count ? layout : NULL;
}

struct ff_slice ff_field_name(enum ff_field field)
{
    return fields[field].name;
}

enum ff_field_kind ff_field_kind(enum ff_field field)
{
    return fields[field].kind;
}

const char *ff_type_name(unsigned type)
{
    return type < FF_TYPES ? types[type] : NULL;
}
