/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: it is taken, or there is one line that says why not. */
#include <stdlib.h>
#include <string.h>

#include "broker/app/option.h"
#include "protocol/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the file's reader uses of a configuration is freed by config_free(). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char last_line[] = CONFIG_LAST_LINE;
    struct config *config = ff_mem_zalloc(sizeof(*config));
    char *text = ff_mem_alloc(size + sizeof(last_line));
    size_t before = ff_mem_live_blocks();
    char error[CONFIG_ERROR_MAX];
    bool is_good;

    if (!config || !text)
        abort();
    if (size)
        memcpy(text, data, size);
    memcpy(text + size, last_line, sizeof(last_line));
    is_good = config_read_text(config, "f", text, size, error);
    if (is_good != (error[0] == '\0'))
        abort();
    ff_mem_free(text);
    config_free(config);
    if (ff_mem_live_blocks() != before - 2)
        abort();
    return 0;
}
